//! The one door of this crate.

pub mod limits;
pub(crate) mod names;
pub(crate) mod timers;
mod totals;

use std::time::Duration;

use hashlink::LinkedHashMap;
use tracer_abi::Role;

use self::timers::Timers;
pub use self::totals::Totals;
use crate::{
    context::ContextProperty,
    exchange::Connection,
    lifecycle::{Lifecycle, Sink},
    model::{CapturedProperty, Span, Timestamp},
    record::{Close, ConnectionId, Data, Open, Process, Record},
};

/// What the engine may be told.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// How long a request may wait for its answer (`correlate.timeout`).
    pub correlate_timeout: Duration,
    /// How long a delivered message may wait for evidence (`process.ttl`).
    pub process_ttl: Duration,
    /// How long a consumer may be without the connection it pulled on until its deliveries are given up. In this
    /// time it connects anew, or commits its offsets at shutdown over another connection.
    pub reconnect_grace: Duration,
    /// Compute ids from the message id (`trace.derive_ids`).
    pub derive_ids: bool,
    /// User properties that carry a trace context, most preferred first (`trace.context_properties`).
    pub context_properties: Vec<ContextProperty>,
    /// Properties that become attributes (`attributes.properties`).
    pub captured_properties: Vec<CapturedProperty>,
    /// Make `receive` spans, and process spans their children (`spans.receive`).
    pub receive: bool,
    /// Make settle spans (`spans.settle`).
    pub settle: bool,
    /// Emit the broker's end of connections too (`spans.broker_side`).
    pub broker_side: bool,
    /// Seed of the generator of random ids.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            correlate_timeout: Duration::from_secs(30),
            process_ttl: Duration::from_secs(15 * 60),
            reconnect_grace: Duration::from_secs(10),
            derive_ids: true,
            context_properties: Vec::new(),
            captured_properties: Vec::new(),
            receive: false,
            settle: false,
            broker_side: false,
            seed: 0,
        }
    }
}

/// What comes out.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// A finished span.
    Span(Span),
    /// A connection was recognised.
    Opened(Open),
    /// A connection ended, or nothing more will be told of it.
    Ended(Ended),
}

/// The end of a connection, and what became of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Which one.
    pub connection: ConnectionId,
    /// Why it is told.
    pub why: Why,
    /// What the process sent.
    pub sent: Account,
    /// What it received.
    pub received: Account,
}

/// Why nothing more comes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It was closed. Bytes that are missing at its end are known.
    Closed,
    /// There were too many connections, and this one was silent for the longest time.
    Evicted,
    /// It is open, or its end was not seen: the engine ends, or its number is another connection's now.
    Left,
}

/// The bytes of one direction of a connection, from where it was first seen to its end: each was seen or is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Bytes that were seen, those that were left out on purpose included.
    pub seen: u64,
    /// Bytes that never came.
    pub lost: u64,
}

/// Bytes of RocketMQ connections in, spans out.
///
/// - [`Engine::handle_record`] takes in a record, in the order in which the source made them; time passes by
///   the records' own times.
/// - [`Engine::handle_timeout`] lets time pass where no record comes, at [`Engine::poll_timeout`] at the
///   latest. Hand in the records that the source holds ready before: what they say must not be too late.
/// - [`Engine::poll_output`] returns what came of either. Call it until it is empty after each of them; until
///   then outputs pile up.
/// - [`Engine::finish`] ends everything that is open.
///
/// The same records and times, in the same order, give the same spans with the same ids.
#[derive(Debug)]
pub struct Engine {
    /// In the order in which they were last heard of.
    connections: LinkedHashMap<ConnectionId, Connection>,
    timers: Timers<ConnectionId>,
    lifecycle: Lifecycle,
}

impl Engine {
    /// An engine without any connection.
    pub fn new(config: Config) -> Engine {
        Engine {
            connections: LinkedHashMap::new(),
            timers: Timers::new(),
            lifecycle: Lifecycle::new(Sink::new(config)),
        }
    }

    /// Takes in one record. Call [`Engine::poll_output`] until it is empty afterwards.
    pub fn handle_record(&mut self, record: Record<'_>) {
        let now = match &record {
            Record::Open(open) => open.time,
            Record::Data(data) => data.end,
            Record::Close(close) => close.time,
            Record::Process(process) => process.time,
        };
        self.handle_timeout(now);
        match record {
            Record::Open(open) => self.opened(open),
            Record::Data(data) => self.data(data),
            Record::Close(close) => self.closed(close),
            Record::Process(Process { process, .. }) => self.lifecycle.process_ended(process),
        }
    }

