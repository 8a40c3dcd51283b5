//! What happens to messages: each send attempt becomes a span, and each delivered message becomes one that
//! lasts until there is evidence of its end.
//!
//! ```text
//! request ──▶ request() ─┬─ send  ──▶ Pending::Send ─┐
//!                        ├─ pull  ──▶ Pending::Pull ─┤ answered(), written(), unanswered() ──▶ spans
//!                        ├─ pop   ──▶ Pending::Pop ──┤
//!                        ├─ commit, send-back, ack ──┼──────────────▶ ends of deliveries ──▶ spans
//!                        ├─ end of a transaction ────┼──────────────▶ spans
//!                        └─ anything else            ▼
//!                                              deliveries, by process, group and queue
//! ```
//!
//! To add a request code: a line in `Lifecycle::request`, and in `Lifecycle::answered` if its answer
//! matters.

mod attributes;
mod batch;
mod client_trace;
mod conversation;
mod delivery;
mod direct;
mod ends;
mod group;
mod message;
mod names;
mod pop;
mod popped;
mod pull;
mod queue;
mod recall;
mod receive;
mod send;
mod settle;
mod sink;
mod trace;
mod transaction;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    delivery::Delivery,
    group::Groups,
    pop::{GivenBack, Pop},
    popped::Pops,
    pull::Pull,
    recall::{Recall, Recallable},
    send::{Attempt, Outcome, Remember},
    settle::Settle,
    trace::Attempts,
    transaction::Halves,
};
pub(crate) use sink::Sink;

use crate::{
    engine::limits,
    exchange::Peer,
    model::{ProcessId, Timestamp},
    record::ConnectionId,
    wire::{Body, Frame, Heartbeat, RequestCode, client_trace::GROUP_PREFIX},
};

/// A request that waits for its answer, as far as the answer matters.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A send attempt.
    Send(Box<Attempt>),
    /// A pull.
    Pull(Box<Pull>),
    /// A pop.
    Pop(Box<Pop>),
    /// The broker has the client process this.
    Direct(Box<Delivery>),
    /// A timed message is taken back.
    Recall(Box<Recall>),
    /// Messages are settled, and there is to be a span about it.
    Settle(Box<Settle>),
    /// A popped message is to come back later.
    GivenBack(Box<GivenBack>),
    /// Nothing depends on it.
    Other,
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unanswered {
    /// None came in time.
    TimedOut,
    /// The connection closed first.
    Closed,
    /// It may have been lost, or nobody waits any longer.
    Unknown,
}

/// All messages.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) sink: Sink,
    attempts: Attempts,
    halves: Halves,
    recallable: Recallable,
    groups: Groups,
    pops: Pops,
    /// Processes that themselves serve clients: proxies and brokers. What they send and pull is passed on.
    servers: BTreeSet<ProcessId>,
}

impl Lifecycle {
    pub(crate) fn new(sink: Sink) -> Lifecycle {
        Lifecycle {
            sink,
            attempts: Attempts::new(),
            halves: Halves::new(),
            recallable: Recallable::new(),
            groups: Groups::new(),
            pops: Pops::new(),
            servers: BTreeSet::new(),
        }
    }

    /// Takes in a client's request.
    pub(crate) fn request(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let passes_on = self.passes_on(peer);
        match frame.header.request_code() {
            RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE => {
                self.sink.totals.send_requests += 1;
                return self.send(peer, frame, passes_on);
            }
            RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => {
                return self.send(peer, frame, passes_on);
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                self.sink.totals.pull_requests += 1;
                if !passes_on && let Some(pull) = self.pull(peer, frame) {
                    return Pending::Pull(Box::new(pull));
                }
            }
            RequestCode::POP_MESSAGE | RequestCode::POP_LITE_MESSAGE => {
                self.sink.totals.pop_requests += 1;
                if !passes_on && let Some(pop) = self.pop(peer, frame) {
                    return Pending::Pop(Box::new(pop));
                }
            }
            RequestCode::ACK_MESSAGE | RequestCode::ACK_LITE_MESSAGE => return self.ack(peer, frame),
            RequestCode::BATCH_ACK_MESSAGE => return self.batch_ack(peer, frame),
            RequestCode::CHANGE_MESSAGE_INVISIBLETIME => return self.give_back(peer, frame),
            RequestCode::QUERY_CONSUMER_OFFSET => self.query_offset(peer, frame),
            RequestCode::UPDATE_CONSUMER_OFFSET => return self.update_offset(peer, frame),
            RequestCode::CONSUMER_SEND_MSG_BACK => return self.send_back(peer, frame),
            RequestCode::END_TRANSACTION if !passes_on => self.end_transaction(peer, frame),
            RequestCode::RECALL_MESSAGE if !passes_on && !peer.mirrored => {
                if let Some(recall) = Recall::read(peer, frame, &mut self.sink) {
                    return Pending::Recall(Box::new(recall));
                }
            }
            RequestCode::HEART_BEAT => self.sink.totals.heartbeats += 1,
            _ => {}
        }
        Pending::Other
    }

