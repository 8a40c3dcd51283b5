//! Pop consumption (§6.3): each message is acknowledged for itself, so its end is known exactly.
//!
//! An acknowledgement, or a change of the invisible time, which a client asks for when it failed, names the
//! delivery by broker, topic and kind of topic, queue, offset and pop time (§5.4).
//!
//! The broker gives the message to somebody else after popTime + invisibleTime, in its own clock. What is
//! popped now was popped before its answer was read, so a delivery has expired for sure when the invisible time
//! has passed since then. The broker takes a later acknowledgement as well, and delivers the message again all
//! the same: it ends the span, which says so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Lifecycle, Sink,
    delivery::{Delivery, Evidence, Source},
    ends::Ends,
    names::{Name, is_internal, own_namespace},
};
use crate::{
    engine::{limits, timers::Timers},
    exchange::Peer,
    model::{ProcessId, Timestamp},
    wire::{
        Body, Frame, Header, ResponseCode, StoredMessage,
        pop::{BatchAck, Handle, Kind},
    },
};

/// A pop that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pop {
    peer: Arc<Peer>,
    /// Group and topic by their names on the wire.
    group: Arc<str>,
    topic: Arc<str>,
    broker: Arc<str>,
    namespace: Option<Arc<str>>,
}

/// What names a delivery within a process. The name of the broker is empty where the pop did not give it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PopKey {
    process: ProcessId,
    group: Arc<str>,
    topic: Arc<str>,
    broker: Arc<str>,
    kind: Kind,
    queue_id: i64,
    queue_offset: i64,
    pop_time: i64,
}

#[derive(Debug)]
struct Popped {
    delivery: Box<Delivery>,
    /// When it surely was given to somebody else.
    expires: Timestamp,
    armed: Option<Timestamp>,
}

/// Popped messages in work, within bounds.
#[derive(Debug)]
pub(super) struct Pops {
    open: BTreeMap<PopKey, Popped>,
    timers: Timers<PopKey>,
}

/// What a client says about a delivery.
#[derive(Clone, Copy)]
enum Settled {
    Ack,
    Nack,
}

