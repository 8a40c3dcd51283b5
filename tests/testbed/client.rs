//! The Java and Go client programs under test control, and their own account of what they did.
//!
//! A program reads commands on standard input and writes one JSON line per message on standard output (see
//! `java/TestClient.java`). One program can hold several producers and consumers, each with a group of its own.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    artifacts::{Artifacts, require},
    process::Child,
    server::Server,
};

/// The client library and its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Library {
    /// `org.apache.rocketmq:rocketmq-client` of this version.
    Java(&'static str),
    /// `github.com/apache/rocketmq-client-go/v2`.
    Go,
}

impl Library {
    /// For names of tests, directories and groups.
    pub fn name(self) -> String {
        match self {
            Library::Java(version) => format!("java-{version}"),
            Library::Go => "go".to_owned(),
        }
    }

    /// What it says about itself in its frames.
    pub fn language(self) -> &'static str {
        match self {
            Library::Java(_) => "JAVA",
            Library::Go => "GO",
        }
    }
}

/// How a producer hands over messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Waits for the answer.
    Sync,
    /// Gets the answer in a callback.
    Async,
    /// Asks for no answer.
    OneWay,
    /// Several messages in one frame.
    Batch,
}

impl Mode {
    /// Every way of sending.
    pub const ALL: [Mode; 4] = [Mode::Sync, Mode::Async, Mode::OneWay, Mode::Batch];

    /// The word of the command.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Async => "async",
            Mode::OneWay => "oneway",
            Mode::Batch => "batch",
        }
    }
}

/// A command, built up argument by argument.
#[derive(Clone, Debug)]
struct Line(String);

impl Line {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!(" {key}={value}"));
    }
}

/// Messages to send.
#[derive(Clone, Debug)]
pub struct Send(Line);

impl Send {
    /// `count` messages to `topic`, from the producer of `group`.
    pub fn new(group: &str, topic: &str, mode: Mode, count: usize) -> Send {
        let mut line = Line("send".to_owned());
        line.put("group", group);
        line.put("topic", topic);
        line.put("mode", mode.name());
        line.put("count", count);
        Send(line)
    }

    /// Bytes of each body; 100 unless set.
    pub fn size(self, bytes: usize) -> Send {
        self.with("size", bytes)
    }

    /// Threads that share the work; 1 unless set.
    pub fn threads(self, threads: usize) -> Send {
        self.with("threads", threads)
    }

    /// Messages per second; as fast as it goes unless set.
    pub fn rate(self, per_second: usize) -> Send {
        self.with("rate", per_second)
    }

    /// First part of each message's key; `-0`, `-1`, … follows.
    pub fn key(self, key: &str) -> Send {
        self.with("key", key)
    }

    /// The client's own time-out; 3 s unless set.
    pub fn timeout(self, limit: Duration) -> Send {
        self.with("timeout", limit.as_millis())
    }

    fn with(mut self, key: &str, value: impl std::fmt::Display) -> Send {
        self.0.put(key, value);
        self
    }
}

/// A push consumer to start.
#[derive(Clone, Debug)]
pub struct Consume(Line);

impl Consume {
    /// Of `group`, for these topics.
    pub fn new(group: &str, topics: &[&str]) -> Consume {
        let mut line = Line("consumer".to_owned());
        line.put("group", group);
        line.put("topic", topics.join(","));
        Consume(line)
    }

    /// Each message's first `attempts` deliveries fail.
    pub fn failing(self, attempts: usize) -> Consume {
        self.with("fail", attempts)
    }

    /// Only the message with this key fails.
    pub fn failing_key(self, key: &str) -> Consume {
        self.with("failKey", key)
    }

    /// How long the handler takes.
    pub fn delay(self, delay: Duration) -> Consume {
        self.with("delay", delay.as_millis())
    }

    /// Threads of the handler; 4 unless set.
    pub fn threads(self, threads: usize) -> Consume {
        self.with("threads", threads)
    }

    /// Credentials on every request.
    pub fn auth(self, secret: &str) -> Consume {
        self.with("auth", secret)
    }

    fn with(mut self, key: &str, value: impl std::fmt::Display) -> Consume {
        self.0.put(key, value);
        self
    }
}

