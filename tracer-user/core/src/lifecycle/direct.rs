//! A message that an administrator has a consumer process directly: CONSUME_MESSAGE_DIRECTLY (§2.5). The broker
//! asks with the message, and the client's answer says when it was done and what came of it.

use std::sync::Arc;

use super::{
    Lifecycle,
    delivery::{Delivery, Evidence, Source},
    names::{Name, is_internal},
};
use crate::{
    exchange::Peer,
    wire::{Body, Frame, ResponseCode},
};

/// Why a consumer that answered did not succeed; `Ok` where it did. `None` where the result is not known.
type Outcome = Option<Result<(), &'static str>>;

impl Lifecycle {
    /// Takes in CONSUME_MESSAGE_DIRECTLY, from the broker.
    pub(super) fn consume_directly(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Option<Box<Delivery>> {
        let Body::Messages(messages) = &frame.body else {
            return None;
        };
        let message = messages.first()?.clone();
        if is_internal(Name::parse(&message.topic).bare) {
            return None;
        }
        let text = |name| frame.header.field(name).filter(|text| !text.is_empty());
        let (group, broker_name) = (text("consumerGroup"), text("brokerName"));
        let wire_group = group.as_ref().map(|group| self.sink.name(group));
        let known = wire_group.and_then(|group| self.groups.known(&(peer.process, group)));
        let broadcasting = known.and_then(|group| group.broadcasting);
        let source = Source {
            peer: peer.clone(),
            group: group.map(|group| self.sink.name(Name::parse(&group).bare)),
            broker_name: broker_name.map(|name| self.sink.name(&name)),
            namespace: None,
            requested: None,
            broadcasting,
            // it calls the listener without tracing it
            polled: true,
            delivered: frame.end,
            unfinished: frame.end,
            incomplete: frame.incomplete,
            receive: None,
        };
        let failed = &mut self.groups.ends().failed;
        let delivery = Delivery::new(message, &Arc::new(source), &mut self.sink, failed);
        Some(Box::new(delivery))
    }

    /// Takes in the client's answer. A client that refuses has processed nothing.
    pub(super) fn consumed_directly(&mut self, delivery: Box<Delivery>, answer: &Frame) {
        if answer.header.response_code() != ResponseCode::SUCCESS {
            return;
        }
        self.sink.totals.messages_delivered += 1;
        let evidence = match outcome(&answer.body) {
            Some(result) => Evidence::Direct {
                at: answer.end,
                error: result.err(),
            },
            None => Evidence::None,
        };
        self.groups.ends().end(delivery, evidence, &mut self.sink);
    }

    /// Gives up waiting for the client's answer.
    pub(super) fn not_consumed_directly(&mut self, delivery: Box<Delivery>) {
        self.sink.totals.messages_delivered += 1;
        self.groups.ends().end(delivery, Evidence::None, &mut self.sink);
    }
}

/// `consumeResult` of the answer's body (`consume_result` with rocketmq-rust): a name, or the number of its place among
/// [`RESULTS`], as Go's client writes it.
fn outcome(body: &Body) -> Outcome {
    let Body::Raw(body) = body else { return None };
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let result = value
        .get("consumeResult")
        .or_else(|| value.get("consume_result"))?;
    let name = match result.as_u64() {
        Some(place) => *RESULTS.get(usize::try_from(place).ok()?)?,
        None => *RESULTS.iter().find(|name| result == **name)?,
    };
    Some(match name {
        "CR_SUCCESS" | "CR_COMMIT" => Ok(()),
        error => Err(error),
    })
}

/// What a client can answer, in the order of their numbers.
const RESULTS: [&str; 6] = [
    "CR_SUCCESS",
    "CR_LATER",
    "CR_ROLLBACK",
    "CR_COMMIT",
    "CR_THROW_EXCEPTION",
    "CR_RETURN_NULL",
];
