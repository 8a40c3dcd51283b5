//! Consumer groups of traced processes: their subscriptions, and the queues they pull.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::{Bound, RangeBounds},
    sync::Arc,
    time::Duration,
};

use super::{
    delivery::{Delivery, Evidence},
    ends::Ends,
    queue::{Commit, Queue},
    settle::Settled,
    sink::Sink,
};
use crate::{
    engine::{limits, timers::Timers},
    exchange::Peer,
    model::{ProcessId, Timestamp},
    record::ConnectionId,
    wire::{Properties, heartbeat::Consumer},
};

/// A group within a process, by the name on the wire.
pub(crate) type GroupKey = (ProcessId, Arc<str>);

/// Which broker holds a queue: its name where requests give one, else its address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Broker {
    Name(Arc<str>),
    Address(SocketAddr),
    Unknown,
}

/// A queue, by the names on the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueueKey {
    pub(crate) topic: Arc<str>,
    pub(crate) id: i64,
    pub(crate) broker: Broker,
}

/// One consumer group of one process.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// From the heartbeat, or from what only a sharing group does.
    pub(crate) broadcasting: Option<bool>,
    /// The application pulls for itself.
    pub(crate) polled: bool,
    /// Tags by topic, where a heartbeat named some.
    tags: BTreeMap<String, Vec<String>>,
    queues: BTreeMap<QueueKey, Queue>,
    armed: Option<Timestamp>,
    active: Timestamp,
}

impl Group {
    /// Takes in a heartbeat. A light one leaves subscriptions out; what was known stays.
    fn learn(&mut self, consumer: Consumer) {
        self.broadcasting = Some(consumer.broadcasting);
        self.polled = consumer.consume_type == "CONSUME_ACTIVELY";
        for subscription in consumer.subscriptions {
            if self.tags.len() < limits::SUBSCRIPTIONS || self.tags.contains_key(&subscription.topic) {
                self.tags.insert(subscription.topic, subscription.tags);
            }
        }
    }

    /// Whether the client itself drops a message with this tag, as Java's does: a subscription to some tags
    /// takes only messages with one of them. The broker compares hashes only (§6.2).
    pub(crate) fn filters_out(&self, topic: &str, properties: &Properties) -> bool {
        let Some(tags) = self.tags.get(topic).filter(|tags| !tags.is_empty()) else {
            return false;
        };
        let tag = properties.get("TAGS");
        !tag.is_some_and(|tag| tags.iter().any(|t| t == tag))
    }

    /// The queue that a commit means: by its key, else, since not every request of every client names the
    /// broker, by the address that it is pulled from.
    fn find(&mut self, key: &QueueKey, server: Option<SocketAddr>) -> Option<&mut Queue> {
        if self.queues.contains_key(key) {
            return self.queues.get_mut(key);
        }
        let same = |(other, queue): &(&QueueKey, &mut Queue)| {
            other.topic == key.topic && other.id == key.id && queue.server == server && server.is_some()
        };
        self.queues.iter_mut().find(same).map(|(_, queue)| queue)
    }

    /// When something's time is up.
    fn deadline(&self, ttl: Duration) -> Option<Timestamp> {
        self.queues.values().filter_map(|queue| queue.deadline(ttl)).min()
    }
}

/// All groups, within bounds.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupKey, Group>,
    timers: Timers<GroupKey>,
    /// Over all groups.
    queues: usize,
    /// Open deliveries over all queues.
    deliveries: usize,
    ends: Ends,
}

impl Groups {
    pub(crate) fn new() -> Groups {
        Groups {
            groups: BTreeMap::new(),
            timers: Timers::new(),
            queues: 0,
            deliveries: 0,
            ends: Ends::new(),
        }
    }

    /// A group, new if need be.
    pub(crate) fn group(&mut self, key: &GroupKey, now: Timestamp, sink: &mut Sink) -> &mut Group {
        if !self.groups.contains_key(key) && self.groups.len() >= limits::GROUPS {
            let idle = self
                .groups
                .iter()
                .min_by_key(|(_, group)| group.active)
                .map(|(key, _)| key.clone());
            if let Some(idle) = idle {
                sink.totals.evicted_groups += 1;
                self.remove(&idle, sink);
            }
        }
        let group = self.groups.entry(key.clone()).or_default();
        group.active = now;
        group
    }