/// What a client says that it did. Times are its own wall clock, in nanoseconds since the epoch.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Started {},
    Sent(Sent),
    SendFailed(Sent),
    Consumed(Consumed),
    Done(Done),
    CommandFailed { cmd: u64, error: String },
}

/// One message that was sent, or that could not be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The `send` command.
    pub cmd: u64,
    /// The mode's word.
    pub mode: String,
    /// The id as the client library shows it.
    pub msg_id: String,
    /// Topic.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its tag.
    pub tag: String,
    /// Queue id; nobody knows for one-way and failed sends.
    pub queue: Option<i64>,
    /// Offset in the queue.
    pub offset: Option<i64>,
    /// Id made of the store's address and the place in its log.
    pub offset_msg_id: Option<String>,
    /// Send status.
    pub status: Option<String>,
    /// Which batch it was in.
    pub batch: Option<i64>,
    /// How many messages its batch had.
    pub batch_size: Option<i64>,
    /// Error, on failed sends.
    pub error: Option<String>,
    /// The broker's response code, on sends that it refused.
    #[serde(default)]
    pub code: i64,
    /// Directly before the call.
    pub start_ns: u64,
    /// Directly after the call, or in the callback.
    pub end_ns: u64,
}

/// One delivery to a handler.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    /// Consumer group.
    pub group: String,
    /// The id as the client library shows it.
    pub msg_id: String,
    /// Topic as the application sees it.
    pub topic: String,
    /// The message's key.
    pub key: String,
    /// Queue id.
    pub queue: i64,
    /// Offset in the queue.
    pub offset: i64,
    /// How many times it had been delivered before.
    pub reconsume_times: i64,
    /// Start of the handler.
    pub start_ns: u64,
    /// End of the handler.
    pub end_ns: u64,
    /// What the handler returned.
    pub result: String,
}

/// The end of a command.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    cmd: u64,
    /// Sends that failed.
    #[serde(default)]
    pub failed: u64,
    /// How long all sends together took, nanoseconds.
    #[serde(default)]
    pub took_ns: u64,
}

#[derive(Default, Debug)]
struct Account {
    started: bool,
    ended: bool,
    sent: Vec<Sent>,
    failed: Vec<Sent>,
    consumed: Vec<Consumed>,
    done: Vec<Done>,
    errors: Vec<(u64, String)>,
}

