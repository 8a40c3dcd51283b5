//! Plays recorded clients against rmqtrace, to see that it traces on this kernel what it traced on another.
//!
//! | Call | What |
//! |---|---|
//! | as process 1: `init STRATEGY…` | in a virtual machine: [`init`] |
//! | `run RMQTRACE DIR STRATEGIES CAPTURE…` | on this machine; the outcome goes to standard output: [`runs`] |
//! | `play CAPTURE` | the clients of one capture, in a network of their own, until standard input ends: [`player`] |
//!
//! Linked statically, so that it needs nothing of the machine but the kernel.

mod call;
mod init;
mod net;
mod player;
mod runs;
mod script;
mod trace;

use std::{
    env,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if process::id() == 1 {
        init::main(&words);
    }
    match call(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn call(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["play", capture] => play(Path::new(capture)),
        ["run", rmqtrace, dir, strategies, captures @ ..] => {
            let captures: Vec<PathBuf> = captures.iter().map(PathBuf::from).collect();
            let strategies: Vec<String> = strategies.split(',').map(str::to_owned).collect();
            runs::all(
                Path::new(rmqtrace),
                Path::new(dir),
                &strategies,
                &captures,
                &mut io::stdout().lock(),
            )
        }
        _ => bail!("run RMQTRACE DIR STRATEGIES CAPTURE… | play CAPTURE"),
    }
}

fn play(capture: &Path) -> Result<()> {
    let script = script::Script::read(capture)?;
    net::isolate().context("a network of one's own (root is needed)")?;
    let played = player::play(&script)?;
    println!("{}", trace::PLAYED);
    // the clients live on until the tracer has ended
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(played);
    Ok(())
}
