//! The program `java/Saturating.java`: a Java client that sends, or consumes, as fast as it can or at a rate, and does nothing
//! else. Unlike [`Client`](crate::Client) it says nothing of a single message, which would take more than the message itself.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    artifacts::{Artifacts, CLIENT_VERSIONS, require},
    client::launch,
    process::Child,
    server::Server,
    wait,
};

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Sends asynchronously, as many messages a second or as many as it can.
    Produce {
        /// Messages a second; `None`: as many as it can.
        rate: Option<u32>,
    },
    /// Consumes.
    Consume,
}

/// How its messages are traced by the client itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traced {
    /// Not at all.
    No,
    /// The OpenTelemetry Java agent exports to OTLP over HTTP at this port.
    Agent(u16),
    /// RocketMQ's message trace goes to the broker.
    MessageTrace,
}

/// What it did since the last [`mark`](Saturating::mark), and in all.
#[derive(Clone, Copy, Deserialize, Debug)]
pub struct Account {
    /// Messages that were stored, or handled.
    pub messages: u64,
    /// How long that took.
    pub seconds: f64,
    /// Half of them took longer, in microseconds: a send from its call to its callback, a delivery from the making of the
    /// message to the handler (in whole milliseconds).
    pub median: u64,
    /// One in a hundred took longer.
    pub p99: u64,
    /// Messages since the start.
    pub all: u64,
    /// Sends that failed since the start.
    pub failed: u64,
}

impl Account {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Fails where a send failed.
    pub fn none_failed(&self) -> Result<()> {
        ensure!(self.failed == 0, "{} sends failed", self.failed);
        Ok(())
    }
}

/// The running program; dropping it stops it.
#[derive(Debug)]
pub struct Saturating {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Saturating {
    /// Starts it, on the newest client. Its standard error goes to `dir/name.err`; `name` is also its group and service.
    pub fn start(
        artifacts: &Artifacts,
        server: &Server,
        dir: &Path,
        name: &str,
        (role, traced): (Role, Traced),
        topic: &str,
    ) -> Result<Saturating> {
        let version = CLIENT_VERSIONS[0];
        let jars = require(
            artifacts.client_jars(version),
            &format!("RocketMQ client {version}"),
        )?;
        let classes = require(artifacts.java_classes(version), "the Java test clients")?;
        let agent = match traced {
            Traced::Agent(port) => Some(port),
            Traced::No | Traced::MessageTrace => None,
        };
        let mut command = launch::java(artifacts, &["-Xms256m", "-Xmx512m"], agent)?;
        let (verb, rate) = match role {
            Role::Produce { rate } => ("produce", rate.unwrap_or(0)),
            Role::Consume => ("consume", 0),
        };
        command
            .arg(format!("-Drocketmq.log.root={}", dir.display()))
            .arg("-Drocketmq.log.level=WARN")
            .arg("-cp")
            .arg(format!("{}:{}/*", classes.display(), jars.display()))
            .args(["Saturating", verb, &server.name_server.to_string(), topic, name])
            .args([(traced == Traced::MessageTrace).to_string(), rate.to_string()])
            .env("OTEL_SERVICE_NAME", name)
            .env("HOME", dir)
            .current_dir(dir);
        let log = dir.join(format!("{name}.err"));
        let (process, input, output) = Child::start_piped(name, command, &log)?;
        let mut program = Saturating {
            process,
            input,
            output: BufReader::new(output),
        };
        let line = program.line()?;
        ensure!(
            line == "ready",
            "{name} says {line:?}: {}",
            program.process.log()?
        );
        Ok(program)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Begins a new window; gives the account of the one before.
    pub fn mark(&mut self) -> Result<Account> {
        self.command("mark")
    }

    /// The account so far.
    pub fn tell(&mut self) -> Result<Account> {
        self.command("tell")
    }

    /// Ends the sending, and waits for the answers that are under way.
    fn stop_sending(&mut self) -> Result<Account> {
        self.command("stop")
    }

    /// Waits until it has handled so many messages in all.
    fn wait_for(&mut self, messages: u64, limit: Duration) -> Result<Account> {
        wait::until(limit, &format!("{messages} messages are consumed"), || {
            let account = self.tell()?;
            Ok(if account.all >= messages {
                Ok(account)
            } else {
                Err(format!("{} so far", account.all))
            })
        })
    }

    /// Ends this producer and, when it has handled all that was sent, its consumer. Gives the producer's account, and how many
    /// messages were handled.
    ///
    /// # Errors
    /// Messages that are not handled in time.
    pub fn finish_with(mut self, mut consumer: Saturating, limit: Duration) -> Result<(Account, u64)> {
        let sent = self.stop_sending()?;
        let handled = consumer.wait_for(sent.all, limit)?.all;
        self.finish()?;
        consumer.finish()?;
        Ok((sent, handled))
    }

    /// Ends it in order.
    fn finish(self) -> Result<()> {
        let Saturating {
            mut process, input, ..
        } = self;
        drop(input);
        process.wait(Duration::from_secs(30)).map(drop)
    }

    fn command(&mut self, command: &str) -> Result<Account> {
        writeln!(self.input, "{command}")?;
        let line = self.line()?;
        let log = || self.process.log().unwrap_or_default();
        serde_json::from_str(&line).with_context(|| format!("it says {line:?}: {}", log()))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
