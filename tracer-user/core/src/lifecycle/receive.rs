//! `receive` spans, where they are asked for: one for each pull or pop that brought messages, from the request's first
//! byte to the answer's last. It stands in a trace of its own and links each message's creation context; the process
//! spans of its messages are its children. An empty poll makes none, nor one of which the client drops every message by
//! its own filter.

use std::sync::Arc;

use super::{
    Sink,
    attributes::Attributes,
    delivery::{Delivery, Source},
    names::Name,
    trace::Origin,
};
use crate::model::{Link, Operation, Span, SpanContext, SpanKind, Status, Timestamp, attribute::*};

/// A `receive` span in the making.
#[derive(Debug)]
pub(crate) struct Receive {
    pub(crate) context: SpanContext,
    start: Timestamp,
    links: Vec<Link>,
    count: i64,
    /// Topic and namespace of the first message, while all have the same.
    destination: Option<(Arc<str>, Arc<str>)>,
}

impl Receive {
    /// A span for a request written at `start`; `None` where none is asked for.
    pub(crate) fn begin(start: Timestamp, sink: &mut Sink) -> Option<Receive> {
        sink.config.receive.then(|| Receive {
            context: sink.random_context(),
            start,
            links: Vec::new(),
            count: 0,
            destination: None,
        })
    }

    /// The request brought this message.
    pub(crate) fn brought(&mut self, delivery: &Delivery) {
        let destination = delivery.destination();
        if self.count == 0 {
            self.destination = Some(destination);
        } else if self.destination.as_ref() != Some(&destination) {
            self.destination = None;
        }
        self.count += 1;
        self.links.extend(delivery.creation_link());
    }

    /// Makes the span, if there were messages. `asked` is the topic and the queue that the request names.
    pub(crate) fn finish(self, source: &Source, asked: (&str, Option<i64>), sink: &mut Sink) {
        if self.count == 0 {
            return;
        }
        let (topic, queue_id) = asked;
        // what is missing may be of another topic, and nobody knows how much it is
        let complete = !source.incomplete;
        let destination = self.destination.filter(|_| complete);
        let (topic, namespace) = destination.unwrap_or_else(|| {
            let name = Name::parse(topic);
            (sink.name(&name.topic()), sink.name(name.namespace))
        });
        let mut attributes = Attributes::new(Operation::Receive);
        attributes.destination(&topic, &namespace, queue_id);
        attributes.maybe(MESSAGING_CONSUMER_GROUP_NAME, source.group.clone());
        attributes.peer(&source.peer);
        attributes.network(&source.peer);
        attributes.maybe(MESSAGING_BATCH_MESSAGE_COUNT, complete.then_some(self.count));
        attributes.maybe(MESSAGING_ROCKETMQ_CONSUMPTION_MODEL, source.model());
        attributes.maybe(MESSAGING_ROCKETMQ_BROKER_NAME, source.broker_name.clone());
        attributes.set(RMQTRACE_TRACE_ORIGIN, Origin::None.name());
        if !complete {
            attributes.set(RMQTRACE_INCOMPLETE, true);
        }
        sink.emit(Span {
            context: self.context,
            parent: None,
            trace_state: None,
            operation: Operation::Receive,
            kind: SpanKind::Client,
            topic,
            group: source.group.clone(),
            start: self.start.min(source.delivered),
            end: source.delivered,
            status: Status::Unset,
            attributes: attributes.done(),
            links: self.links,
            process: source.peer.process,
        });
    }
}
