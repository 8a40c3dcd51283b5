//! One delivered message, from the answer that brought it to the evidence of its end.

use std::sync::Arc;

use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Sink,
    attributes::Attributes,
    client_trace::{Call, Calls},
    message::Known,
    names::{Name, Prefix},
    settle::Settled,
    trace::{Origin, Trace},
};
use crate::{
    engine::limits,
    exchange::Peer,
    model::{
        Attribute, Link, Operation, ProcessId, Span, SpanContext, SpanKind, Status, Timestamp, attribute::*,
    },
    wire::StoredMessage,
};

/// What the messages of one answer have in common.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) peer: Arc<Peer>,
    /// The consumer group, without namespace; unknown where the pull was not seen.
    pub(crate) group: Option<Arc<str>>,
    pub(crate) broker_name: Option<Arc<str>>,
    /// Namespace that the pull names in a field of its own.
    pub(crate) namespace: Option<Arc<str>>,
    /// The topic that a pop asked for: messages of its retry topic come with it.
    pub(crate) requested: Option<Arc<str>>,
    /// Whether the group is known to broadcast, or to share.
    pub(crate) broadcasting: Option<bool>,
    /// The application asks for messages itself, so that nothing tells when it works on them.
    pub(crate) polled: bool,
    /// When the last byte of the answer was read, or later where that byte was lost.
    pub(crate) delivered: Timestamp,
    /// When the messages were surely not with the application yet.
    pub(crate) unfinished: Timestamp,
    /// Bytes of the exchange were lost.
    pub(crate) incomplete: bool,
    /// The `receive` span whose children the process spans are.
    pub(crate) receive: Option<SpanContext>,
}

impl Source {
    /// The consumption model, where it is known.
    pub(crate) fn model(&self) -> Option<&'static str> {
        self.broadcasting
            .map(|yes| if yes { "broadcasting" } else { "clustering" })
    }
}

/// A delivered message that may still be in work.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: StoredMessage,
    /// When it was delivered.
    pub(crate) start: Timestamp,
    /// Until when it was surely unfinished.
    pub(crate) unfinished: Timestamp,
    /// The topic that the user knows.
    topic: Arc<str>,
    namespace: Arc<str>,
    /// The message id.
    key: Box<str>,
    context: SpanContext,
    trace: Trace,
    /// The process span of the attempt before this one.
    previous: Option<SpanContext>,
    source: Arc<Source>,
}

/// How it is known that a message was processed: `rmqtrace.process.evidence`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evidence {
    /// A commit in a frame written at this moment passes it.
    OffsetCommit(Timestamp),
    /// It was sent back in a frame written at this moment.
    SendBack(Timestamp),
    /// It was acknowledged in a frame written at this moment.
    Ack {
        at: Timestamp,
        /// The message had been given to somebody else.
        expired: bool,
    },
    /// It was given back likewise.
    Nack { at: Timestamp, expired: bool },
    /// The client answered in a frame written at this moment, with an error unless it succeeded.
    Direct {
        at: Timestamp,
        error: Option<&'static str>,
    },
    /// Nothing tells.
    None,
}

impl Evidence {
    /// When the frame was written.
    pub(crate) fn at(self) -> Option<Timestamp> {
        match self {
            Evidence::OffsetCommit(at) | Evidence::SendBack(at) => Some(at),
            Evidence::Ack { at, .. } | Evidence::Nack { at, .. } | Evidence::Direct { at, .. } => Some(at),
            Evidence::None => None,
        }
    }

    /// Whether a call of the listener that failed is the last one with the message. A commit passes a message only when
    /// it was processed, or sent back before.
    pub(crate) fn is_last_call(self) -> bool {
        !matches!(self, Evidence::OffsetCommit(_))
    }

    /// The name of the failure that it tells.
    fn error(self) -> Option<&'static str> {
        match self {
            Evidence::SendBack(_) | Evidence::Nack { .. } => Some("FAILURE"),
            Evidence::Direct { error, .. } => error,
            Evidence::OffsetCommit(_) | Evidence::Ack { .. } | Evidence::None => None,
        }
    }
}

