//! What a client program says that it did: JSON lines, one for each message sent and each delivery.

use std::{
    io::{BufRead, BufReader},
    process::ChildStdout,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Deserializer};

/// What a client says that it did. Times are its own wall clock, in nanoseconds since the epoch.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Started {},
    Sent(Sent),
    SendFailed(Sent),
    Consumed(Consumed),
    Handling(Consumed),
    Decided(Decided),
    Recalled(Recalled),
    Replied(Replied),
    Traced(Traced),
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
    /// Id that the broker gave it.
    pub transaction_id: Option<String>,
    /// Id of the reply that came.
    pub reply_id: Option<String>,
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
    #[serde(default, deserialize_with = "or_empty")]
    pub key: String,
    /// Its tag.
    #[serde(default, deserialize_with = "or_empty")]
    pub tag: String,
    /// Queue id.
    pub queue: i64,
    /// Offset in the queue.
    pub offset: i64,
    /// How many times it had been delivered before.
    pub reconsume_times: i64,
    /// Start of the handler.
    pub start_ns: u64,
    /// End of the handler; 0 while it is at work.
    #[serde(default)]
    pub end_ns: u64,
    /// What the handler returned.
    #[serde(default)]
    pub result: String,
}

/// What the application decided about a half message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// `local`, or `check` when the broker asked.
    pub when: String,
    /// The message.
    pub msg_id: String,
    /// Topic.
    pub topic: String,
    /// `commit`, `rollback` or `unknown`.
    pub state: String,
    /// Directly before.
    pub start_ns: u64,
    /// Directly after.
    pub end_ns: u64,
}

/// A message that was taken back before its time.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recalled {
    /// The message.
    pub msg_id: String,
    /// Topic.
    pub topic: String,
    /// Directly before the call.
    pub start_ns: u64,
    /// Directly after.
    pub end_ns: u64,
}

/// A reply to a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replied {
    /// Group of the producer that sent it.
    pub group: String,
    /// The reply.
    pub msg_id: String,
    /// The request.
    pub request_id: String,
    /// The reply's topic.
    pub topic: String,
    /// Why it did not get there.
    pub error: Option<String>,
    /// Directly before the call.
    pub start_ns: u64,
    /// Directly after.
    pub end_ns: u64,
}

/// A record of a client's own message trace, read from the trace topic. Times are wall-clock milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traced {
    /// `Pub`, `SubBefore`, `SubAfter`, `EndTransaction` or `Recall`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Producer's or consumer's group.
    #[serde(default, deserialize_with = "or_empty")]
    pub group: String,
    /// What the two records of a handler's call have in common.
    #[serde(default, deserialize_with = "or_empty")]
    pub request: String,
    /// When the record was begun: for a send and a `SubBefore` before the call, for a `SubAfter` after it.
    pub time_ms: u64,
    /// How long the call took; for a call with several messages, divided by their number.
    pub cost_ms: u64,
    /// Whether it succeeded, in words.
    pub success: String,
    /// The message.
    pub msg_id: String,
    /// Topic; only sends have it.
    #[serde(default, deserialize_with = "or_empty")]
    pub topic: String,
    /// How many times it had been delivered before; only `SubBefore` has it.
    pub retry_times: i64,
}

fn or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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

/// What a client has said about messages.
#[derive(Clone, Default, Debug)]
pub struct Said {
    /// Messages that were sent.
    pub sent: Vec<Sent>,
    /// Messages that could not be sent.
    pub failed: Vec<Sent>,
    /// Handlers that ended.
    pub consumed: Vec<Consumed>,
    /// Handlers that began, where the consumer was asked to tell.
    pub handling: Vec<Consumed>,
    /// Decisions about half messages.
    pub decided: Vec<Decided>,
    /// Messages that were recalled.
    pub recalled: Vec<Recalled>,
    /// Replies that were sent.
    pub replied: Vec<Replied>,
    /// Records of clients' own message traces, where it was asked to read them.
    pub traced: Vec<Traced>,
}

/// Everything that a client has said.
#[derive(Default, Debug)]
pub(super) struct Account {
    pub(super) started: bool,
    pub(super) ended: bool,
    pub(super) said: Said,
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
            Ok(Event::Sent(sent)) => account.said.sent.push(sent),
            Ok(Event::SendFailed(sent)) => account.said.failed.push(sent),
            Ok(Event::Consumed(consumed)) => account.said.consumed.push(consumed),
            Ok(Event::Handling(consumed)) => account.said.handling.push(consumed),
            Ok(Event::Decided(decided)) => account.said.decided.push(decided),
            Ok(Event::Recalled(recalled)) => account.said.recalled.push(recalled),
            Ok(Event::Replied(replied)) => account.said.replied.push(replied),
            Ok(Event::Traced(traced)) => account.said.traced.push(traced),
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
