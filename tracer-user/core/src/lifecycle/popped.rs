//! Popped messages in work: the table that acknowledgements are looked up in.
//!
//! A client that wants a message back later, or wants to keep it for longer, asks for the same: another invisible time.
//! What it meant shows afterwards. The request's answer brings a new handle; an acknowledgement under it means that the
//! message was kept. Otherwise it was given back, in the request, which is known when the new time is over: that long a
//! message that was given back waits here, `process.ttl` at most.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Sink,
    delivery::{Delivery, Evidence},
    ends::Ends,
    settle::{Settle, Settled},
};
use crate::{
    engine::{limits, timers::Timers},
    model::{Operation, ProcessId, Timestamp},
    wire::pop::Kind,
};

/// What names a delivery within a process. The name of the broker is empty where the pop did not give it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PopKey {
    pub(super) process: ProcessId,
    pub(super) group: Arc<str>,
    pub(super) topic: Arc<str>,
    /// The lite topic, of which the topic has many; else empty.
    pub(super) lite: Arc<str>,
    pub(super) broker: Arc<str>,
    pub(super) kind: Kind,
    pub(super) queue_id: i64,
    pub(super) queue_offset: i64,
    pub(super) pop_time: i64,
}

#[derive(Debug)]
struct Popped {
    delivery: Box<Delivery>,
    /// When it surely was given to somebody else.
    expires: Timestamp,
    given_back: Option<GivenBack>,
    armed: Option<Timestamp>,
}

#[derive(Debug)]
struct GivenBack {
    at: Timestamp,
    expired: bool,
    /// When the new time is over.
    until: Timestamp,
    /// The span about the request, when it was answered.
    settle: Option<Box<Settle>>,
}

/// Popped messages in work, within bounds.
#[derive(Debug)]
pub(super) struct Pops {
    open: BTreeMap<PopKey, Popped>,
    timers: Timers<PopKey>,
}

impl Popped {
    /// Ends it: as acknowledged, as given back, or without evidence.
    fn end(self, ack: Option<Evidence>, sink: &mut Sink, ends: &mut Ends) {
        let mut evidence = ack.unwrap_or(Evidence::None);
        if let Some(given) = self.given_back {
            if ack.is_none() {
                let GivenBack { at, expired, .. } = given;
                evidence = Evidence::Nack { at, expired };
            }
            if let Some(mut settle) = given.settle {
                settle.operation = if ack.is_some() {
                    Operation::Extend
                } else {
                    Operation::Nack
                };
                settle.emit(sink);
            }
        }
        ends.end(self.delivery, evidence, sink);
    }
}

impl Pops {
    pub(super) fn new() -> Pops {
        Pops {
            open: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    /// A message was delivered, to be settled by the time that it `expires`.
    pub(super) fn deliver(
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
            popped.end(None, sink, ends);
        }
        let popped = Popped {
            delivery,
            expires,
            given_back: None,
            armed: None,
        };
        if let Some(replaced) = self.insert(key, popped, expires) {
            replaced.end(None, sink, ends);
        }
    }

    /// A delivery was acknowledged in a frame written at `at`. Returns what that settles, where that is asked for.
    pub(super) fn ack(
        &mut self,
        key: &PopKey,
        at: Timestamp,
        sink: &mut Sink,
        ends: &mut Ends,
    ) -> Option<Settled> {
        let (_, popped) = self.find(key)?;
        let settled = sink.config.settle.then(|| popped.delivery.settled());
        let expired = at > popped.expires;
        popped.end(Some(Evidence::Ack { at, expired }), sink, ends);
        settled
    }

    /// A delivery is to come back, or to be kept, until `until`, says a frame written at `at`. Returns its key here, and
    /// what that settles.
    pub(super) fn give_back(
        &mut self,
        key: &PopKey,
        at: Timestamp,
        until: Timestamp,
        ends: &mut Ends,
        sink: &mut Sink,
    ) -> Option<(PopKey, Settled)> {
        let (key, mut popped) = self.find(key)?;
        if let Some(kept) = popped.given_back.take().and_then(|given| given.settle) {
            // it was kept, since it is given back now
            let mut kept = kept;
            kept.operation = Operation::Extend;
            kept.emit(sink);
        }
        let settled = popped.delivery.settled();
        // it comes back perhaps before its span is made
        popped.delivery.failed(&mut ends.failed);
        popped.given_back = Some(GivenBack {
            at,
            expired: at > popped.expires,
            until,
            settle: None,
        });
        self.insert(key.clone(), popped, until);
        Some((key, settled))
    }

    /// The broker agreed: what was given back has a new handle.
    pub(super) fn renamed(
        &mut self,
        key: &PopKey,
        pop_time: i64,
        expires: Timestamp,
        settle: Option<Box<Settle>>,
        sink: &mut Sink,
        ends: &mut Ends,
    ) {
        let Some(mut popped) = self.take(key) else { return };
        popped.expires = expires;
        if let Some(given) = &mut popped.given_back {
            given.settle = settle;
            given.until = given.until.max(expires);
        }
        let key = PopKey {
            pop_time,
            ..key.clone()
        };
        if let Some(replaced) = self.insert(key, popped, expires) {
            replaced.end(None, sink, ends);
        }
    }

    /// The broker did not agree, or nobody knows whether it did: what was given back is just that.
    pub(super) fn end_given_back(
        &mut self,
        key: &PopKey,
        settle: Option<Box<Settle>>,
        sink: &mut Sink,
        ends: &mut Ends,
    ) {
        match self.take(key) {
            Some(mut popped) => {
                if let Some(given) = &mut popped.given_back {
                    given.settle = settle;
                }
                popped.end(None, sink, ends);
            }
            None => {
                if let Some(settle) = settle {
                    settle.emit(sink);
                }
            }
        }
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
            let last = match &popped.given_back {
                Some(given) => given.until,
                None => popped.expires.plus(limits::POP_GRACE),
            };
            if last > now {
                // from here on it is delivered again
                popped.delivery.failed(&mut ends.failed);
                self.timers.arm(&key, &mut popped.armed, Some(last));
            } else if let Some(popped) = self.open.remove(&key) {
                popped.end(None, sink, ends);
            }
        }
    }

    /// Ends what is open, of one process or of all.
    pub(super) fn end(&mut self, process: Option<ProcessId>, sink: &mut Sink, ends: &mut Ends) {
        let ended = |key: &PopKey, _: &mut Popped| process.is_none_or(|process| key.process == process);
        for (key, mut popped) in self.open.extract_if(.., ended) {
            self.timers.disarm(&key, &mut popped.armed);
            popped.end(None, sink, ends);
        }
    }

    fn insert(&mut self, key: PopKey, mut popped: Popped, due: Timestamp) -> Option<Popped> {
        let replaced = self.take(&key);
        self.timers.arm(&key, &mut popped.armed, Some(due));
        self.open.insert(key, popped);
        replaced
    }

    fn take(&mut self, key: &PopKey) -> Option<Popped> {
        let mut popped = self.open.remove(key)?;
        self.timers.disarm(key, &mut popped.armed);
        Some(popped)
    }

    /// Takes out what a client calls `key`.
    fn find(&mut self, key: &PopKey) -> Option<(PopKey, Popped)> {
        if let Some(popped) = self.take(key) {
            return Some((key.clone(), popped));
        }
        let nameless = PopKey {
            broker: "".into(),
            ..key.clone()
        };
        self.take(&nameless).map(|popped| (nameless, popped))
    }
}
