//! What consumers say about themselves: SubBefore and SubAfter records of their own message trace (§8.1) tell when a
//! listener was called with a message and when it returned, to the millisecond.
//!
//! A record comes up to five seconds after the call, on a connection of its own. It names the group, the message by the
//! id that the application sees, and how often the client had been given it. So calls are kept by process, group and
//! message id until the delivery that they belong to needs them.
//!
//! One message may be delivered to one group several times over (a transaction that was completed twice,
//! broadcasting). Of the calls with its id, a delivery takes the first that began after it was delivered, of the same
//! number of times before. An orderly consumer that suspends its queue calls the listener again with the same
//! delivery, and counts: the calls that follow a failed one with the next numbers belong to it too.

use std::sync::Arc;

use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::{Lifecycle, Sink, delivery::Delivery, names::Name, send};
use crate::{
    engine::limits,
    exchange::Peer,
    model::{ProcessId, Timestamp},
    wire::{
        Body, Frame, SysFlag,
        client_trace::{GROUP_PREFIX, Record, SubAfter, SubBefore, plain, records},
    },
};

/// Milliseconds are whole in records, rounded down.
const RESOLUTION_NS: u64 = 1_000_000;
/// So the middle of the millisecond is never further from the truth than this.
const HALF_NS: u64 = RESOLUTION_NS / 2;
/// Calls kept for one message id: as many as it was delivered at once, with a limit.
const CALLS: usize = 64;

/// A listener's call with a message, or several that belong to one delivery.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// When it began; unknown where that record was lost.
    pub(crate) begin: Option<Timestamp>,
    pub(crate) end: Timestamp,
    /// How much earlier it may have ended, nanoseconds: more than nothing where the record has only a rounded duration.
    pub(crate) uncertainty_ns: u64,
    /// Why it failed.
    pub(crate) error: Option<&'static str>,
    retry_times: Option<i32>,
    keys: Option<Box<str>>,
}

/// A call that has not returned.
#[derive(Debug)]
struct Begun {
    message: u128,
    group: Arc<str>,
    begin: Timestamp,
    retry_times: Option<i32>,
    keys: Option<Box<str>>,
}

/// The calls of all consumers that trace. Bounded; what was used longest ago is forgotten.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Groups that trace.
    groups: LruCache<(ProcessId, Arc<str>), ()>,
    /// By process and request id.
    begun: LruCache<u128, Vec<Begun>>,
    /// By process, group and message id.
    ended: LruCache<u128, Vec<Call>>,
}

impl Calls {
    pub(crate) fn new() -> Calls {
        Calls {
            groups: LruCache::new(limits::GROUPS),
            begun: LruCache::new(limits::CALLS),
            ended: LruCache::new(limits::CALLS),
        }
    }

    /// A group of this process traces.
    fn note(&mut self, process: ProcessId, group: &Arc<str>) {
        self.groups.insert((process, group.clone()), ());
    }

    /// Whether records about a message of this group's come.
    pub(crate) fn traces(&self, process: ProcessId, group: &Arc<str>) -> bool {
        !self.groups.is_empty() && self.groups.peek(&(process, group.clone())).is_some()
    }

    /// What names a message of a group in a process.
    pub(crate) fn key(process: ProcessId, group: &str, message_id: &str) -> u128 {
        xxh3_128(format!("{}\0{group}\0{message_id}", process.0).as_bytes())
    }

    fn begin(&mut self, process: ProcessId, group: &Arc<str>, record: &SubBefore<'_>, begin: Timestamp) {
        let request = Calls::key(process, "", record.request_id);
        let begun = self.begun.entry(request).or_insert_with(Vec::new);
        if begun.len() < CALLS {
            begun.push(Begun {
                message: Calls::key(process, group, record.message_id),
                group: group.clone(),
                begin,
                retry_times: record.retry_times,
                keys: record.keys.map(Box::from),
            });
        }
    }

