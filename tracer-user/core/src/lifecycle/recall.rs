//! Recalls (RECALL_MESSAGE, §2.4): a producer takes back a timed message before its time.
//!
//! The request names the message by a handle that the answer to its send gave out (§5.5), not its context. So timed
//! messages are remembered from their send, and the recall is a child of that span. The recall of a message whose send
//! was not seen here stands in a trace of its own, since a carried context could not be known; its message id joins them.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Sink,
    attributes::Attributes,
    names::{Name, is_internal, own_namespace},
    send::Outcome,
    trace::Origin,
};
use crate::{
    engine::limits,
    exchange::Peer,
    model::{Operation, Span, SpanContext, SpanKind, Status, Timestamp, attribute::*},
    wire::{Frame, ResponseCode},
};

/// A timed message that may be recalled.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    /// Its send span.
    pub(super) send: SpanContext,
    pub(super) state: Option<Arc<str>>,
    pub(super) origin: Origin,
}

/// Timed messages by their id. Bounded; the one used longest ago is forgotten.
#[derive(Debug)]
pub(crate) struct Recallable(LruCache<u128, Timed>);

impl Recallable {
    pub(crate) fn new() -> Recallable {
        Recallable(LruCache::new(limits::RECALLABLE))
    }

    pub(super) fn note(&mut self, key: &str, timed: Timed) {
        self.0.insert(xxh3_128(key.as_bytes()), timed);
    }

    fn find(&self, key: &str) -> Option<Timed> {
        self.0.peek(&xxh3_128(key.as_bytes())).cloned()
    }
}

/// A recall that waits for its answer.
#[derive(Debug)]
pub(crate) struct Recall {
    peer: Arc<Peer>,
    start: Timestamp,
    topic: Arc<str>,
    namespace: Arc<str>,
    /// Producer group.
    group: Option<Arc<str>>,
    handle: Option<Handle>,
}

/// `v1 topic broker timestamp message-id`, in URL-safe base64 (§5.5).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Handle {
    broker_name: String,
    /// When the message is to be delivered, epoch milliseconds.
    timestamp: i64,
    key: String,
}

impl Handle {
    fn parse(text: &str) -> Option<Handle> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?).ok()?;
        let mut words = text.split(' ');
        let (version, _topic) = (words.next()?, words.next()?);
        let (broker_name, timestamp, key) = (words.next()?, words.next()?, words.next()?);
        (version == "v1" && words.next().is_none() && !key.is_empty()).then_some(Handle {
            broker_name: broker_name.to_owned(),
            timestamp: timestamp.parse().ok()?,
            key: key.to_owned(),
        })
    }
}

impl Recall {
    /// Reads the request. `None` where it is about no message of the user's.
    pub(super) fn read(peer: &Arc<Peer>, frame: &Frame, sink: &mut Sink) -> Option<Recall> {
        let header = &frame.header;
        let (Some(topic), Some(handle)) = (header.field("topic"), header.field("recallHandle")) else {
            sink.totals.malformed += 1;
            return None;
        };
        let handle = Handle::parse(&handle);
        sink.totals.malformed += u64::from(handle.is_none());
        let name = Name::parse(&topic);
        if is_internal(name.bare) {
            return None;
        }
        let group = header.field("producerGroup").filter(|group| !group.is_empty());
        Some(Recall {
            peer: peer.clone(),
            start: frame.start,
            topic: sink.name(name.bare),
            namespace: match own_namespace(header) {
                Some(namespace) if name.namespace.is_empty() => sink.name(&namespace),
                _ => sink.name(name.namespace),
            },
            group: group.map(|group| sink.name(Name::parse(&group).bare)),
            handle,
        })
    }

    /// Makes the span of the recall, which ended at `end`.
    pub(super) fn finish(self, outcome: Outcome<'_>, end: Timestamp, sink: &mut Sink, known: &Recallable) {
        let answered = outcome.field("msgId").map(Cow::into_owned);
        let key = self.handle.as_ref().map(|handle| handle.key.clone()).or(answered);
        let timed = key.as_deref().and_then(|key| known.find(key));
        let mut attributes = Attributes::new(Operation::Recall);
        attributes.destination(&self.topic, &self.namespace, None);
        attributes.peer(&self.peer);
        attributes.maybe(MESSAGING_MESSAGE_ID, key);
        attributes.set(MESSAGING_ROCKETMQ_MESSAGE_TYPE, "delay");
        attributes.maybe(MESSAGING_ROCKETMQ_PRODUCER_GROUP, self.group.clone());
        if let Some(handle) = self.handle {
            attributes.set(MESSAGING_ROCKETMQ_MESSAGE_DELIVERY_TIMESTAMP, handle.timestamp);
            attributes.set(MESSAGING_ROCKETMQ_BROKER_NAME, handle.broker_name);
        }
        let origin = timed.as_ref().map_or(Origin::None, |timed| timed.origin);
        attributes.set(RMQTRACE_TRACE_ORIGIN, origin.name());
        let error: Option<Cow<'static, str>> = match outcome {
            Outcome::Answered(frame) => match frame.header.response_code() {
                ResponseCode::SUCCESS => None,
                code => Some(code.name().map_or_else(|| code.0.to_string().into(), Cow::from)),
            },
            Outcome::TimedOut => Some("timeout".into()),
            Outcome::Closed => Some("connection_closed".into()),
            Outcome::OneWay => None,
            Outcome::Unknown => {
                attributes.set(RMQTRACE_INCOMPLETE, true);
                None
            }
        };
        let status = if error.is_some() {
            Status::Error("".into())
        } else {
            Status::Unset
        };
        attributes.maybe(ERROR_TYPE, error.map(crate::model::Value::Str));
        let context = match &timed {
            Some(timed) => SpanContext {
                span_id: sink.ids.span_id(),
                ..timed.send
            },
            None => sink.random_context(),
        };
        sink.emit(Span {
            context,
            parent: timed.as_ref().map(|timed| timed.send.span_id),
            trace_state: timed.and_then(|timed| timed.state),
            operation: Operation::Recall,
            kind: SpanKind::Client,
            topic: self.topic,
            group: self.group,
            start: self.start,
            end: end.max(self.start),
            status,
            attributes: attributes.done(),
            links: Vec::new(),
            process: self.peer.process,
        });
    }
}