impl Delivery {
    /// A message of an answer.
    pub(crate) fn new(
        message: StoredMessage,
        source: &Arc<Source>,
        sink: &mut Sink,
        failed: &mut Failed,
    ) -> Delivery {
        let known = Known::read(&message.properties);
        let pulled = Name::parse(&message.topic);
        let original = known.retry_topic.or(source.requested.as_deref());
        let name = match (pulled.prefix, original) {
            (Prefix::Retry, Some(topic)) => Name::parse(topic),
            _ => pulled,
        };
        let own = Some(name.namespace).filter(|namespace| !namespace.is_empty());
        let namespace = match (own, &source.namespace) {
            (None, Some(namespace)) => namespace.clone(),
            _ => sink.name(name.namespace),
        };
        let key: Box<str> = known
            .unique_key
            .or(known.origin_id)
            .or(known.dead_letter_origin_id)
            .map_or_else(|| message.offset_message_id().into(), Box::from);
        let lookup = sink.look_up(&message.properties, &known);
        let trace = Trace::of(sink, Some(&key), lookup);
        sink.conversations.note(known.correlation_id, &trace);
        let context = match source.receive {
            Some(receive) => SpanContext {
                span_id: sink.ids.span_id(),
                ..receive
            },
            None => trace.child(sink),
        };
        let attempt = message.reconsume_times;
        let previous = match (pulled.prefix, &source.group) {
            _ if attempt <= 0 => None,
            // whoever reads a dead letter, the attempts before were those of the group that gave it up
            (Prefix::DeadLetter, _) => failed.find(&key, pulled.bare, attempt - 1),
            (_, Some(group)) => failed.find(&key, group, attempt - 1),
            (_, None) => None,
        };
        let topic = sink.name(&name.topic());
        let (start, unfinished) = (source.delivered, source.unfinished);
        let source = source.clone();
        Delivery {
            message,
            start,
            unfinished,
            topic,
            namespace,
            key,
            context,
            trace,
            previous,
            source,
        }
    }

    /// Whether an id that a client gives means this message: its id, the id that Java takes for it, or the
    /// offset message id.
    pub(crate) fn is_called(&self, id: &str) -> bool {
        let known = Known::read(&self.message.properties);
        known.unique_key == Some(id)
            || known.reported_key == Some(id)
            || known.origin_id == Some(id)
            || self.message.offset_message_id() == id
    }

    /// Topic and namespace.
    pub(crate) fn destination(&self) -> (Arc<str>, Arc<str>) {
        (self.topic.clone(), self.namespace.clone())
    }

    /// A link to the creation context, which says which message it is.
    pub(crate) fn creation_link(&self) -> Option<Link> {
        self.trace.creation.map(|context| Link {
            context,
            attributes: vec![Attribute::new(
                MESSAGING_MESSAGE_ID,
                String::from(self.key.clone()),
            )],
        })
    }

    /// What a settle span says about it.
    pub(crate) fn settled(&self) -> Settled {
        Settled {
            context: self.context,
            creation: self.trace.creation,
            state: self.trace_state(),
            origin: self.origin(),
            topic: self.topic.clone(),
            namespace: self.namespace.clone(),
            group: self.source.group.clone(),
            queue_id: self.message.queue_id,
            message_id: self.key.clone(),
            broker_name: self.source.broker_name.clone(),
        }
    }

    /// Where the trace id of its spans comes from.
    fn origin(&self) -> Origin {
        match self.source.receive {
            Some(_) => Origin::None,
            None => self.trace.origin,
        }
    }

    /// `tracestate` of its spans.
    fn trace_state(&self) -> Option<Arc<str>> {
        let state = self.trace.state.clone();
        state.filter(|_| self.origin() == Origin::Propagated)
    }

    /// The process that it was delivered to.
    pub(crate) fn process(&self) -> ProcessId {
        self.source.peer.process
    }

    /// What names it among the calls that the consumer traces; `None` where no record about it comes.
    pub(crate) fn call_key(&self, calls: &Calls) -> Option<u128> {
        let group = self.source.group.as_ref()?;
        if self.source.polled || !calls.traces(self.process(), group) {
            return None;
        }
        let known = Known::read(&self.message.properties);
        if known.trace_off {
            return None;
        }
        Some(match known.reported_key {
            Some(id) => Calls::key(self.process(), group, id),
            None => Calls::key(self.process(), group, &self.message.offset_message_id()),
        })
    }

    /// Notes that the message will be delivered again, for the link from that.
    pub(crate) fn failed(&self, failed: &mut Failed) {
        if let Some(group) = &self.source.group {
            failed.note(&self.key, group, self.message.reconsume_times, self.context);
        }
    }

