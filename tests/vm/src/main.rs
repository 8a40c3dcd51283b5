//! Plays recorded clients against rmqtrace, to see that it traces on this kernel what it traced on another.
//!
//! | Call | What |
//! |---|---|
//! | as process 1: `init STRATEGY…` | in a virtual machine: [`init`] |
//! | `run RMQTRACE DIR STRATEGIES CAPTURE… -- CAPTURE…` | on this machine; the outcome goes to standard output: [`runs`] |
//! | `scenarios` | what is played for each way of moving bytes, in lines |
//! | `play CAPTURE [WAY]` | the clients of one capture, in a network of their own, until standard input ends: [`player`] |
//! | `client CAPTURE WAY DESCRIPTOR CONNECTION=DESCRIPTOR…` | a client that goes on in the middle: [`client`] |
//!
//! Linked statically, so that it needs nothing of the machine but the kernel.

mod client;
mod clock;
mod course;
mod init;
mod ledger;
mod net;
mod player;
mod runs;
mod script;
mod trace;
mod way;

use std::{
    env,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::way::{WAYS, Way};

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
        ["play", capture] => play(Path::new(capture), WAYS.first().context("no way")?),
        ["play", capture, way] => play(Path::new(capture), named(way)?),
        ["client", capture, way, orders, sockets @ ..] => {
            client::Client::resume(Path::new(capture), named(way)?, orders, sockets)
        }
        ["run", rmqtrace, dir, strategies, captures @ ..] => {
            let mut lists = captures.split(|word| *word == "--");
            let mut list = || -> Vec<PathBuf> {
                lists
                    .next()
                    .unwrap_or_default()
                    .iter()
                    .map(PathBuf::from)
                    .collect()
            };
            let (captures, ways) = (list(), list());
            let strategies: Vec<String> = strategies.split(',').map(str::to_owned).collect();
            runs::all(
                Path::new(rmqtrace),
                Path::new(dir),
                &strategies,
                runs::Files {
                    captures: &captures,
                    ways: &ways,
                    clock: None,
                },
                &mut io::stdout().lock(),
            )
        }
        ["scenarios"] => {
            WAYS.iter().for_each(|way| println!("{}", way.scenario));
            Ok(())
        }
        _ => bail!("run RMQTRACE DIR STRATEGIES CAPTURE… -- CAPTURE… | scenarios | play CAPTURE [WAY]"),
    }
}

fn named(name: &str) -> Result<&'static Way> {
    Way::named(name).with_context(|| format!("no way is called {name:?}"))
}

fn play(capture: &Path, way: &'static Way) -> Result<()> {
    let script = script::Script::read(capture)?;
    net::isolate().context("a network of one's own (root is needed)")?;
    let played = player::play(&script, way)?;
    println!("{}{}", trace::PLAYED, net::namespace()?);
    // the clients live on until the tracer has ended
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(played);
    Ok(())
}
