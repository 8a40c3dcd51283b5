//! Attribute keys and values. To add an attribute: a constant here, a line where the span is made.

use std::{borrow::Cow, sync::Arc};

/// An attribute's name.
pub type Key = &'static str;

/// An attribute's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Text.
    Str(Cow<'static, str>),
    /// Text that many spans share.
    Shared(Arc<str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A list of texts.
    Strings(Vec<String>),
}

impl Value {
    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            Value::Shared(s) => Some(s),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($t:ty => |$v:ident| $e:expr;)*) => { $(impl From<$t> for Value { fn from($v: $t) -> Value { $e } })* };
}
from! {
    &'static str => |v| Value::Str(Cow::Borrowed(v));
    String => |v| Value::Str(Cow::Owned(v));
    Arc<str> => |v| Value::Shared(v);
    i64 => |v| Value::Int(v);
    i32 => |v| Value::Int(v.into());
    u32 => |v| Value::Int(v.into());
    u16 => |v| Value::Int(v.into());
    f64 => |v| Value::Float(v);
    bool => |v| Value::Bool(v);
    Vec<String> => |v| Value::Strings(v);
}

/// A name and its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Attribute {
    /// The name.
    pub key: Key,
    /// The value.
    pub value: Value,
}

impl Attribute {
    /// An attribute.
    pub fn new(key: Key, value: impl Into<Value>) -> Attribute {
        Attribute {
            key,
            value: value.into(),
        }
    }
}

/// Beginning of the names of [`CapturedProperty`] attributes.
pub const MESSAGING_ROCKETMQ_PROPERTY_PREFIX: &str = "messaging.rocketmq.property.";

/// A message property that becomes an attribute, `messaging.rocketmq.property.` and its name
/// (`attributes.properties`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturedProperty {
    /// The property's name, byte for byte.
    pub name: Box<str>,
    /// The attribute's name.
    pub key: Key,
}

impl CapturedProperty {
    /// The property of this name; `None` where its value must never leave. The attribute's name lives as long as
    /// the program: make one for each name of the configuration, not for each message.
    pub fn new(name: &str) -> Option<CapturedProperty> {
        const SECRET: [&str; 3] = ["AccessKey", "Signature", "SecurityToken"];
        if SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name)) {
            return None;
        }
        let key = format!("{MESSAGING_ROCKETMQ_PROPERTY_PREFIX}{name}");
        Some(CapturedProperty {
            name: name.into(),
            key: Box::leak(key.into_boxed_str()),
        })
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Key = $text;)*
        /// Every key that a span can carry.
        pub const ALL: &[Key] = &[$($name),*];
    };
}