#[derive(Default, Debug)]
struct Shared {
    account: Mutex<Account>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command under way.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// A running client program; dropping it stops it.
#[derive(Debug)]
pub struct Client {
    /// What it is built on.
    pub library: Library,
    input: Option<ChildStdin>,
    process: Child,
    shared: Arc<Shared>,
    server: String,
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
        let mut command = match library {
            Library::Java(version) => java(artifacts, version, dir)?,
            Library::Go => Command::new(require(artifacts.go_client(), "the Go test client")?),
        };
        command
            .env("OTEL_SERVICE_NAME", name)
            .env("CLIENT_LOG", dir.join(format!("{name}.client.log")))
            .current_dir(dir);
        let (process, input, output) = Child::start_piped(name, command, &dir.join(format!("{name}.err")))?;
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        thread::spawn(move || read(&reader, output));
        let client = Client {
            library,
            input: Some(input),
            process,
            shared,
            server: server.name_server.to_string(),
            commands: 0,
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
    pub fn producer(&mut self, group: &str) -> Result<()> {
        self.producer_with(group, &[])
    }

    /// Starts a producer with further `key=value` arguments.
    pub fn producer_with(&mut self, group: &str, arguments: &[(&str, &str)]) -> Result<()> {
        let mut line = Line("producer".to_owned());
        line.put("group", group);
        arguments.iter().for_each(|(key, value)| line.put(key, value));
        let ticket = self.command(line)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Starts a push consumer.
    pub fn consumer(&mut self, consume: Consume) -> Result<()> {
        let ticket = self.command(consume.0)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Stops the producer and the consumer of a group, in order.
    pub fn stop_group(&mut self, group: &str) -> Result<()> {
        let mut line = Line("stop".to_owned());
        line.put("group", group);
        let ticket = self.command(line)?;
        self.wait(ticket, Duration::from_secs(60)).map(drop)
    }

    /// Sends messages and gives those that were sent.
    pub fn send(&mut self, send: Send) -> Result<Vec<Sent>> {
        let ticket = self.start_sending(send)?;
        self.wait(ticket, Duration::from_secs(300))?;
        Ok(self.sent(ticket))
    }

    /// Begins to send; [`wait`](Self::wait) for its end.
    pub fn start_sending(&mut self, send: Send) -> Result<Ticket> {
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
        .map_err(|error| anyhow::anyhow!("{}: {error}", self.library.name()))
    }

    /// Messages that a command has sent so far.
    pub fn sent(&self, ticket: Ticket) -> Vec<Sent> {
        self.shared
            .lock()
            .sent
            .iter()
            .filter(|sent| sent.cmd == ticket.0)
            .cloned()
            .collect()
    }

    /// Everything sent so far.
    pub fn all_sent(&self) -> Vec<Sent> {
        self.shared.lock().sent.clone()
    }

    /// Every send that failed so far.
    pub fn all_failed(&self) -> Vec<Sent> {
        self.shared.lock().failed.clone()
    }

    /// Everything delivered to the handler of `group` so far.
    pub fn consumed(&self, group: &str) -> Vec<Consumed> {
        self.shared
            .lock()
            .consumed
            .iter()
            .filter(|consumed| consumed.group == group)
            .cloned()
            .collect()
    }

    /// Waits until the handler of `group` has been called `count` times, and gives all its calls.
    pub fn wait_consumed(&self, group: &str, count: usize, limit: Duration) -> Result<Vec<Consumed>> {
        self.wait_until(limit, &format!("{count} deliveries to {group}"), |account| {
            let here = account.consumed.iter().filter(|consumed| consumed.group == group);
            (here.clone().count() >= count).then(|| here.cloned().collect())
        })
    }

    /// Ends the program in order: consumers commit their offsets, connections are closed.
    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        self.process.wait(Duration::from_secs(30)).map(drop)
    }

    /// Ends the program at once, as a crash would.
    pub fn kill(self) -> Result<()> {
        self.process.signal(libc::SIGKILL)
    }

    fn command(&mut self, mut line: Line) -> Result<Ticket> {
        self.commands += 1;
        line.put("cmd", self.commands);
        if !line.0.starts_with("send") {
            line.put("ns", &self.server);
        }
        line.0.push('\n');
        let input = self.input.as_mut().context("the client is finished")?;
        input
            .write_all(line.0.as_bytes())
            .and_then(|()| input.flush())
            .context("giving the client a command")?;
        Ok(Ticket(self.commands))
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
                    account.sent.len(),
                    account.failed.len(),
                    account.consumed.len(),
                    crate::process::tail(&self.process.log()?)
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

fn java(artifacts: &Artifacts, version: &str, dir: &Path) -> Result<Command> {
    let jars = require(
        artifacts.client_jars(version),
        &format!("RocketMQ client {version}"),
    )?;
    let classes = require(artifacts.java_classes(version), "the Java test client")?;
    let mut command = Command::new("java");
    command
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-Xms64m",
            "-Xmx256m",
        ])
        .arg(format!("-Drocketmq.client.logRoot={}", dir.display()))
        .arg("-Drocketmq.client.logLevel=WARN")
        // A queue that appears is pulled within a second, not within twenty.
        .arg("-Drocketmq.client.rebalance.waitInterval=1000")
        .arg("-cp")
        .arg(format!("{}:{}/*", classes.display(), jars.display()))
        .arg("TestClient");
    Ok(command)
}

fn read(shared: &Shared, output: ChildStdout) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let event = serde_json::from_str(&line);
        let mut account = shared.lock();
        match event {
            Ok(Event::Started {}) => account.started = true,
            Ok(Event::Sent(sent)) => account.sent.push(sent),
            Ok(Event::SendFailed(sent)) => account.failed.push(sent),
            Ok(Event::Consumed(consumed)) => account.consumed.push(consumed),
            Ok(Event::Done(done)) => account.done.push(done),
            Ok(Event::CommandFailed { cmd, error }) => account.errors.push((cmd, error)),
            // Other output of the client library.
            Err(_) => continue,
        }
        shared.changed.notify_all();
    }
    shared.lock().ended = true;
    shared.changed.notify_all();
}