    /// A group that is already known.
    pub(crate) fn known(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    /// Takes in what a heartbeat says about a group.
    pub(crate) fn learn(&mut self, key: &GroupKey, consumer: Consumer, now: Timestamp, sink: &mut Sink) {
        let broadcasting = consumer.broadcasting;
        self.group(key, now, sink).learn(consumer);
        if broadcasting {
            // what was delivered before this was known
            let open: Vec<_> = self.take_all(key, |_| true);
            for delivery in open {
                self.ends.end_untold(delivery, sink);
            }
        }
    }

    /// A queue of a group, new if need be.
    pub(crate) fn queue(
        &mut self,
        key: &GroupKey,
        queue: &QueueKey,
        peer: &Peer,
        now: Timestamp,
        sink: &mut Sink,
    ) -> &mut Queue {
        let (connection, server) = (peer.connection, peer.server);
        let exists = self
            .groups
            .get(key)
            .is_some_and(|group| group.queues.contains_key(queue));
        if !exists {
            if self.queues >= limits::QUEUES {
                self.evict_queue(sink);
            }
            self.queues += 1;
        }
        let group = self.group(key, now, sink);
        let queue = group
            .queues
            .entry(queue.clone())
            .or_insert_with(|| Queue::new(connection, server, now));
        (queue.connection, queue.server, queue.active, queue.gone) = (connection, server, now, None);
        queue
    }

    /// A pull of a queue, new if need be, asks for what stands at `offset`.
    pub(crate) fn pulled(
        &mut self,
        key: &GroupKey,
        queue: &QueueKey,
        peer: &Peer,
        offset: i64,
        now: Timestamp,
        sink: &mut Sink,
    ) {
        let superseded = self.queue(key, queue, peer, now, sink).pulled(offset);
        for delivery in superseded.into_values() {
            self.deliveries -= 1;
            self.ends.end(delivery, Evidence::None, sink);
        }
    }

    /// A queue that is already known.
    pub(crate) fn known_queue(&mut self, key: &GroupKey, queue: &QueueKey) -> Option<&mut Queue> {
        self.groups.get_mut(key)?.queues.get_mut(queue)
    }

    /// The queue that a request means which does not pull it.
    pub(crate) fn find_queue(
        &mut self,
        key: &GroupKey,
        queue: &QueueKey,
        server: Option<SocketAddr>,
    ) -> Option<&mut Queue> {
        self.groups.get_mut(key)?.find(queue, server)
    }

    /// The group's client was told to reset its offsets of a topic.
    pub(crate) fn reset(&mut self, key: &GroupKey, topic: &str) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        let of_topic = group
            .queues
            .iter_mut()
            .filter(|(queue, _)| *queue.topic == *topic);
        of_topic.for_each(|(_, queue)| queue.reset());
    }

    /// Takes in a delivered message of a queue, which may end an earlier delivery of it.
    pub(crate) fn deliver(&mut self, key: &GroupKey, queue: &QueueKey, delivery: Delivery, sink: &mut Sink) {
        let expires = delivery.start.plus(sink.config.process_ttl);
        let Some(group) = self.groups.get_mut(key) else {
            return self.ends.end(Box::new(delivery), Evidence::None, sink);
        };
        let Some(queue) = group.queues.get_mut(queue) else {
            return self.ends.end(Box::new(delivery), Evidence::None, sink);
        };
        let replaced = queue.delivered(Box::new(delivery));
        self.deliveries += 1;
        let evicted = if self.deliveries > limits::DELIVERIES {
            queue.pop()
        } else {
            None
        };
        sink.totals.evicted_deliveries += u64::from(evicted.is_some());
        self.timers.arm(key, &mut group.armed, Some(expires));
        for delivery in replaced.into_iter().chain(evicted) {
            self.deliveries -= 1;
            self.ends.end(delivery, Evidence::None, sink);
        }
    }

    /// A delivered message whose end no commit will tell.
    pub(crate) fn end_untold(&mut self, delivery: Delivery, sink: &mut Sink) {
        self.ends.end_untold(Box::new(delivery), sink);
    }

    /// How deliveries end.
    pub(crate) fn ends(&mut self) -> &mut Ends {
        &mut self.ends
    }

    /// Takes in a committed offset. Returns what it settles, where that is asked for.
    pub(crate) fn commit(
        &mut self,
        key: &GroupKey,
        queue: &QueueKey,
        server: Option<SocketAddr>,
        commit: Commit,
        sink: &mut Sink,
    ) -> Vec<Settled> {
        let mut settled = Vec::new();
        let Some(group) = self.groups.get_mut(key) else {
            return settled;
        };
        group.active = group.active.max(commit.end);
        // only a group that shares its offsets commits them
        group.broadcasting.get_or_insert(false);
        let Some(queue) = group.find(queue, server) else {
            return settled;
        };
        let progress = queue.committed(commit);
        sink.totals.offset_resets += u64::from(progress.reset);
        for delivery in progress.finished.into_values() {
            self.deliveries -= 1;
            settled.extend(sink.config.settle.then(|| delivery.settled()));
            self.ends.end(delivery, Evidence::OffsetCommit(commit.end), sink);
        }
        settled
    }

