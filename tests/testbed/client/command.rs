//! What a client program is told to do: lines of `verb key=value …` (the list is in `java/TestClient.java`).

use std::time::Duration;

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
    /// Waits for the answer; all messages of one shard go to one queue.
    Ordered,
    /// Half messages, with what becomes of them.
    Transaction,
    /// Waits for another application's reply.
    Request,
    /// Sends and takes back.
    Recall,
}

impl Mode {
    /// The ways of sending that every client has.
    pub const ALL: [Mode; 4] = [Mode::Sync, Mode::Async, Mode::OneWay, Mode::Batch];

    /// The word of the command.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Async => "async",
            Mode::OneWay => "oneway",
            Mode::Batch => "batch",
            Mode::Ordered => "ordered",
            Mode::Transaction => "transaction",
            Mode::Request => "request",
            Mode::Recall => "recall",
        }
    }
}

/// A command, built up argument by argument.
#[derive(Clone, Debug)]
pub(super) struct Line(pub(super) String);

impl Line {
    pub(super) fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!(" {key}={}", encode(&value.to_string())));
    }
}

/// URL-encodes what would end or change a value.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b'+' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Messages to send.
#[derive(Clone, Debug)]
pub struct Send(pub(super) Line);

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

    /// Any argument of the command.
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Send {
        self.0.put(key, value);
        self
    }
}

/// A push consumer to start.
#[derive(Clone, Debug)]
pub struct Consume(pub(super) Line);

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

    /// Any argument of the command.
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Consume {
        self.0.put(key, value);
        self
    }
}