    /// Makes the span. A traced call is the better evidence of the times.
    pub(crate) fn finish(self, evidence: Evidence, call: Option<Call>, sink: &mut Sink, failed: &mut Failed) {
        // the record says more precisely why
        let error = call.as_ref().and_then(|call| call.error).or(evidence.error());
        let succeeded = match evidence {
            Evidence::OffsetCommit(_) | Evidence::Ack { expired: false, .. } => error.is_none(),
            Evidence::Direct { .. } => true,
            _ => false,
        };
        if !succeeded {
            self.failed(failed);
        }
        let (origin, trace_state) = (self.origin(), self.trace_state());
        let Delivery {
            message,
            start,
            unfinished,
            topic,
            namespace,
            key,
            context,
            trace,
            previous,
            source,
        } = self;
        let totals = &mut sink.totals;
        let (end, name, total) = match (evidence, &call) {
            (_, Some(call)) => (call.end, "client_trace", &mut totals.ended_by_client_trace),
            (Evidence::OffsetCommit(at), _) => (at, "offset_commit", &mut totals.ended_by_commit),
            (Evidence::SendBack(at), _) => (at, "send_back", &mut totals.ended_by_send_back),
            (Evidence::Ack { at, .. }, _) => (at, "ack", &mut totals.ended_by_ack),
            (Evidence::Nack { at, .. }, _) => (at, "nack", &mut totals.ended_by_nack),
            (Evidence::Direct { at, .. }, _) => (at, "direct", &mut totals.ended_by_answer),
            (Evidence::None, _) => (start, "none", &mut totals.ended_by_nothing),
        };
        *total += 1;
        let begin = call.as_ref().and_then(|call| call.begin);
        // milliseconds are whole in a record, and nothing begins before it is delivered
        let start = begin.map_or(start, |begin| begin.max(start));
        let end = end.max(start);
        let uncertainty = match (evidence, &call) {
            (_, Some(call)) => Some(call.uncertainty_ns).filter(|ns| *ns > 0),
            (Evidence::OffsetCommit(_), None) => Some(end.0.saturating_sub(unfinished.0)),
            _ => None,
        };

        let known = Known::read(&message.properties);
        let mut attributes = Attributes::new(Operation::Process);
        attributes.destination(&topic, &namespace, Some(message.queue_id.into()));
        attributes.maybe(MESSAGING_CONSUMER_GROUP_NAME, source.group.clone());
        attributes.peer(&source.peer);
        attributes.maybe(MESSAGING_ROCKETMQ_BROKER_NAME, source.broker_name.clone());
        // only a group that shares its offsets commits them
        let committed = matches!(evidence, Evidence::OffsetCommit(_)).then_some("clustering");
        let model = source.model().or(committed);
        attributes.maybe(MESSAGING_ROCKETMQ_CONSUMPTION_MODEL, model);
        attributes.set(MESSAGING_MESSAGE_BODY_SIZE, message.body_length);
        attributes.message(&known, message.sys_flag.into(), Some(message.born_timestamp));
        attributes.properties(&sink.config.captured_properties, &message.properties);
        attributes.set(MESSAGING_ROCKETMQ_STORE_TIMESTAMP, message.store_timestamp);
        attributes.set(MESSAGING_ROCKETMQ_QUEUE_OFFSET, message.queue_offset);
        attributes.set(MESSAGING_ROCKETMQ_OFFSET_MESSAGE_ID, message.offset_message_id());
        attributes.set(MESSAGING_ROCKETMQ_RECONSUME_TIMES, message.reconsume_times);
        attributes.set(RMQTRACE_TRACE_ORIGIN, origin.name());
        let began = if begin.is_some() {
            "client_trace"
        } else {
            "delivered"
        };
        attributes.set(RMQTRACE_PROCESS_START, began);
        attributes.set(RMQTRACE_PROCESS_EVIDENCE, name);
        attributes.maybe(
            RMQTRACE_PROCESS_END_UNCERTAINTY_MS,
            uncertainty.map(|ns| ns as f64 / 1e6),
        );
        if let Evidence::Ack { expired: true, .. } | Evidence::Nack { expired: true, .. } = evidence {
            attributes.set(RMQTRACE_PROCESS_EXPIRED, true);
        }
        if source.incomplete {
            attributes.set(RMQTRACE_INCOMPLETE, true);
        }
        attributes.maybe(ERROR_TYPE, error);
        let status = if error.is_some() {
            Status::Error("".into())
        } else {
            Status::Unset
        };
        attributes.set(MESSAGING_MESSAGE_ID, String::from(key));
        let links = trace.creation.into_iter().chain(previous);
        sink.emit(Span {
            context,
            parent: source.receive.or(trace.creation).map(|parent| parent.span_id),
            trace_state,
            operation: Operation::Process,
            kind: SpanKind::Consumer,
            topic,
            group: source.group.clone(),
            start,
            end,
            status,
            attributes: attributes.done(),
            links: links
                .map(|context| Link {
                    context,
                    attributes: Vec::new(),
                })
                .collect(),
            process: source.peer.process,
        });
    }
}

/// Process spans of messages that were not proven processed: their retries link them. By message id and group;
/// bounded, the oldest is forgotten.
#[derive(Debug)]
pub(crate) struct Failed(LruCache<u128, (i32, SpanContext)>);

impl Failed {
    pub(crate) fn new() -> Failed {
        Failed(LruCache::new(limits::FAILED))
    }

    fn note(&mut self, key: &str, group: &str, attempt: i32, context: SpanContext) {
        self.0.insert(Failed::id(key, group), (attempt, context));
    }

    fn find(&self, key: &str, group: &str, attempt: i32) -> Option<SpanContext> {
        let (found, context) = self.0.peek(&Failed::id(key, group))?;
        (*found == attempt).then_some(*context)
    }

    fn id(key: &str, group: &str) -> u128 {
        xxh3_128([key, group].join("\0").as_bytes())
    }
}
