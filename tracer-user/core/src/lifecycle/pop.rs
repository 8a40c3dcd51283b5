//! Pop consumption (§6.3): each message is acknowledged for itself, so its end is known exactly.
//!
//! An acknowledgement, or a change of the invisible time, which a client asks for when it failed, names the
//! delivery by broker, topic and kind of topic, queue, offset and pop time (§5.4).
//!
//! The broker gives the message to somebody else after popTime + invisibleTime, in its own clock. What is
//! popped now was popped before its answer was read, so a delivery has expired for sure when the invisible time
//! has passed since then. The broker takes a later acknowledgement as well, and delivers the message again all
//! the same: it ends the span, which says so.

use std::{sync::Arc, time::Duration};

use super::{
    Lifecycle, Pending,
    delivery::{Delivery, Evidence, Source},
    names::{Name, is_internal, own_namespace},
    popped::PopKey,
    receive::Receive,
    send::Outcome,
    settle::Settle,
};
use crate::{
    exchange::Peer,
    model::{Operation, ProcessId, Timestamp},
    wire::{
        Body, Frame, Header, RequestCode, ResponseCode, StoredMessage,
        pop::{BatchAck, Handle, Kind},
    },
};

/// A pop that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pop {
    peer: Arc<Peer>,
    /// When it was written.
    start: Timestamp,
    /// It asks for messages of lite topics.
    lite: bool,
    /// A queue that it names; -1 and none are all of them.
    queue_id: Option<i64>,
    /// Group and topic by their names on the wire.
    group: Arc<str>,
    topic: Arc<str>,
    broker: Arc<str>,
    namespace: Option<Arc<str>>,
}

/// A request for another invisible time that waits for its answer.
#[derive(Debug)]
pub(crate) struct GivenBack {
    key: PopKey,
    /// When its last byte was written.
    pub(crate) written: Timestamp,
    /// A span about it, where that is asked for.
    settle: Option<Box<Settle>>,
}