    /// Takes in the end of a call. Returns the messages that it was about.
    fn end(
        &mut self,
        process: ProcessId,
        record: &SubAfter<'_>,
        end: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<u128> {
        let request = Calls::key(process, "", record.request_id);
        let short = record.group.is_none();
        let mut begun = Vec::new();
        let mut messages = 1;
        if let Some(all) = self.begun.get_mut(&request) {
            messages = all.len() as u64;
            if short {
                // one record for all messages of the call, or one for each: the first one tells of all
                begun = std::mem::take(all);
            } else {
                let mine = |b: &Begun| b.message == Calls::key(process, &b.group, record.message_id);
                begun.extend(all.iter().position(mine).map(|at| all.swap_remove(at)));
            }
            if all.is_empty() {
                self.begun.remove(&request);
            }
        }
        let mut ended = Vec::new();
        let mut put = |message, call| {
            let calls = self.ended.entry(message).or_insert_with(Vec::new);
            if calls.len() < CALLS {
                calls.push(call);
            }
            ended.push(message);
        };
        let error = (!record.success).then(|| record.outcome());
        if begun.is_empty() {
            if let (Some(group), Some(end)) = (record.group, end) {
                let call = Call {
                    begin: None,
                    end: end.min(now),
                    uncertainty_ns: 0,
                    error,
                    retry_times: None,
                    keys: record.keys.map(Box::from),
                };
                put(
                    Calls::key(process, Name::parse(group).bare, record.message_id),
                    call,
                );
            }
            return ended;
        }
        for before in begun {
            let (end, uncertainty_ns) = match (end, record.cost_ms) {
                (Some(end), _) => (end, 0),
                (None, Some(cost)) => {
                    // the duration was divided by the number of messages, and each step rounded down, as the begin was
                    let least = u64::try_from(cost).unwrap_or(0).saturating_mul(messages);
                    let most = least.saturating_add(messages).saturating_mul(RESOLUTION_NS);
                    (
                        Timestamp(before.begin.0.saturating_add(HALF_NS).saturating_add(most)),
                        messages.saturating_add(1).saturating_mul(RESOLUTION_NS),
                    )
                }
                (None, None) => continue,
            };
            let call = Call {
                begin: Some(before.begin),
                end: end.min(now).max(before.begin),
                uncertainty_ns,
                error,
                retry_times: before.retry_times,
                keys: before.keys,
            };
            put(before.message, call);
        }
        ended
    }

    /// Takes out the call of a delivery, which is `key`. `last` is whether nothing more may come: else a failed call
    /// that the client may repeat stays.
    pub(crate) fn take(&mut self, key: u128, delivery: &Delivery, last: bool) -> Option<Call> {
        let calls = self.ended.get_mut(&key)?;
        let mut times = delivery.message.reconsume_times;
        let mut chosen: Vec<usize> = Vec::new();
        loop {
            let next = calls.iter().enumerate().position(|(at, call)| {
                !chosen.contains(&at) && call.retry_times.is_none_or(|t| t == times) && call.fits(delivery)
            });
            let Some(at) = next else { break };
            chosen.push(at);
            if calls.get(at).is_none_or(|call| call.error.is_none()) {
                break;
            }
            times = times.saturating_add(1);
        }
        let (first, end) = (calls.get(*chosen.first()?)?, calls.get(*chosen.last()?)?);
        if end.error.is_some() && !last {
            return None;
        }
        let call = Call {
            begin: first.begin,
            ..end.clone()
        };
        chosen.sort_unstable();
        for at in chosen.into_iter().rev() {
            calls.swap_remove(at);
        }
        if calls.is_empty() {
            self.ended.remove(&key);
        }
        Some(call)
    }
}

impl Call {
    /// Whether it can be about this delivery.
    fn fits(&self, delivery: &Delivery) -> bool {
        let keys = delivery.message.properties.get("KEYS");
        let same_keys = match (&self.keys, keys) {
            (Some(own), Some(keys)) => **own == *keys,
            _ => true,
        };
        let after = self.begin.unwrap_or(self.end).0.saturating_add(HALF_NS) > delivery.start.0;
        same_keys && after
    }
}

impl Lifecycle {
    /// Takes in a send of a group that carries trace records.
    pub(super) fn client_trace(&mut self, peer: &Peer, frame: &Frame) {
        let group = send::group(&frame.header).unwrap_or_default();
        self.tracing_group(peer.process, &group);
        let Body::Raw(body) = &frame.body else {
            self.sink.totals.unread_traces += 1;
            return;
        };
        let flag = SysFlag(send::sys_flag(&frame.header));
        let Ok(body) = plain(body, flag) else {
            self.sink.totals.unread_traces += 1;
            return;
        };
        if frame.incomplete {
            self.sink.totals.unread_traces += 1;
        }
        for record in records(&body) {
            match record {
                Some(Record::SubBefore(before)) => self.call_begins(peer.process, &before),
                Some(Record::SubAfter(after)) => self.call_ends(peer.process, &after, frame.end),
                Some(Record::Other(_)) => {}
                // the last one of a body whose rest was lost
                None if frame.incomplete => {}
                None => self.sink.totals.malformed += 1,
            }
        }
    }

    /// A producer group that is named after the consumer group whose trace it carries, in newer clients:
    /// `_INNER_TRACE_PRODUCER-{group}-CONSUME-{n}`.
    pub(super) fn tracing_group(&mut self, process: ProcessId, producer: &str) {
        let named = producer
            .strip_prefix(GROUP_PREFIX)
            .and_then(|rest| rest.strip_prefix('-'));
        if let Some((group, _)) = named.and_then(|named| named.rsplit_once("-CONSUME-")) {
            let group = self.sink.name(Name::parse(group).bare);
            self.groups.ends().calls.note(process, &group);
        }
    }

    fn call_begins(&mut self, process: ProcessId, record: &SubBefore<'_>) {
        let Some(begin) = self.sink.at_wall_ms(record.start_ms) else {
            return;
        };
        self.sink.totals.trace_records += 1;
        let group = self.sink.name(Name::parse(record.group).bare);
        let calls = &mut self.groups.ends().calls;
        calls.note(process, &group);
        calls.begin(process, &group, record, begin);
    }

    fn call_ends(&mut self, process: ProcessId, record: &SubAfter<'_>, now: Timestamp) {
        let end = record.end_ms.and_then(|ms| self.sink.at_wall_ms(ms));
        if end.is_none() && record.end_ms.is_some() {
            return;
        }
        self.sink.totals.trace_records += 1;
        let messages = self.groups.ends().calls.end(process, record, end, now);
        for message in messages {
            self.groups.ends().called(message, &mut self.sink);
        }
    }
}

impl Sink {
    /// The middle of a millisecond of the wall clock, in the clock of the records.
    fn at_wall_ms(&self, ms: i64) -> Option<Timestamp> {
        let begin = i128::from(ms) * i128::from(RESOLUTION_NS) - i128::from(self.wall_offset_ns?);
        let ns = begin + i128::from(HALF_NS);
        u64::try_from(ns).ok().map(Timestamp)
    }
}
