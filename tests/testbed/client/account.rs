//! What a client program says that it did: JSON lines, one for each message sent and each delivery.

use std::{
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;

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
    pub(super) cmd: u64,
    /// Sends that failed.
    #[serde(default)]
    pub failed: u64,
    /// How long all sends together took, nanoseconds.
    #[serde(default)]
    pub took_ns: u64,
}

/// Everything that a client has said.
#[derive(Default, Debug)]
pub(super) struct Account {
    pub(super) started: bool,
    pub(super) ended: bool,
    pub(super) sent: Vec<Sent>,
    pub(super) failed: Vec<Sent>,
    pub(super) consumed: Vec<Consumed>,
    pub(super) done: Vec<Done>,
    pub(super) errors: Vec<(u64, String)>,
}

/// The account, shared by the thread that reads it and those that wait for it.
#[derive(Default, Debug)]
pub(super) struct Shared {
    pub(super) account: Mutex<Account>,
    pub(super) changed: Condvar,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the account until the client ends.
pub(super) fn read(shared: &Shared, output: ChildStdout) {
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