impl Lifecycle {
    /// Takes in a pop request. `None` where nothing of its answer matters.
    pub(super) fn pop(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Option<Pop> {
        let header = &frame.header;
        let (Some(group), Some(topic)) = (header.field("consumerGroup"), header.field("topic")) else {
            self.sink.totals.malformed += 1;
            return None;
        };
        if is_internal(Name::parse(&topic).bare) {
            return None;
        }
        Some(Pop {
            peer: peer.clone(),
            start: frame.start,
            lite: header.request_code() == RequestCode::POP_LITE_MESSAGE,
            queue_id: header.int("queueId").filter(|id| *id >= 0),
            group: self.sink.name(&group),
            topic: self.sink.name(&topic),
            broker: self.sink.name(&header.field("bname").unwrap_or_default()),
            namespace: own_namespace(header).map(|namespace| self.sink.name(&namespace)),
        })
    }

    /// Takes in the answer to a pop.
    pub(super) fn pop_answered(&mut self, pop: Pop, answer: Frame) {
        if answer.header.response_code() != ResponseCode::SUCCESS {
            return;
        }
        let Body::Messages(messages) = answer.body else {
            return;
        };
        let (pop_time, invisible) = (answer.header.int("popTime"), answer.header.int("invisibleTime"));
        let group = (pop.peer.process, pop.group.clone());
        let mut receive = Receive::begin(pop.start, &mut self.sink);
        let source = Arc::new(Source {
            group: Some(self.sink.name(Name::parse(&pop.group).bare)),
            broker_name: Some(pop.broker.clone()).filter(|name| !name.is_empty()),
            peer: pop.peer.clone(),
            namespace: pop.namespace.clone(),
            requested: Some(pop.topic.clone()),
            broadcasting: Some(false),
            polled: false,
            delivered: answer.end,
            unfinished: answer.end,
            incomplete: answer.incomplete,
            receive: receive.as_ref().map(|receive| receive.context),
        });
        for message in messages {
            self.sink.totals.messages_delivered += 1;
            let known = self.groups.known(&group);
            if known.is_some_and(|group| group.filters_out(&pop.topic, &message.properties)) {
                self.sink.totals.messages_filtered += 1;
                continue;
            }
            let found = self.pop_key(&pop, &message, pop_time, invisible);
            let ends = self.groups.ends();
            let delivery = Box::new(Delivery::new(message, &source, &mut self.sink, &mut ends.failed));
            if let Some(receive) = &mut receive {
                receive.brought(&delivery);
            }
            match found {
                Some((key, invisible)) => {
                    let expires = answer.end.plus(invisible);
                    self.pops.deliver(key, delivery, expires, &mut self.sink, ends);
                }
                None => ends.end(delivery, Evidence::None, &mut self.sink),
            }
        }
        if let Some(receive) = receive {
            receive.finish(&source, (&pop.topic, pop.queue_id), &mut self.sink);
        }
    }

    /// What will name the delivery of a message, and for how long it is the client's. A message from a retry
    /// topic brings its handle, the others' is made up of the answer (§4.4, §5.4).
    fn pop_key(
        &mut self,
        pop: &Pop,
        message: &StoredMessage,
        pop_time: Option<i64>,
        invisible: Option<i64>,
    ) -> Option<(PopKey, Duration)> {
        let handle = message.properties.get("POP_CK").and_then(Handle::parse);
        let (kind, _) = Kind::of_topic(&message.topic, &pop.group);
        let handle = match handle {
            Some(handle) => handle,
            None => Handle {
                pop_time: pop_time?,
                invisible_time: invisible?,
                kind,
                broker_name: &pop.broker,
                queue_id: message.queue_id.into(),
                queue_offset: message.queue_offset,
            },
        };
        let invisible = Duration::from_millis(u64::try_from(handle.invisible_time).ok()?);
        let lite = message.properties.get("__LITE_TOPIC").filter(|_| pop.lite);
        let key = self.key_of(pop.peer.process, &pop.group, (&pop.topic, lite), &handle);
        Some((key, invisible))
    }

    /// The key of a delivery from a topic, and perhaps a lite topic within it.
    fn key_of(
        &mut self,
        process: ProcessId,
        group: &str,
        (topic, lite): (&str, Option<&str>),
        handle: &Handle<'_>,
    ) -> PopKey {
        PopKey {
            process,
            group: self.sink.name(group),
            // that of the retry topic or the one that was asked for
            topic: self.sink.name(Kind::of_topic(topic, group).1),
            lite: self.sink.name(lite.unwrap_or_default()),
            broker: self.sink.name(handle.broker_name),
            kind: handle.kind,
            queue_id: handle.queue_id,
            queue_offset: handle.queue_offset,
            pop_time: handle.pop_time,
        }
    }

    /// The key of the one delivery that a request names.
    fn named(&mut self, peer: &Peer, header: &Header) -> Option<PopKey> {
        let (group, topic, info) = (
            header.field("consumerGroup"),
            header.field("topic"),
            header.field("extraInfo"),
        );
        let handle = info.as_deref().and_then(Handle::parse);
        let (Some(group), Some(topic), Some(handle)) = (group, topic, handle) else {
            self.sink.totals.malformed += 1;
            return None;
        };
        let lite = header.field("liteTopic");
        Some(self.key_of(peer.process, &group, (&topic, lite.as_deref()), &handle))
    }

    /// Takes in ACK_MESSAGE.
    pub(super) fn ack(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let Some(key) = self.named(peer, &frame.header) else {
            return Pending::Other;
        };
        let settled = self.pops.ack(&key, frame.end, &mut self.sink, self.groups.ends());
        let settled = settled.into_iter().collect();
        Settle::begin(Operation::Ack, peer, frame, settled).map_or(Pending::Other, Pending::Settle)
    }

    /// Takes in BATCH_ACK_MESSAGE.
    pub(super) fn batch_ack(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let Body::Raw(body) = &frame.body else {
            return Pending::Other;
        };
        // the start of a body of which the rest was lost
        if frame.incomplete {
            return Pending::Other;
        }
        let Ok(batch) = BatchAck::parse(body) else {
            self.sink.totals.malformed += 1;
            return Pending::Other;
        };
        let mut settled = Vec::new();
        for ack in &batch.acks {
            for queue_offset in ack.offsets() {
                let handle = Handle {
                    pop_time: ack.pop_time,
                    invisible_time: 0,
                    kind: ack.kind,
                    broker_name: &batch.broker_name,
                    queue_id: ack.queue_id,
                    queue_offset,
                };
                let key = self.key_of(peer.process, &ack.group, (&ack.topic, None), &handle);
                settled.extend(self.pops.ack(&key, frame.end, &mut self.sink, self.groups.ends()));
            }
        }
        Settle::begin(Operation::Ack, peer, frame, settled).map_or(Pending::Other, Pending::Settle)
    }

    /// Takes in CHANGE_MESSAGE_INVISIBLETIME: the message is to come back, or to be kept.
    pub(super) fn give_back(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let Some(key) = self.named(peer, &frame.header) else {
            return Pending::Other;
        };
        let invisible = frame
            .header
            .int("invisibleTime")
            .and_then(|ms| u64::try_from(ms).ok());
        let invisible = Duration::from_millis(invisible.unwrap_or(0)).min(self.sink.config.process_ttl);
        let (at, until) = (frame.end, frame.end.plus(invisible));
        let given = self
            .pops
            .give_back(&key, at, until, self.groups.ends(), &mut self.sink);
        given.map_or(Pending::Other, |(key, settled)| {
            let settled = Some(settled).filter(|_| self.sink.config.settle);
            let settle = Settle::begin(Operation::Nack, peer, frame, settled.into_iter().collect());
            Pending::GivenBack(Box::new(GivenBack {
                key,
                written: at,
                settle,
            }))
        })
    }

    /// Takes in the answer to it.
    pub(super) fn gave_back(&mut self, given: GivenBack, outcome: Outcome<'_>, end: Timestamp) {
        let GivenBack { key, mut settle, .. } = given;
        if let Some(settle) = &mut settle {
            settle.ended(outcome, end);
        }
        let (sink, ends) = (&mut self.sink, self.groups.ends());
        if let Outcome::Answered(frame) = outcome
            && frame.header.response_code() == ResponseCode::SUCCESS
            && let (Some(pop_time), Some(invisible)) =
                (frame.header.int("popTime"), frame.header.int("invisibleTime"))
        {
            let invisible = Duration::from_millis(u64::try_from(invisible).unwrap_or(0));
            let expires = frame.end.plus(invisible);
            return self.pops.renamed(&key, pop_time, expires, settle, sink, ends);
        }
        self.pops.end_given_back(&key, settle, sink, ends);
    }
}
