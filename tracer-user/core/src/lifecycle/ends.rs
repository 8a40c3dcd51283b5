//! How deliveries end: at once with the evidence that there is, or, where the consumer is known to trace its own calls,
//! when its record about the call has come too. That tells better than any other evidence, so it is waited for, within
//! bounds: [`limits::TRACE_WAIT`] after the other evidence, and where nothing else can come, `process.ttl`.
//!
//! The two come in any order. Other evidence still decides what came of the message: a listener may succeed and the
//! message be given back all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client_trace::Calls,
    delivery::{Delivery, Evidence, Failed},
    sink::Sink,
};
use crate::{
    engine::limits,
    model::{ProcessId, Timestamp},
};

/// A delivery that waits for its record.
#[derive(Debug)]
struct Waiting {
    delivery: Box<Delivery>,
    evidence: Evidence,
    deadline: Timestamp,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) failed: Failed,
    pub(crate) calls: Calls,
    /// By [`Calls::key`], in order of arrival.
    waiting: BTreeMap<(u128, u64), Waiting>,
    deadlines: BTreeSet<(Timestamp, u128, u64)>,
    /// Deliveries that ever waited.
    count: u64,
}

impl Ends {
    pub(crate) fn new() -> Ends {
        Ends {
            failed: Failed::new(),
            calls: Calls::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            count: 0,
        }
    }

    /// Ends a delivery, or has it wait.
    pub(crate) fn end(&mut self, delivery: Box<Delivery>, evidence: Evidence, sink: &mut Sink) {
        let until = evidence.at().map(|at| at.plus(limits::TRACE_WAIT));
        self.end_by(delivery, evidence, until, sink);
    }

    /// Ends a delivery of which only the consumer itself can tell, or has it wait until the time that any delivery has.
    pub(crate) fn end_untold(&mut self, delivery: Box<Delivery>, sink: &mut Sink) {
        let until = delivery.start.plus(sink.config.process_ttl);
        self.end_by(delivery, Evidence::None, Some(until), sink);
    }

    fn end_by(
        &mut self,
        delivery: Box<Delivery>,
        evidence: Evidence,
        until: Option<Timestamp>,
        sink: &mut Sink,
    ) {
        let Some(key) = delivery.call_key(&self.calls) else {
            return delivery.finish(evidence, None, sink, &mut self.failed);
        };
        if let Some(call) = self.calls.take(key, &delivery, evidence.is_last_call()) {
            return delivery.finish(evidence, Some(call), sink, &mut self.failed);
        }
        let Some(deadline) = until else {
            return delivery.finish(evidence, None, sink, &mut self.failed);
        };
        if matches!(evidence, Evidence::SendBack(_) | Evidence::Nack { .. }) {
            // it comes back perhaps before the record does
            delivery.failed(&mut self.failed);
        }
        self.count += 1;
        let waiting = Waiting {
            delivery,
            evidence,
            deadline,
        };
        self.waiting.insert((key, self.count), waiting);
        self.deadlines.insert((deadline, key, self.count));
        if self.waiting.len() > limits::TRACE_WAITING
            && let Some((_, key, number)) = self.deadlines.first().copied()
        {
            sink.totals.evicted_deliveries += 1;
            self.give_up((key, number), sink);
        }
    }

    /// A record about the message `key` has come.
    pub(crate) fn called(&mut self, key: u128, sink: &mut Sink) {
        let numbers: Vec<u64> = self
            .waiting
            .range((key, 0)..=(key, u64::MAX))
            .map(|((_, number), _)| *number)
            .collect();
        for number in numbers {
            let Some(waiting) = self.waiting.get(&(key, number)) else {
                continue;
            };
            let last = waiting.evidence.is_last_call();
            if let Some(call) = self.calls.take(key, &waiting.delivery, last)
                && let Some(waiting) = self.remove((key, number))
            {
                waiting
                    .delivery
                    .finish(waiting.evidence, Some(call), sink, &mut self.failed);
            }
        }
    }

    /// When [`Ends::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// Ends what has waited long enough.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp, sink: &mut Sink) {
        while let Some((_, key, number)) = self.deadlines.first().copied().filter(|(at, ..)| *at <= now) {
            self.give_up((key, number), sink);
        }
    }

    /// Ends what waits, of one process or of all.
    pub(crate) fn end_all(&mut self, process: Option<ProcessId>, sink: &mut Sink) {
        let mine = self
            .waiting
            .iter()
            .filter(|(_, waiting)| process.is_none_or(|process| waiting.delivery.process() == process));
        for at in mine.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.give_up(at, sink);
        }
    }

    /// Ends a delivery without its record; a failed call is then all that there was.
    fn give_up(&mut self, at: (u128, u64), sink: &mut Sink) {
        if let Some(waiting) = self.remove(at) {
            let Waiting {
                delivery, evidence, ..
            } = waiting;
            delivery.finish(evidence, None, sink, &mut self.failed);
        }
    }

    fn remove(&mut self, at: (u128, u64)) -> Option<Waiting> {
        let waiting = self.waiting.remove(&at)?;
        self.deadlines.remove(&(waiting.deadline, at.0, at.1));
        Some(waiting)
    }
}
