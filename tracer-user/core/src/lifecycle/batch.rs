//! Batch sends: one `send` span for the request, and one `create` span for each message, so that each
//! message's trace has its root.
//!
//! The request's span links each message's creation context and stands in a trace of its own. A context that
//! the application put into a message is left alone, without a `create` span. One that it put around the batch
//! is the parent of the request's span, and also becomes each message's own where the broker copies the outer
//! properties into every message, which 4.8.0 to 5.3.3 do (§3.4).

use std::borrow::Cow;

use super::{
    Sink,
    attributes::Attributes,
    message::Known,
    send::{Attempt, Outcome},
    trace::{Attempts, Origin, Trace},
};
use crate::{
    model::{
        Attribute, CapturedProperty, Link, Operation, Span, SpanContext, SpanKind, Status, Timestamp,
        attribute::*,
    },
    wire::BatchMessage,
};

/// Version ordinals (§1.6) of the brokers that copy a batch's properties into its messages: 4.8.0 to 5.3.3.
const COPIES_PROPERTIES: std::ops::RangeInclusive<i32> = 373..=479;

impl Attempt {
    pub(super) fn finish_batch(
        mut self,
        outcome: Outcome<'_>,
        end: Timestamp,
        sink: &mut Sink,
        attempts: &mut Attempts,
    ) {
        let messages = self.batch.take().unwrap_or_default();
        let outer = sink.look_up(&self.properties, &Known::read(&self.properties));
        let copied = match outcome {
            Outcome::Answered(answer) => COPIES_PROPERTIES.contains(&answer.header.version),
            _ => false,
        };
        // the answer's ids go with the messages by their place, which is not known of those behind a lost one
        let offset_ids = outcome.field("msgId").filter(|_| !self.incomplete);
        let offset_ids = offset_ids.unwrap_or_default();
        let mut offset_ids = offset_ids.split(',').map(str::trim).filter(|id| !id.is_empty());
        let outer_key = outcome.field("transactionId").filter(|_| copied);

        let mut links = Vec::with_capacity(messages.len());
        for message in &messages {
            let known = Known::read(&message.properties);
            let mut lookup = sink.look_up(&message.properties, &known);
            if copied {
                lookup = lookup.or(|| outer.clone());
            }
            let offset_id = offset_ids.next().filter(|_| outcome.is_stored());
            let key = known
                .unique_key
                .or(outer_key.as_deref())
                .or(known.origin_id)
                .or(offset_id);
            let trace = Trace::of(sink, key, lookup);
            let Some(creation) = trace.creation else { continue };
            let attributes = key.map(|key| Attribute::new(MESSAGING_MESSAGE_ID, key.to_owned()));
            links.push(Link {
                context: creation,
                attributes: attributes.into_iter().collect(),
            });
            let first =
                outcome.is_stored() && !self.forwarded && key.is_some_and(|key| attempts.succeed(key));
            if first && trace.origin == Origin::MessageId {
                let offset_id = offset_id.map(Cow::from);
                let captured = &sink.config.captured_properties;
                let create = self.create(captured, creation, message, &known, key, offset_id);
                sink.emit(create);
            }
        }

        let parent = outer.carried.as_ref().map(|carried| carried.context.span_id);
        let (context, origin) = match &outer.carried {
            Some(carried) => {
                let span_id = sink.ids.span_id();
                (
                    SpanContext {
                        span_id,
                        ..carried.context
                    },
                    Origin::Propagated,
                )
            }
            None => (sink.random_context(), Origin::None),
        };
        let mut attributes = self.attributes(&outcome, origin);
        let count = (!self.incomplete).then_some(messages.len() as i64);
        attributes.maybe(MESSAGING_BATCH_MESSAGE_COUNT, count);
        let span = self.span(context, SpanKind::Client, &outcome, end, attributes);
        let trace_state = outer.carried.and_then(|carried| carried.state);
        sink.emit(Span {
            parent,
            trace_state,
            links,
            ..span
        });
    }

    /// The root of a batch message's trace.
    fn create(
        &self,
        captured: &[CapturedProperty],
        context: SpanContext,
        message: &BatchMessage,
        known: &Known<'_>,
        key: Option<&str>,
        offset_id: Option<Cow<'_, str>>,
    ) -> Span {
        let mut attributes = Attributes::new(Operation::Create);
        attributes.destination(&self.topic, &self.namespace, None);
        attributes.peer(&self.peer);
        attributes.maybe(MESSAGING_MESSAGE_ID, key.map(str::to_owned));
        attributes.set(MESSAGING_MESSAGE_BODY_SIZE, message.body_length);
        attributes.message(known, self.sys_flag, self.born_timestamp);
        attributes.properties(captured, &message.properties);
        attributes.maybe(
            MESSAGING_ROCKETMQ_OFFSET_MESSAGE_ID,
            offset_id.map(Cow::into_owned),
        );
        attributes.set(RMQTRACE_TRACE_ORIGIN, Origin::MessageId.name());
        Span {
            context,
            parent: None,
            trace_state: None,
            operation: Operation::Create,
            kind: SpanKind::Producer,
            topic: self.topic.clone(),
            group: self.group.clone(),
            start: self.start,
            end: self.start,
            status: Status::Unset,
            attributes: attributes.done(),
            links: Vec::new(),
            process: self.peer.process,
        }
    }
}