impl Pops {
    pub(super) fn new() -> Pops {
        Pops {
            open: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    fn deliver(
        &mut self,
        key: PopKey,
        delivery: Box<Delivery>,
        expires: Timestamp,
        sink: &mut Sink,
        ends: &mut Ends,
    ) {
        if self.open.len() >= limits::POPPED
            && let Some(next) = self.timers.pop(Timestamp(u64::MAX))
            && let Some(popped) = self.open.remove(&next)
        {
            sink.totals.evicted_deliveries += 1;
            ends.end(popped.delivery, Evidence::None, sink);
        }
        let mut popped = Popped {
            delivery,
            expires,
            armed: None,
        };
        let replaced = self.take(&key);
        self.timers.arm(&key, &mut popped.armed, Some(expires));
        self.open.insert(key, popped);
        if let Some(replaced) = replaced {
            ends.end(replaced.delivery, Evidence::None, sink);
        }
    }

    fn take(&mut self, key: &PopKey) -> Option<Popped> {
        let mut popped = self.open.remove(key)?;
        self.timers.disarm(key, &mut popped.armed);
        Some(popped)
    }

    fn settle(&mut self, mut key: PopKey, how: Settled, at: Timestamp, sink: &mut Sink, ends: &mut Ends) {
        let found = self.take(&key).or_else(|| {
            key.broker = "".into();
            self.take(&key)
        });
        let Some(popped) = found else { return };
        let expired = at > popped.expires;
        let evidence = match how {
            Settled::Ack => Evidence::Ack { at, expired },
            Settled::Nack => Evidence::Nack { at, expired },
        };
        ends.end(popped.delivery, evidence, sink);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, sink: &mut Sink, ends: &mut Ends) {
        while let Some(key) = self.timers.pop(now) {
            let Some(popped) = self.open.get_mut(&key) else {
                continue;
            };
            popped.armed = None;
            let given_up = popped.expires.plus(limits::POP_GRACE);
            if given_up > now {
                // from here on it is delivered again
                popped.delivery.failed(&mut ends.failed);
                self.timers.arm(&key, &mut popped.armed, Some(given_up));
            } else if let Some(popped) = self.open.remove(&key) {
                ends.end(popped.delivery, Evidence::None, sink);
            }
        }
    }

    /// Ends what is open, of one process or of all.
    pub(super) fn end(&mut self, process: Option<ProcessId>, sink: &mut Sink, ends: &mut Ends) {
        let ended = |key: &PopKey, _: &mut Popped| process.is_none_or(|process| key.process == process);
        for (key, mut popped) in self.open.extract_if(.., ended) {
            self.timers.disarm(&key, &mut popped.armed);
            ends.end(popped.delivery, Evidence::None, sink);
        }
    }
}

impl Lifecycle {
    /// Takes in a pop request. `None` where nothing of its answer matters.
    pub(super) fn pop(&mut self, peer: &Arc<Peer>, header: &Header) -> Option<Pop> {
        let (Some(group), Some(topic)) = (header.field("consumerGroup"), header.field("topic")) else {
            self.sink.totals.malformed += 1;
            return None;
        };
        if is_internal(Name::parse(&topic).bare) {
            return None;
        }
        Some(Pop {
            peer: peer.clone(),
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
        });
        for message in messages {
            self.sink.totals.messages_delivered += 1;
            let tag = message.properties.get("TAGS");
            let known = self.groups.known(&group);
            if known.is_some_and(|group| group.filters_out(&pop.topic, tag)) {
                self.sink.totals.messages_filtered += 1;
                continue;
            }
            let found = self.pop_key(&pop, &message, pop_time, invisible);
            let ends = self.groups.ends();
            let delivery = Box::new(Delivery::new(message, &source, &mut self.sink, &mut ends.failed));
            match found {
                Some((key, invisible)) => {
                    let expires = answer.end.plus(invisible);
                    self.pops.deliver(key, delivery, expires, &mut self.sink, ends);
                }
                None => ends.end(delivery, Evidence::None, &mut self.sink),
            }
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
        let key = self.key_of(pop.peer.process, &pop.group, &pop.topic, &handle);
        Some((key, invisible))
    }

    fn key_of(&mut self, process: ProcessId, group: &str, topic: &str, handle: &Handle<'_>) -> PopKey {
        PopKey {
            process,
            group: self.sink.name(group),
            // that of the retry topic or the one that was asked for
            topic: self.sink.name(Kind::of_topic(topic, group).1),
            broker: self.sink.name(handle.broker_name),
            kind: handle.kind,
            queue_id: handle.queue_id,
            queue_offset: handle.queue_offset,
            pop_time: handle.pop_time,
        }
    }

    /// Takes in ACK_MESSAGE.
    pub(super) fn ack(&mut self, peer: &Peer, frame: &Frame) {
        self.settle_one(peer, frame, Settled::Ack);
    }

    /// Takes in CHANGE_MESSAGE_INVISIBLETIME: the message is to come back.
    pub(super) fn nack(&mut self, peer: &Peer, frame: &Frame) {
        self.settle_one(peer, frame, Settled::Nack);
    }

    fn settle_one(&mut self, peer: &Peer, frame: &Frame, how: Settled) {
        let header = &frame.header;
        let (group, topic, info) = (
            header.field("consumerGroup"),
            header.field("topic"),
            header.field("extraInfo"),
        );
        let handle = info.as_deref().and_then(Handle::parse);
        let (Some(group), Some(topic), Some(handle)) = (group, topic, handle) else {
            self.sink.totals.malformed += 1;
            return;
        };
        let key = self.key_of(peer.process, &group, &topic, &handle);
        self.settle(key, how, frame.end);
    }

    /// Takes in BATCH_ACK_MESSAGE.
    pub(super) fn batch_ack(&mut self, peer: &Peer, frame: &Frame) {
        let Body::Raw(body) = &frame.body else { return };
        // the start of a body of which the rest was lost
        if frame.incomplete {
            return;
        }
        let Ok(batch) = BatchAck::parse(body) else {
            self.sink.totals.malformed += 1;
            return;
        };
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
                let key = self.key_of(peer.process, &ack.group, &ack.topic, &handle);
                self.settle(key, Settled::Ack, frame.end);
            }
        }
    }

    fn settle(&mut self, key: PopKey, how: Settled, at: Timestamp) {
        self.pops.settle(key, how, at, &mut self.sink, self.groups.ends());
    }
}
