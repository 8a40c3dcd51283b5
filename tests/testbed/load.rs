//! The program `load` (see `load/main.rs`), which moves frames and accounts for them.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::Child;

/// What it moved over a connection.
#[derive(Deserialize, Debug)]
pub struct Moved {
    /// Port of the client's end.
    pub local: u16,
    /// Bytes that the client wrote.
    pub sent: u64,
    /// Bytes that it read.
    pub received: u64,
    /// Number of its first message.
    pub first: usize,
    /// How many messages it sent.
    pub messages: usize,
}

#[derive(Deserialize)]
struct Accounts {
    connections: Vec<Moved>,
}

/// The running program; dropping it stops it.
#[derive(Debug)]
pub struct Load {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it and waits until its connections are open. Its arguments are without their dashes; its standard error goes to
    /// `dir/name.err`.
    pub fn start(program: &Path, dir: &Path, name: &str, arguments: &[(&str, usize)]) -> Result<Load> {
        let mut command = Command::new(program);
        for (argument, value) in arguments {
            command.arg(format!("--{argument}")).arg(value.to_string());
        }
        let log = dir.join(format!("{name}.err"));
        let (process, input, output) = Child::start_piped("load", command, &log)?;
        let mut load = Load {
            process,
            input,
            output: BufReader::new(output),
        };
        let line = load.line()?;
        ensure!(line == "ready", "load says {line:?}: {}", load.process.log()?);
        Ok(load)
    }

    /// Process id of the clients.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has it send everything.
    pub fn go(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"go\n")?)
    }

    /// Waits until all is sent and answered and all connections are closed.
    pub fn accounts(&mut self) -> Result<Vec<Moved>> {
        let line = self.line()?;
        let parsed: Accounts = serde_json::from_str(&line)
            .with_context(|| format!("load says {line:?}: {}", self.process.log().unwrap_or_default()))?;
        Ok(parsed.connections)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