    fn send(&mut self, peer: &Arc<Peer>, frame: &Frame, passes_on: bool) -> Pending {
        let topic = send::topic(&frame.header);
        if let Some(group) = topic.as_deref().and_then(names::retry_group) {
            let properties = frame.header.properties().unwrap_or_default();
            return self.sent_to_retry(peer, group, &properties, frame);
        }
        let forwarded = passes_on || peer.mirrored;
        if send::group(&frame.header).is_some_and(|group| group.starts_with(GROUP_PREFIX)) {
            if !forwarded {
                self.client_trace(peer, frame);
            }
            return Pending::Other;
        }
        let attempt = Attempt::read(peer, frame, forwarded, &mut self.sink, &mut self.attempts);
        attempt.map_or(Pending::Other, |attempt| Pending::Send(Box::new(attempt)))
    }

    /// Takes in a request of the server's to the client.
    pub(crate) fn server_request(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        match frame.header.request_code() {
            RequestCode::RESET_CONSUMER_CLIENT_OFFSET => self.reset(peer, &frame.header),
            RequestCode::CHECK_TRANSACTION_STATE if !self.passes_on(peer) => {
                self.check_transaction(peer, frame);
            }
            RequestCode::CONSUME_MESSAGE_DIRECTLY if !self.passes_on(peer) => {
                if let Some(delivery) = self.consume_directly(peer, frame) {
                    return Pending::Direct(delivery);
                }
            }
            _ => {}
        }
        Pending::Other
    }

    /// Takes in the answer to a request.
    pub(crate) fn answered(&mut self, pending: Pending, answer: Frame) {
        match pending {
            Pending::Send(attempt) => {
                self.sent(*attempt, Outcome::Answered(&answer), answer.end);
            }
            Pending::Recall(recall) => {
                recall.finish(
                    Outcome::Answered(&answer),
                    answer.end,
                    &mut self.sink,
                    &self.recallable,
                );
            }
            Pending::Pull(pull) => self.pull_answered(*pull, answer),
            Pending::Pop(pop) => self.pop_answered(*pop, answer),
            Pending::Direct(delivery) => self.consumed_directly(delivery, &answer),
            Pending::Settle(settle) => self.settled(*settle, Outcome::Answered(&answer), answer.end),
            Pending::GivenBack(given) => self.gave_back(*given, Outcome::Answered(&answer), answer.end),
            Pending::Other => {}
        }
    }

    /// Ends a one-way request: it is done when it is written.
    pub(crate) fn written(&mut self, pending: Pending) {
        let outcome = Outcome::OneWay;
        match pending {
            Pending::Send(attempt) => {
                let end = attempt.written;
                self.sent(*attempt, outcome, end);
            }
            Pending::Settle(settle) => {
                let end = settle.written;
                self.settled(*settle, outcome, end);
            }
            Pending::GivenBack(given) => {
                let end = given.written;
                self.gave_back(*given, outcome, end);
            }
            Pending::Pull(_) | Pending::Pop(_) | Pending::Direct(_) | Pending::Recall(_) | Pending::Other => {
            }
        }
    }

