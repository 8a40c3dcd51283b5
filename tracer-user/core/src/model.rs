//! What comes out: spans in rmqtrace's own terms, without any telemetry library's types.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

pub mod attribute;
mod bounds;
mod naming;

pub use attribute::{Attribute, CapturedProperty, Key, Value};
pub use bounds::{Bounds, Cut};
pub use naming::Naming;

/// A moment in the clock of the records, in nanoseconds: `CLOCK_BOOTTIME` for live capture. Only user space
/// outside this crate knows how it maps to wall-clock time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment plus `by`, saturating.
    pub fn plus(self, by: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment minus `by`, saturating.
    pub fn minus(self, by: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Time from `earlier` to this moment; zero where `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// 16 bytes that name a trace; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes that name a span within its trace; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

macro_rules! hex_fmt {
    ($($t:ty),*) => { $(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { hex(&self.0, f) }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { hex(&self.0, f) }
        }
    )* };
}
hex_fmt!(TraceId, SpanId);

/// W3C trace flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TraceFlags(pub u8);

impl TraceFlags {
    /// The trace is recorded by whoever set this.
    pub const SAMPLED: TraceFlags = TraceFlags(1);
    /// The trace id's last seven bytes are random (level 2). Never set on a computed id.
    pub const RANDOM: TraceFlags = TraceFlags(2);

    /// Sampled, or not, and nothing else.
    pub const fn of(sampled: bool) -> TraceFlags {
        TraceFlags(sampled as u8)
    }

    /// Whether the sampled flag is set.
    pub const fn is_sampled(self) -> bool {
        self.0 & TraceFlags::SAMPLED.0 != 0
    }
}

/// A span's place: which trace, which span.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span within it.
    pub span_id: SpanId,
    /// What a carried context says of the trace; `None` where nobody upstream has decided whether it is sampled.
    pub flags: Option<TraceFlags>,
}

/// OpenTelemetry span kind, as far as messaging uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanKind {
    /// Creates a message's context.
    Producer,
    /// Handles a message.
    Consumer,
    /// A request to the broker that carries somebody else's context.
    Client,
}

/// What a span is about: the low-cardinality `messaging.operation.name`, first word of the span's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// One message of a batch got its own context.
    Create,
    /// One network attempt to hand messages to a broker.
    Send,
    /// One network attempt to hand the reply to a request to a broker.
    Reply,
    /// A timed message is taken back before its time.
    Recall,
    /// A pull or pop that brought messages.
    Receive,
    /// One delivered message, until the evidence of its end.
    Process,
    /// Messages were processed.
    Ack,
    /// A message is to come back.
    Nack,
    /// A message is kept for longer.
    Extend,
    /// A half message of a transaction is to be delivered, or everything below an offset was processed.
    Commit,
    /// A half message is to be dropped.
    Rollback,
    /// The broker asks what becomes of a half message.
    Check,
}

impl Operation {
    /// `messaging.operation.name`.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Send => "send",
            Operation::Reply => "reply",
            Operation::Recall => "recall",
            Operation::Receive => "receive",
            Operation::Process => "process",
            Operation::Ack => "ack",
            Operation::Nack => "nack",
            Operation::Extend => "extend",
            Operation::Commit => "commit",
            Operation::Rollback => "rollback",
            Operation::Check => "check",
        }
    }

    /// `messaging.operation.type` (semantic conventions v1.44 §1.1); `None` where they know no such type.
    pub fn kind(self) -> Option<&'static str> {
        match self {
            Operation::Create => Some("create"),
            Operation::Send | Operation::Reply => Some("send"),
            Operation::Receive => Some("receive"),
            Operation::Process => Some("process"),
            Operation::Ack | Operation::Nack | Operation::Extend => Some("settle"),
            Operation::Commit | Operation::Rollback => Some("settle"),
            Operation::Recall | Operation::Check => None,
        }
    }
}

/// OpenTelemetry span status: unset, or an error with a description.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// Nothing is known to have gone wrong.
    #[default]
    Unset,
    /// It failed; `error.type` says how. The description may be empty.
    Error(Cow<'static, str>),
}

/// A reference to another span.
#[derive(Clone, PartialEq, Debug)]
pub struct Link {
    /// The span referred to.
    pub context: SpanContext,
    /// What is said about the reference.
    pub attributes: Vec<Attribute>,
}

/// The process that owns a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProcessId(pub u32);

/// One finished span.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    /// Where it stands.
    pub context: SpanContext,
    /// Its parent in the same trace.
    pub parent: Option<SpanId>,
    /// The `tracestate` that came with a carried context.
    pub trace_state: Option<Arc<str>>,
    /// What it is about.
    pub operation: Operation,
    /// Its kind.
    pub kind: SpanKind,
    /// The topic that the user knows: without retry or dead-letter prefix, without namespace.
    pub topic: Arc<str>,
    /// The consumer group (process spans) or producer group (send spans).
    pub group: Option<Arc<str>>,
    /// When it started.
    pub start: Timestamp,
    /// When it ended; never before `start`.
    pub end: Timestamp,
    /// How it ended.
    pub status: Status,
    /// Attributes; a key at most once. Names are those of semantic conventions v1.44.
    pub attributes: Vec<Attribute>,
    /// References to other spans.
    pub links: Vec<Link>,
    /// The process whose connection it was seen on.
    pub process: ProcessId,
}

impl Span {
    /// `{operation} {topic}` (semantic conventions v1.44 §1.2).
    pub fn name(&self) -> String {
        format!("{} {}", self.operation.name(), self.topic)
    }

    /// The value of an attribute.
    pub fn attribute(&self, key: Key) -> Option<&Value> {
        self.attributes.iter().find(|a| a.key == key).map(|a| &a.value)
    }
}
