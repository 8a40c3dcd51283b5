//! Transactions (§2.4, §2.5, §6.1): a half message is sent, and its producer later says what becomes of it, on its
//! own account or when the broker checks.
//!
//! ```text
//! half send ──▶ answer ──▶ END_TRANSACTION                            commit or rollback
//!                     └──▶ CHECK_TRANSACTION_STATE ──▶ END_TRANSACTION    check, then commit or rollback
//! ```
//!
//! END_TRANSACTION names the message, but neither its topic (before 5.3) nor a context that it carries. So half
//! messages are remembered, from their send or from the broker's check, which brings the message. An end of an
//! unknown message makes no span and is counted. A producer that does not know yet answers so, or not at all:
//! neither is an outcome.

use std::sync::Arc;

use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Lifecycle, Sink,
    attributes::Attributes,
    message::Known,
    names::{Name, is_internal},
    trace::{Origin, Trace},
};
use crate::{
    engine::limits,
    exchange::Peer,
    model::{Operation, ProcessId, Span, SpanContext, SpanKind, Status, Timestamp, attribute::*},
    wire::{Body, Frame},
};

/// A half message whose end may come.
#[derive(Clone, Debug)]
pub(super) struct Half {
    /// Its send span.
    pub(super) send: SpanContext,
    pub(super) state: Option<Arc<str>>,
    pub(super) origin: Origin,
    pub(super) topic: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    /// Who was asked about it, and when.
    pub(super) checked: Option<(ProcessId, Timestamp)>,
}

/// Half messages by their id. Bounded; the one used longest ago is forgotten.
#[derive(Debug)]
pub(super) struct Halves(LruCache<u128, Half>);

impl Halves {
    pub(super) fn new() -> Halves {
        Halves(LruCache::new(limits::HALVES))
    }

    pub(super) fn note(&mut self, key: &str, half: Half) {
        self.0.insert(xxh3_128(key.as_bytes()), half);
    }

    fn find(&mut self, key: &str) -> Option<&mut Half> {
        self.0.get_mut(&xxh3_128(key.as_bytes()))
    }
}

/// What a producer says about a half message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Commit,
    Rollback,
    Unknown,
}

impl State {
    /// The state of `commitOrRollback`.
    fn from_wire(value: i64) -> Option<State> {
        match value {
            8 => Some(State::Commit),
            12 => Some(State::Rollback),
            0 => Some(State::Unknown),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            State::Commit => "commit",
            State::Rollback => "rollback",
            State::Unknown => "unknown",
        }
    }

    /// What the producer does with the message.
    fn operation(self) -> Option<Operation> {
        match self {
            State::Commit => Some(Operation::Commit),
            State::Rollback => Some(Operation::Rollback),
            State::Unknown => None,
        }
    }
}

impl Lifecycle {
    /// Takes in END_TRANSACTION.
    pub(super) fn end_transaction(&mut self, peer: &Arc<Peer>, frame: &Frame) {
        let header = &frame.header;
        let state = header.int("commitOrRollback").and_then(State::from_wire);
        let ids = [header.field("msgId"), header.field("transactionId")];
        let mut ids = ids.into_iter().flatten().filter(|id| !id.is_empty()).peekable();
        let (Some(state), true) = (state, ids.peek().is_some()) else {
            self.sink.totals.malformed += 1;
            return;
        };
        let key = ids.find(|id| self.halves.find(id).is_some()).unwrap_or_default();
        let Some(half) = self.halves.find(&key) else {
            self.sink.totals.unknown_transactions += 1;
            return;
        };
        let from_check = header.bool("fromTransactionCheck") == Some(true);
        let checked = half
            .checked
            .take_if(|(process, _)| from_check && *process == peer.process);
        let half = half.clone();
        if let Some((_, asked)) = checked {
            half.emit(
                Operation::Check,
                state,
                &key,
                peer,
                asked,
                frame.end,
                &mut self.sink,
            );
        }
        if let Some(operation) = state.operation() {
            half.emit(
                operation,
                state,
                &key,
                peer,
                frame.start,
                frame.end,
                &mut self.sink,
            );
        }
    }

    /// Takes in CHECK_TRANSACTION_STATE, from the broker.
    pub(super) fn check_transaction(&mut self, peer: &Peer, frame: &Frame) {
        let Body::Messages(messages) = &frame.body else {
            return;
        };
        let Some(message) = messages.first() else { return };
        let known = Known::read(&message.properties);
        let id = frame.header.field("msgId").filter(|id| !id.is_empty());
        let Some(key) = known.unique_key.or(id.as_deref()) else {
            return;
        };
        let checked = Some((peer.process, frame.end));
        if let Some(half) = self.halves.find(key) {
            half.checked = checked;
            return;
        }
        let name = Name::parse(&message.topic);
        let lookup = self.sink.look_up(&message.properties, &known);
        let trace = Trace::of(&self.sink, Some(key), lookup);
        let (Some(creation), Some(span_id)) = (trace.creation, trace.send_span) else {
            return;
        };
        if is_internal(name.bare) {
            return;
        }
        let half = Half {
            send: SpanContext { span_id, ..creation },
            state: trace.state,
            origin: trace.origin,
            topic: self.sink.name(name.bare),
            namespace: self.sink.name(name.namespace),
            group: message
                .properties
                .get("PGROUP")
                .map(|group| self.sink.name(Name::parse(group).bare)),
            checked,
        };
        self.halves.note(key, half);
    }
}

impl Half {
    #[expect(
        clippy::too_many_arguments,
        reason = "what, about what, by whom, when, where to"
    )]
    fn emit(
        &self,
        operation: Operation,
        state: State,
        key: &str,
        peer: &Peer,
        start: Timestamp,
        end: Timestamp,
        sink: &mut Sink,
    ) {
        let mut attributes = Attributes::new(operation);
        attributes.destination(&self.topic, &self.namespace, None);
        attributes.peer(peer);
        attributes.set(MESSAGING_MESSAGE_ID, key.to_owned());
        attributes.set(MESSAGING_ROCKETMQ_MESSAGE_TYPE, "transaction");
        attributes.maybe(MESSAGING_ROCKETMQ_PRODUCER_GROUP, self.group.clone());
        attributes.set(RMQTRACE_TRACE_ORIGIN, self.origin.name());
        attributes.set(RMQTRACE_TRANSACTION_STATE, state.name());
        let context = SpanContext {
            span_id: sink.ids.span_id(),
            ..self.send
        };
        sink.totals.transaction_spans += 1;
        sink.emit(Span {
            context,
            parent: Some(self.send.span_id),
            trace_state: self.state.clone(),
            operation,
            kind: SpanKind::Client,
            topic: self.topic.clone(),
            group: self.group.clone(),
            start,
            end: end.max(start),
            status: Status::Unset,
            attributes: attributes.done(),
            links: Vec::new(),
            process: peer.process,
        });
    }
}
