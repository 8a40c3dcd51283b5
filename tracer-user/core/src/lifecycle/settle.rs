//! Settle spans, where they are asked for: what a client tells the broker about messages that it was given, from the
//! request's first byte to the answer's last (one-way: to its own last byte).
//!
//! | frame | span |
//! |---|---|
//! | ACK_MESSAGE, BATCH_ACK_MESSAGE | `ack` |
//! | CHANGE_MESSAGE_INVISIBLETIME | `nack`; `extend` where the message is acknowledged under its new handle |
//! | CONSUMER_SEND_MSG_BACK, and the send to the retry topic in its place | `nack` |
//! | UPDATE_CONSUMER_OFFSET that passes messages | `commit` |
//!
//! It is a child of the process span that it settles. One that settles several at once stands in a trace of its own and
//! links them. Within receive spans, whose trace is not the message's, it links the message's creation context. A commit
//! that a pull carries along has no span of its own, and neither has a frame about messages whose delivery was not seen, or
//! that are settled already.

use std::{borrow::Cow, sync::Arc};

use super::{Sink, attributes::Attributes, send::Outcome, trace::Origin};
use crate::{
    exchange::Peer,
    model::{
        Attribute, Link, Operation, Span, SpanContext, SpanKind, Status, Timestamp, Value, attribute::*,
    },
    wire::Frame,
};

/// A delivery that is settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// The process span.
    pub(crate) context: SpanContext,
    /// The message's creation context, by which its spans are sampled.
    pub(crate) creation: Option<SpanContext>,
    pub(crate) state: Option<Arc<str>>,
    pub(crate) origin: Origin,
    pub(crate) topic: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) queue_id: i32,
    pub(crate) message_id: Box<str>,
    pub(crate) broker_name: Option<Arc<str>>,
}

/// A settle span in the making.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) operation: Operation,
    peer: Arc<Peer>,
    start: Timestamp,
    /// When its last byte was written.
    pub(crate) written: Timestamp,
    settled: Vec<Settled>,
    /// How it ended, once it has.
    ended: Option<(Timestamp, Fate)>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    Done,
    Failed(Cow<'static, str>),
    Unknown,
}

impl Settle {
    /// A span about a request; `None` where nothing is settled.
    pub(crate) fn begin(
        operation: Operation,
        peer: &Arc<Peer>,
        frame: &Frame,
        settled: Vec<Settled>,
    ) -> Option<Box<Settle>> {
        (!settled.is_empty()).then(|| {
            Box::new(Settle {
                operation,
                peer: peer.clone(),
                start: frame.start,
                written: frame.end,
                settled,
                ended: None,
            })
        })
    }

    /// Takes in how the request ended, and when.
    pub(crate) fn ended(&mut self, outcome: Outcome<'_>, end: Timestamp) {
        let fate = match outcome {
            Outcome::OneWay => Fate::Done,
            Outcome::TimedOut => Fate::Failed("timeout".into()),
            Outcome::Closed => Fate::Failed("connection_closed".into()),
            Outcome::Unknown => Fate::Unknown,
            // a send to the retry topic is also done where it was stored less safely than asked
            Outcome::Answered(_) if outcome.is_stored() => Fate::Done,
            Outcome::Answered(frame) => {
                let code = frame.header.response_code();
                Fate::Failed(code.name().map_or_else(|| code.0.to_string().into(), Cow::from))
            }
        };
        self.ended = Some((end, fate));
    }

    /// Makes the span.
    pub(crate) fn emit(self, sink: &mut Sink) {
        let (end, fate) = self.ended.unwrap_or((self.written, Fate::Unknown));
        let Some(first) = self.settled.first() else { return };
        let alone = self.settled.len() == 1;
        let context = if alone {
            SpanContext {
                span_id: sink.ids.span_id(),
                ..first.context
            }
        } else {
            sink.random_context()
        };
        let origin = if alone { first.origin } else { Origin::None };
        let mut attributes = Attributes::new(self.operation);
        let queue_id = self.settled.iter().all(|s| s.queue_id == first.queue_id);
        attributes.destination(
            &first.topic,
            &first.namespace,
            queue_id.then_some(first.queue_id.into()),
        );
        attributes.maybe(MESSAGING_CONSUMER_GROUP_NAME, first.group.clone());
        attributes.peer(&self.peer);
        attributes.network(&self.peer);
        if alone {
            attributes.set(MESSAGING_MESSAGE_ID, String::from(first.message_id.clone()));
        } else {
            attributes.set(MESSAGING_BATCH_MESSAGE_COUNT, self.settled.len() as i64);
        }
        attributes.maybe(MESSAGING_ROCKETMQ_BROKER_NAME, first.broker_name.clone());
        attributes.set(RMQTRACE_TRACE_ORIGIN, origin.name());
        let status = match fate {
            Fate::Failed(why) => {
                attributes.set(ERROR_TYPE, Value::Str(why));
                Status::Error("".into())
            }
            Fate::Unknown => {
                attributes.set(RMQTRACE_INCOMPLETE, true);
                Status::Unset
            }
            Fate::Done => Status::Unset,
        };
        // within receive spans the trace is not the message's, and only the creation context tells which that is
        let elsewhere = |settled: &Settled| {
            let creation = settled.creation?;
            (creation.trace_id != settled.context.trace_id).then_some(creation)
        };
        let linked = |settled: &&Settled| !alone || elsewhere(settled).is_some();
        let link = |settled: &Settled| Link {
            context: elsewhere(settled).unwrap_or(settled.context),
            attributes: vec![Attribute::new(
                MESSAGING_MESSAGE_ID,
                String::from(settled.message_id.clone()),
            )],
        };
        sink.totals.settle_spans += 1;
        sink.emit(Span {
            context,
            parent: alone.then_some(first.context.span_id),
            trace_state: first.state.clone().filter(|_| alone),
            operation: self.operation,
            kind: SpanKind::Client,
            topic: first.topic.clone(),
            group: first.group.clone(),
            start: self.start,
            end: end.max(self.start),
            status,
            attributes: attributes.done(),
            links: self.settled.iter().filter(linked).map(link).collect(),
            process: self.peer.process,
        });
    }
}