    /// Tells what to add to the time of records to get wall-clock time, in nanoseconds: 0 where they are the same. What
    /// clients trace themselves is in wall-clock time, and of no use before this is told. It may change.
    pub fn set_wall_offset(&mut self, ns: i64) {
        self.lifecycle.sink.wall_offset_ns = Some(ns);
    }

    /// Lets time pass: answers that never came, evidence that never came.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(id) = self.timers.pop(now) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.armed = None;
                connection.handle_timeout(now, &mut self.lifecycle);
                let deadline = connection.deadline();
                self.timers.arm(&id, &mut connection.armed, deadline);
            }
        }
        self.lifecycle.handle_timeout(now);
    }

    /// When [`Engine::handle_timeout`] has something to do next. It may turn out to be nothing.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        [self.timers.next(), self.lifecycle.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing that came out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.lifecycle.sink.outputs.pop_front()
    }

    /// Ends everything that is open, as at shutdown: sends without answer and messages without evidence.
    pub fn finish(&mut self, now: Timestamp) {
        self.handle_timeout(now);
        while let Some((id, connection)) = self.connections.pop_front() {
            self.abandon(id, connection, Why::Left, now);
        }
        self.lifecycle.finish();
    }

    /// Running totals.
    pub fn totals(&self) -> Totals {
        self.lifecycle.sink.totals
    }

    fn opened(&mut self, open: Open) {
        match self.connections.get_mut(&open.connection) {
            Some(connection) if connection.is_unannounced() => connection.announce(&open),
            _ => {
                // the number of an old connection, whose end was not seen
                if let Some(old) = self.connections.remove(&open.connection) {
                    self.abandon(open.connection, old, Why::Left, open.time);
                }
                self.insert(open.connection, Connection::open(&open), open.time);
            }
        }
        if open.role == Role::SERVER {
            // its frames may never come: the kernel side keeps the server's end to itself
            self.lifecycle.accepts_clients(open.process);
        }
        self.lifecycle.sink.outputs.push_back(Output::Opened(open));
    }

    fn data(&mut self, data: Data<'_>) {
        let id = data.connection;
        let known = match self.connections.to_back(&id) {
            Some(connection) => Some(connection),
            None => {
                self.insert(id, Connection::unannounced(&data), data.end);
                self.connections.get_mut(&id)
            }
        };
        if let Some(connection) = known {
            connection.handle_data(&data, &mut self.lifecycle);
            let deadline = connection.deadline();
            self.timers.arm(&id, &mut connection.armed, deadline);
        }
    }

    fn closed(&mut self, close: Close) {
        let accounts = match self.connections.remove(&close.connection) {
            Some(mut connection) => {
                self.timers.disarm(&close.connection, &mut connection.armed);
                connection.close(&close, &mut self.lifecycle)
            }
            None => {
                // nothing of it was seen, or it was forgotten: then that is counted
                let all = |lost| Account { seen: 0, lost };
                [all(close.sent_end), all(close.received_end)]
            }
        };
        self.ended(close.connection, Why::Closed, accounts);
    }

    fn insert(&mut self, id: ConnectionId, connection: Connection, now: Timestamp) {
        if self.connections.len() >= limits::CONNECTIONS
            && let Some((idle, connection)) = self.connections.pop_front()
        {
            self.lifecycle.sink.totals.evicted_connections += 1;
            self.abandon(idle, connection, Why::Evicted, now);
        }
        self.lifecycle.sink.totals.connections += 1;
        self.connections.insert(id, connection);
    }

    fn abandon(&mut self, id: ConnectionId, mut connection: Connection, why: Why, now: Timestamp) {
        self.timers.disarm(&id, &mut connection.armed);
        let accounts = connection.abandon(now, &mut self.lifecycle);
        self.ended(id, why, accounts);
    }

    fn ended(&mut self, connection: ConnectionId, why: Why, [sent, received]: [Account; 2]) {
        let ended = Ended {
            connection,
            why,
            sent,
            received,
        };
        self.lifecycle.sink.outputs.push_back(Output::Ended(ended));
    }
}