    /// Gives up waiting for the answer to a request, at `end`.
    pub(crate) fn unanswered(&mut self, pending: Pending, why: Unanswered, end: Timestamp) {
        let outcome = match why {
            Unanswered::TimedOut => Outcome::TimedOut,
            Unanswered::Closed => Outcome::Closed,
            Unanswered::Unknown => Outcome::Unknown,
        };
        match pending {
            Pending::Send(attempt) => self.sent(*attempt, outcome, end),
            Pending::Recall(recall) => recall.finish(outcome, end, &mut self.sink, &self.recallable),
            Pending::Pull(pull) => self.pull_unanswered(&pull),
            Pending::Direct(delivery) => self.not_consumed_directly(delivery),
            Pending::Settle(settle) => self.settled(*settle, outcome, end),
            Pending::GivenBack(given) => self.gave_back(*given, outcome, end),
            Pending::Pop(_) | Pending::Other => {}
        }
    }

    fn sent(&mut self, attempt: Attempt, outcome: Outcome<'_>, end: Timestamp) {
        let remember = Remember {
            attempts: &mut self.attempts,
            halves: &mut self.halves,
            recallable: &mut self.recallable,
        };
        attempt.finish(outcome, end, &mut self.sink, remember);
    }

    /// A request that settles messages has ended.
    fn settled(&mut self, mut settle: Settle, outcome: Outcome<'_>, end: Timestamp) {
        settle.ended(outcome, end);
        settle.emit(&mut self.sink);
    }

    /// Takes in a heartbeat's body. Returns the client's id.
    pub(crate) fn heartbeat(&mut self, peer: &Peer, frame: &Frame) -> Option<Arc<str>> {
        let Body::Raw(body) = &frame.body else { return None };
        let Ok(heartbeat) = Heartbeat::parse(body) else {
            self.sink.totals.malformed += 1;
            return None;
        };
        for producer in &heartbeat.producers {
            self.tracing_group(peer.process, producer);
        }
        for consumer in heartbeat.consumers {
            let key = (peer.process, self.sink.name(&consumer.group));
            self.groups.learn(&key, consumer, frame.end, &mut self.sink);
        }
        (!heartbeat.client_id.is_empty()).then(|| self.sink.name(&heartbeat.client_id))
    }

    /// A process answers clients' sends and pulls.
    pub(crate) fn serves(&mut self, process: ProcessId, frame: &Frame) {
        let serving = matches!(
            frame.header.request_code(),
            RequestCode::SEND_MESSAGE
                | RequestCode::SEND_MESSAGE_V2
                | RequestCode::SEND_BATCH_MESSAGE
                | RequestCode::PULL_MESSAGE
                | RequestCode::LITE_PULL_MESSAGE
                | RequestCode::POP_MESSAGE
                | RequestCode::POP_LITE_MESSAGE
        );
        if serving {
            self.accepts_clients(process);
        }
    }

    /// A process accepted a client's connection.
    pub(crate) fn accepts_clients(&mut self, process: ProcessId) {
        if self.servers.insert(process) && self.servers.len() > limits::SERVERS {
            self.servers.pop_first();
            self.sink.totals.evicted_servers += 1;
        }
    }

    /// Whether what this client sends and pulls is somebody else's.
    fn passes_on(&self, peer: &Peer) -> bool {
        !peer.mirrored && self.servers.contains(&peer.process)
    }

    /// A connection closed at `now`.
    pub(crate) fn closed(&mut self, process: ProcessId, connection: ConnectionId, now: Timestamp) {
        self.groups
            .closed(process, connection, now.plus(self.sink.config.reconnect_grace));
    }

    /// A process ended, or runs another program.
    pub(crate) fn process_ended(&mut self, process: ProcessId) {
        self.servers.remove(&process);
        self.pops.end(Some(process), &mut self.sink, self.groups.ends());
        self.groups.process_ended(process, &mut self.sink);
    }

    /// When [`Lifecycle::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let deadlines = [self.groups.poll_timeout(), self.pops.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        self.groups.handle_timeout(now, &mut self.sink);
        self.pops.handle_timeout(now, &mut self.sink, self.groups.ends());
    }

    /// Ends all deliveries.
    pub(crate) fn finish(&mut self) {
        self.pops.end(None, &mut self.sink, self.groups.ends());
        self.groups.finish(&mut self.sink);
    }
}
