//! The one door of this crate.

use std::time::Duration;

use crate::{
    model::{Span, Timestamp},
    record::{Close, Open, Record},
};

/// What the engine may be told.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// How long a request may wait for its answer (`correlate.timeout`).
    pub correlate_timeout: Duration,
    /// How long a delivered message may wait for evidence (`process.ttl`).
    pub process_ttl: Duration,
    /// Compute ids from the message id (`trace.derive_ids`).
    pub derive_ids: bool,
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
            derive_ids: true,
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
    /// A connection ended.
    Closed(Close),
}

/// Running totals; they only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Connections seen.
    pub connections: u64,
    /// Frames decoded.
    pub frames: u64,
    /// Messages sent, one per message and successful or unanswered attempt.
    pub messages_sent: u64,
    /// Messages delivered.
    pub messages_delivered: u64,
    /// Spans made.
    pub spans: u64,
}

/// Bytes of RocketMQ connections in, spans out. See the crate's documentation.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    totals: Totals,
}

impl Engine {
    /// An engine without any connection.
    pub fn new(config: Config) -> Engine {
        Engine { config, totals: Totals::default() }
    }

    /// Takes in one record. Call [`Engine::poll_output`] until it is empty afterwards.
    pub fn handle_record(&mut self, record: Record<'_>) {
        let _ = (record, &self.config);
    }

    /// Lets time pass: answers that never came, evidence that never came.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// When [`Engine::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next thing that came out.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Ends everything that is open, as at shutdown: sends without answer and messages without evidence.
    pub fn finish(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// Running totals.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}
