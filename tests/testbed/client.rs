//! The client programs under test control, and their own account of what they did.
//!
//! There is one program for each [`Library`]; all speak alike. A program reads commands on standard input and writes one JSON
//! line per message on standard output (see `java/TestClient.java`). One program can hold several producers and consumers,
//! each with a group of its own.

mod account;
mod command;
pub(crate) mod launch;
mod library;

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::ChildStdin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use self::{
    account::{Account, Shared},
    command::Line,
};
pub use self::{
    account::{Consumed, Decided, Done, Recalled, Replied, Said, Sent, Traced},
    command::{Consume, Mode, Send},
    launch::Options,
    library::{Feature, Library},
};
use crate::{
    artifacts::Artifacts,
    process::{self, Child},
    server::Server,
};

/// A command under way.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// A running client program; dropping it stops it.
#[derive(Debug)]
pub struct Client {
    /// What it is built on.
    pub library: Library,
    input: Mutex<Input>,
    process: Child,
    shared: Arc<Shared>,
    server: String,
}

/// Where commands go, and how many have gone there.
#[derive(Debug)]
struct Input {
    pipe: Option<ChildStdin>,
    commands: u64,
}

impl Client {
    /// Starts the program for one server. `name` tells several apart in `dir` and becomes the service's name.
    pub fn start(
        artifacts: &Artifacts,
        library: Library,
        server: &Server,
        dir: &Path,
        name: &str,
    ) -> Result<Client> {
        Client::start_with(
            artifacts,
            library,
            server.name_server,
            dir,
            name,
            Options::default(),
        )
    }