    /// Ends the open delivery that fits, in any queue of the group, as sent back at `end`. Returns what that settles,
    /// where that is asked for.
    pub(crate) fn send_back(
        &mut self,
        key: &GroupKey,
        fits: impl Fn(&Delivery) -> bool,
        end: Timestamp,
        sink: &mut Sink,
    ) -> Vec<Settled> {
        let mut settled = Vec::new();
        let Some(group) = self.groups.get_mut(key) else {
            return settled;
        };
        let found = group.queues.values_mut().find_map(|queue| queue.take(&fits));
        if let Some(delivery) = found {
            self.deliveries -= 1;
            settled.extend(sink.config.settle.then(|| delivery.settled()));
            self.ends.end(delivery, Evidence::SendBack(end), sink);
        }
        settled
    }

    /// A connection closed: what was pulled on it has until `deadline` to be proven.
    pub(crate) fn closed(&mut self, process: ProcessId, connection: ConnectionId, deadline: Timestamp) {
        for (key, group) in self.groups.range_mut(process_range(process)) {
            let mut any = false;
            for queue in group
                .queues
                .values_mut()
                .filter(|queue| queue.connection == connection)
            {
                queue.gone = Some(deadline);
                any = true;
            }
            if any {
                self.timers.arm(key, &mut group.armed, Some(deadline));
            }
        }
    }

    /// A process ended: nothing more will tell about its deliveries.
    pub(crate) fn process_ended(&mut self, process: ProcessId, sink: &mut Sink) {
        let keys = self
            .groups
            .range(process_range(process))
            .map(|(key, _)| key.clone());
        for key in keys.collect::<Vec<_>>() {
            self.remove(&key, sink);
        }
        self.ends.end_all(Some(process), sink);
    }

    /// Ends everything.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        while let Some(key) = self.groups.keys().next().cloned() {
            self.remove(&key, sink);
        }
        self.ends.end_all(None, sink);
    }

    /// When [`Groups::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers
            .next()
            .into_iter()
            .chain(self.ends.poll_timeout())
            .min()
    }

    /// Ends deliveries whose time is up.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp, sink: &mut Sink) {
        self.ends.handle_timeout(now, sink);
        let ttl = sink.config.process_ttl;
        while let Some(key) = self.timers.pop(now) {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            group.armed = None;
            let mut ended = Vec::new();
            for queue in group.queues.values_mut() {
                ended.extend(queue.expire(now, ttl));
            }
            let before = group.queues.len();
            group
                .queues
                .retain(|_, queue| queue.gone.is_none_or(|gone| gone > now));
            self.queues -= before - group.queues.len();
            let next = group.deadline(ttl).map(|at| at.max(now.plus(limits::SWEEP)));
            self.timers.arm(&key, &mut group.armed, next);
            for delivery in ended {
                self.deliveries -= 1;
                self.ends.end(delivery, Evidence::None, sink);
            }
        }
    }

    /// Ends the deliveries of the queues that `which` names.
    fn end_all(&mut self, key: &GroupKey, which: impl Fn(&QueueKey) -> bool, sink: &mut Sink) {
        for delivery in self.take_all(key, which) {
            self.ends.end(delivery, Evidence::None, sink);
        }
    }

    /// Takes out the deliveries of the queues that `which` names.
    #[expect(clippy::vec_box, reason = "they come boxed, and go on as they are")]
    fn take_all(&mut self, key: &GroupKey, which: impl Fn(&QueueKey) -> bool) -> Vec<Box<Delivery>> {
        let Some(group) = self.groups.get_mut(key) else {
            return Vec::new();
        };
        let queues = group.queues.iter_mut().filter(|(key, _)| which(key));
        let taken: Vec<_> = queues.flat_map(|(_, queue)| queue.take_all(|_| true)).collect();
        self.deliveries -= taken.len();
        taken
    }

    /// Forgets a group.
    fn remove(&mut self, key: &GroupKey, sink: &mut Sink) {
        self.end_all(key, |_| true, sink);
        if let Some(mut group) = self.groups.remove(key) {
            self.timers.disarm(key, &mut group.armed);
            self.queues -= group.queues.len();
        }
    }

    /// Forgets the queue pulled longest ago.
    fn evict_queue(&mut self, sink: &mut Sink) {
        let queues = self
            .groups
            .iter()
            .flat_map(|(key, group)| group.queues.iter().map(move |q| (key, q)));
        let idle = queues.min_by_key(|(_, (_, queue))| queue.active);
        let Some((key, queue)) = idle.map(|(key, (queue, _))| (key.clone(), queue.clone())) else {
            return;
        };
        self.end_all(&key, |other| *other == queue, sink);
        if let Some(group) = self.groups.get_mut(&key)
            && group.queues.remove(&queue).is_some()
        {
            self.queues -= 1;
            sink.totals.evicted_queues += 1;
        }
    }
}

/// All groups of a process.
fn process_range(process: ProcessId) -> impl RangeBounds<GroupKey> {
    let first: GroupKey = (process, "".into());
    let end = match process.0.checked_add(1) {
        Some(next) => Bound::Excluded((ProcessId(next), "".into())),
        None => Bound::Unbounded,
    };
    (Bound::Included(first), end)
}