keys! {
    /// Always `rocketmq`.
    MESSAGING_SYSTEM = "messaging.system";
    /// See [`super::Operation::name`].
    MESSAGING_OPERATION_NAME = "messaging.operation.name";
    /// See [`super::Operation::kind`].
    MESSAGING_OPERATION_TYPE = "messaging.operation.type";
    /// Topic, without namespace and retry prefix.
    MESSAGING_DESTINATION_NAME = "messaging.destination.name";
    /// Queue id, as text.
    MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id";
    /// UNIQ_KEY, else the offset message id.
    MESSAGING_MESSAGE_ID = "messaging.message.id";
    /// CORRELATION_ID of request-reply.
    MESSAGING_MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id";
    /// Bytes of the body as it travels (compressed when it is).
    MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size";
    /// Messages in a batch send.
    MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count";
    /// Client id from the heartbeat.
    MESSAGING_CLIENT_ID = "messaging.client.id";
    /// Consumer group.
    MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name";
    /// Namespace, empty when there is none.
    MESSAGING_ROCKETMQ_NAMESPACE = "messaging.rocketmq.namespace";
    /// `normal`, `fifo`, `delay`, `transaction`.
    MESSAGING_ROCKETMQ_MESSAGE_TYPE = "messaging.rocketmq.message.type";
    /// TAGS.
    MESSAGING_ROCKETMQ_MESSAGE_TAG = "messaging.rocketmq.message.tag";
    /// KEYS, split at spaces.
    MESSAGING_ROCKETMQ_MESSAGE_KEYS = "messaging.rocketmq.message.keys";
    /// Sharding key of FIFO messages.
    MESSAGING_ROCKETMQ_MESSAGE_GROUP = "messaging.rocketmq.message.group";
    /// DELAY.
    MESSAGING_ROCKETMQ_MESSAGE_DELAY_TIME_LEVEL = "messaging.rocketmq.message.delay_time_level";
    /// Delivery time, epoch milliseconds.
    MESSAGING_ROCKETMQ_MESSAGE_DELIVERY_TIMESTAMP = "messaging.rocketmq.message.delivery_timestamp";
    /// `clustering` or `broadcasting`.
    MESSAGING_ROCKETMQ_CONSUMPTION_MODEL = "messaging.rocketmq.consumption_model";
    /// Name of the broker that holds the queue.
    MESSAGING_ROCKETMQ_BROKER_NAME = "messaging.rocketmq.broker_name";
    /// Offset in the queue.
    MESSAGING_ROCKETMQ_QUEUE_OFFSET = "messaging.rocketmq.queue_offset";
    /// Store host and commit-log offset, upper-case hex.
    MESSAGING_ROCKETMQ_OFFSET_MESSAGE_ID = "messaging.rocketmq.offset_message_id";
    /// `SEND_OK`, `FLUSH_DISK_TIMEOUT`, `FLUSH_SLAVE_TIMEOUT`, `SLAVE_NOT_AVAILABLE`.
    MESSAGING_ROCKETMQ_SEND_STATUS = "messaging.rocketmq.send_status";
    /// How many times the group has already been given the message.
    MESSAGING_ROCKETMQ_RECONSUME_TIMES = "messaging.rocketmq.reconsume_times";
    /// Producer's clock when the message was made, epoch milliseconds.
    MESSAGING_ROCKETMQ_BORN_TIMESTAMP = "messaging.rocketmq.born_timestamp";
    /// Broker's clock when it stored the message, epoch milliseconds.
    MESSAGING_ROCKETMQ_STORE_TIMESTAMP = "messaging.rocketmq.store_timestamp";
    /// Producer group.
    MESSAGING_ROCKETMQ_PRODUCER_GROUP = "messaging.rocketmq.producer_group";
    /// The broker's address.
    SERVER_ADDRESS = "server.address";
    /// The broker's port.
    SERVER_PORT = "server.port";
    /// Address really connected to.
    NETWORK_PEER_ADDRESS = "network.peer.address";
    /// Port really connected to.
    NETWORK_PEER_PORT = "network.peer.port";
    /// Name of the failure; only on failed spans.
    ERROR_TYPE = "error.type";
    /// `message_id`, `propagated` or `none`: where the trace id comes from.
    RMQTRACE_TRACE_ORIGIN = "rmqtrace.trace.origin";
    /// Number of this network attempt, from 1.
    RMQTRACE_SEND_ATTEMPT = "rmqtrace.send.attempt";
    /// `true`: a one-way send, of which nobody knows the outcome.
    RMQTRACE_SEND_ONE_WAY = "rmqtrace.send.one_way";
    /// `commit`, `rollback` or `unknown`: what a producer says about its transaction.
    RMQTRACE_TRANSACTION_STATE = "rmqtrace.transaction.state";
    /// How the end of a process span is known.
    RMQTRACE_PROCESS_EVIDENCE = "rmqtrace.process.evidence";
    /// `delivered`: the span contains the wait in the client's own queue.
    RMQTRACE_PROCESS_START = "rmqtrace.process.start";
    /// End of the span minus the last moment at which the message was surely unfinished.
    RMQTRACE_PROCESS_END_UNCERTAINTY_MS = "rmqtrace.process.end_uncertainty_ms";
    /// `true`: the broker had given the popped message to somebody else before it was acknowledged.
    RMQTRACE_PROCESS_EXPIRED = "rmqtrace.process.expired";
    /// `true`: bytes of this exchange were lost.
    RMQTRACE_INCOMPLETE = "rmqtrace.incomplete";
    /// Language that the client claims in its frames.
    RMQTRACE_CLIENT_LANGUAGE = "rmqtrace.client.language";
    /// Version that the client claims in its frames.
    RMQTRACE_CLIENT_VERSION = "rmqtrace.client.version";
}