    /// The same with all options, for a name server or a proxy's remoting port; the gRPC client takes a proxy's gRPC port.
    pub fn start_with(
        artifacts: &Artifacts,
        library: Library,
        server: SocketAddr,
        dir: &Path,
        name: &str,
        options: Options<'_>,
    ) -> Result<Client> {
        let mut command = launch::command(artifacts, library, dir, &options)?;
        command
            .env("OTEL_SERVICE_NAME", name)
            // Log files, and offsets of broadcasting, which another run whose names are the same would go on from.
            .env("HOME", dir)
            .env("CLIENT_LOG", dir.join(format!("{name}.client.log")))
            .envs(options.env.iter().copied())
            .current_dir(dir);
        let (process, input, output) = Child::start_piped(name, command, &dir.join(format!("{name}.err")))?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        thread::spawn(move || account::read(&reader, output));
        let client = Client {
            library,
            input: Mutex::new(Input {
                pipe: Some(input),
                commands: 0,
            }),
            process,
            shared,
            server: server.to_string(),
        };
        client.wait_until(Duration::from_secs(60), "it starts", |account| {
            account.started.then_some(())
        })?;
        Ok(client)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Starts a producer. Sends are not retried, so that one call is one request.
    pub fn producer(&self, group: &str) -> Result<()> {
        self.producer_with(group, &[])
    }

    /// Starts a producer with further `key=value` arguments.
    pub fn producer_with(&self, group: &str, arguments: &[(&str, &str)]) -> Result<()> {
        let mut line = Line("producer".to_owned());
        line.put("group", group);
        arguments.iter().for_each(|(key, value)| line.put(key, value));
        let ticket = self.command(line)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Starts a push consumer.
    pub fn consumer(&self, consume: Consume) -> Result<()> {
        let ticket = self.command(consume.0)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Stops the producer and the consumer of a group, in order.
    pub fn stop_group(&self, group: &str) -> Result<()> {
        let mut line = Line("stop".to_owned());
        line.put("group", group);
        let ticket = self.command(line)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Pauses the consumer of a group, or lets it go on.
    pub fn pause_group(&self, group: &str, paused: bool) -> Result<()> {
        let mut line = Line(if paused { "pause" } else { "resume" }.to_owned());
        line.put("group", group);
        let ticket = self.command(line)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Has a Java client read the message traces that clients have left on the server, into its account.
    pub fn read_traces(&self, limit: Duration) -> Result<()> {
        let mut line = Line("traces".to_owned());
        line.put("group", "trace-reader");
        line.put("topic", "RMQ_SYS_TRACE_TOPIC");
        let ticket = self.command(line)?;
        self.wait(ticket, limit).map(drop)
    }

    /// Sends messages and gives those that were sent.
    pub fn send(&self, send: Send) -> Result<Vec<Sent>> {
        let ticket = self.start_sending(send)?;
        self.wait(ticket, Duration::from_secs(300))?;
        Ok(self.sent(ticket))
    }

    /// Begins to send; [`wait`](Self::wait) for its end.
    pub fn start_sending(&self, send: Send) -> Result<Ticket> {
        self.command(send.0)
    }

    /// Waits for the end of a command.
    pub fn wait(&self, ticket: Ticket, limit: Duration) -> Result<Done> {
        self.wait_until(limit, &format!("command {}", ticket.0), |account| {
            if let Some((_, error)) = account.errors.iter().find(|(cmd, _)| *cmd == ticket.0) {
                return Some(Err(error.clone()));
            }
            account
                .done
                .iter()
                .find(|done| done.cmd == ticket.0)
                .map(|done| Ok(done.clone()))
        })?
        .map_err(|error| anyhow!("{}: {error}", self.library.name()))
    }

    /// Messages that a command has sent so far.
    pub fn sent(&self, ticket: Ticket) -> Vec<Sent> {
        self.shared
            .lock()
            .said
            .sent
            .iter()
            .filter(|sent| sent.cmd == ticket.0)
            .cloned()
            .collect()
    }

    /// Everything sent so far.
    pub fn all_sent(&self) -> Vec<Sent> {
        self.shared.lock().said.sent.clone()
    }

    /// Every send that failed so far.
    pub fn all_failed(&self) -> Vec<Sent> {
        self.shared.lock().said.failed.clone()
    }

    /// Everything delivered to the handler of `group` so far.
    pub fn consumed(&self, group: &str) -> Vec<Consumed> {
        self.shared
            .lock()
            .said
            .consumed
            .iter()
            .filter(|consumed| consumed.group == group)
            .cloned()
            .collect()
    }

    /// Looks at the account, as often as it grows, until `probe` finds what it wants.
    pub fn watch<T>(
        &self,
        limit: Duration,
        what: &str,
        mut probe: impl FnMut(&Said) -> Option<T>,
    ) -> Result<T> {
        self.wait_until(limit, what, |account| probe(&account.said))
    }

    /// Everything that it has said so far.
    pub fn said(&self) -> Said {
        self.shared.lock().said.clone()
    }

    /// How often the handler of `group` has been called so far.
    pub fn count_consumed(&self, group: &str) -> usize {
        let account = self.shared.lock();
        let calls = account.said.consumed.iter();
        calls.filter(|consumed| consumed.group == group).count()
    }

    /// Waits until the handler of `group` has been called `count` times, and gives all its calls.
    pub fn wait_consumed(&self, group: &str, count: usize, limit: Duration) -> Result<Vec<Consumed>> {
        self.wait_until(limit, &format!("{count} deliveries to {group}"), |account| {
            let here = account
                .said
                .consumed
                .iter()
                .filter(|consumed| consumed.group == group);
            (here.clone().count() >= count).then(|| here.cloned().collect())
        })
    }

    /// Ends the program in order: consumers commit their offsets, connections are closed. Gives everything that it said.
    pub fn finish(mut self) -> Result<Said> {
        self.input().pipe = None;
        // rocketmq-rust waits five seconds for each queue of a lite pull consumer
        self.process.wait(Duration::from_secs(180))?;
        let mut account = self.shared.lock();
        while !account.ended {
            account = self
                .shared
                .changed
                .wait(account)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(std::mem::take(&mut account.said))
    }

    /// Ends the program at once, as a crash would.
    pub fn kill(self) -> Result<()> {
        self.process.signal(libc::SIGKILL)
    }

    fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, mut line: Line) -> Result<Ticket> {
        let mut input = self.input();
        input.commands += 1;
        let ticket = Ticket(input.commands);
        line.put("cmd", ticket.0);
        if !line.0.starts_with("send") {
            line.put("ns", &self.server);
        }
        line.0.push('\n');
        let pipe = input.pipe.as_mut().context("the client is finished")?;
        pipe.write_all(line.0.as_bytes())
            .and_then(|()| pipe.flush())
            .context("giving the client a command")?;
        Ok(ticket)
    }

    fn wait_until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut probe: impl FnMut(&Account) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut account = self.shared.lock();
        loop {
            if let Some(value) = probe(&account) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if account.ended || left.is_zero() {
                let state = format!(
                    "{} sent, {} failed, {} consumed; standard error:\n{}",
                    account.said.sent.len(),
                    account.said.failed.len(),
                    account.said.consumed.len(),
                    process::tail(&self.process.log()?)
                );
                let why = if account.ended {
                    "it ended".to_owned()
                } else {
                    format!("not within {limit:?}")
                };
                bail!("client {}: {what}: {why} ({state})", self.library.name());
            }
            account = self
                .shared
                .changed
                .wait_timeout(account, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
