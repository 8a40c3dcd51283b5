//! Send attempts: SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE, and replies to requests:
//! SEND_REPLY_MESSAGE and SEND_REPLY_MESSAGE_V2 (§2.2), one span each.
//!
//! | outcome | status | message's creation context |
//! |---|---|---|
//! | code 0 | unset, `SEND_OK` | this span, if it is the first success |
//! | codes 10, 11, 12: stored, but not as safely as asked | unset, their name | likewise |
//! | one-way: written | unset | likewise |
//! | any other code | error, the code's name | not this span |
//! | no answer in time, connection closed | error, `timeout`, `connection_closed` | not this span |
//! | the answer may have been among lost bytes, or the tracer ended first | unset, incomplete | not this span |
//!
//! A send without UNIQ_KEY learns its message id from the answer: `transactionId`, which consumers will see as
//! UNIQ_KEY, else ORIGIN_MESSAGE_ID, else the offset message id unless the message is stored again before it is
//! delivered (§4.3).
//!
//! A reply is no message that is consumed. It is a child of the creation context of the request that it answers,
//! where that is known by its CORRELATION_ID and the reply carries no context of its own.

use std::{borrow::Cow, sync::Arc};

use super::{
    Sink,
    attributes::Attributes,
    message::Known,
    names::{Name, Prefix, is_internal, own_namespace},
    recall::{Recallable, Timed},
    trace::{Attempts, Origin, Trace},
    transaction::{Half, Halves},
};
use crate::{
    exchange::Peer,
    model::{Operation, Span, SpanContext, SpanKind, Status, Timestamp, attribute::*},
    wire::{BatchMessage, Body, Frame, Header, Properties, RequestCode, ResponseCode},
};

/// A field of the send header: its V2 letter and its V1 name (§2.2).
#[derive(Clone, Copy)]
struct Field(&'static str, &'static str);

const PRODUCER_GROUP: Field = Field("a", "producerGroup");
const TOPIC: Field = Field("b", "topic");
const QUEUE_ID: Field = Field("e", "queueId");
const SYS_FLAG: Field = Field("f", "sysFlag");
const BORN_TIMESTAMP: Field = Field("g", "bornTimestamp");
const BATCH: Field = Field("m", "batch");
const BROKER_NAME: Field = Field("n", "bname");

impl Field {
    fn text(self, header: &Header) -> Option<Cow<'_, str>> {
        let long = matches!(
            header.request_code(),
            RequestCode::SEND_MESSAGE | RequestCode::SEND_REPLY_MESSAGE
        );
        let (name, other) = if long { (self.1, self.0) } else { (self.0, self.1) };
        header.field(name).or_else(|| header.field(other))
    }

    fn int(self, header: &Header) -> Option<i64> {
        self.text(header)?.trim().parse().ok()
    }

    fn bool(self, header: &Header) -> bool {
        self.text(header)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// Where a send goes.
pub(super) fn topic(header: &Header) -> Option<Cow<'_, str>> {
    TOPIC.text(header)
}

/// Who sends it.
pub(super) fn group(header: &Header) -> Option<Cow<'_, str>> {
    PRODUCER_GROUP.text(header)
}

/// `sysFlag` of the message.
pub(super) fn sys_flag(header: &Header) -> i32 {
    let flag = SYS_FLAG.int(header).and_then(|flag| flag.try_into().ok());
    flag.unwrap_or(0)
}

/// A send request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Send or reply.
    operation: Operation,
    pub(super) peer: Arc<Peer>,
    pub(super) start: Timestamp,
    /// When its last byte was written.
    pub(super) written: Timestamp,
    pub(super) topic: Arc<str>,
    pub(super) namespace: Arc<str>,
    /// Producer group.
    pub(super) group: Option<Arc<str>>,
    broker_name: Option<Arc<str>>,
    /// `None` where the broker picks.
    queue_id: Option<i64>,
    pub(super) sys_flag: i64,
    pub(super) born_timestamp: Option<i64>,
    body_size: Option<u32>,
    /// Of a batch, the properties around its messages.
    pub(super) properties: Properties,
    pub(super) batch: Option<Vec<BatchMessage>>,
    /// Which attempt it is; `None` where the message that tells is among lost bytes.
    number: Option<u32>,
    one_way: bool,
    /// A proxy passes somebody else's send on, or this is the broker's view of it.
    pub(super) forwarded: bool,
    /// Of a batch, messages may be missing; of a one-way send, its end.
    pub(super) incomplete: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome<'a> {
    /// The broker answered.
    Answered(&'a Frame),
    /// Nobody will answer.
    OneWay,
    /// No answer came in time.
    TimedOut,
    /// The connection closed first.
    Closed,
    /// Whatever happened was not seen.
    Unknown,
}

impl Outcome<'_> {
    /// The broker has the message, as far as anybody knows.
    pub(super) fn is_stored(self) -> bool {
        match self {
            Outcome::Answered(frame) => send_status(frame.header.response_code()).is_some(),
            Outcome::OneWay => true,
            Outcome::TimedOut | Outcome::Closed | Outcome::Unknown => false,
        }
    }

    /// A field of the answer; empty ones are none.
    pub(super) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Outcome::Answered(frame) => frame.header.field(name).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.field(name)?.trim().parse().ok()
    }
}

/// The status of a stored message (§2.7); `None` for codes that say it was not stored.
fn send_status(code: ResponseCode) -> Option<&'static str> {
    match code {
        ResponseCode::SUCCESS => Some("SEND_OK"),
        ResponseCode::FLUSH_DISK_TIMEOUT => Some("FLUSH_DISK_TIMEOUT"),
        ResponseCode::FLUSH_SLAVE_TIMEOUT => Some("FLUSH_SLAVE_TIMEOUT"),
        ResponseCode::SLAVE_NOT_AVAILABLE => Some("SLAVE_NOT_AVAILABLE"),
        _ => None,
    }
}

/// What is remembered of messages that were sent.
pub(crate) struct Remember<'a> {
    pub(crate) attempts: &'a mut Attempts,
    pub(super) halves: &'a mut Halves,
    pub(super) recallable: &'a mut Recallable,
}

impl Attempt {
    /// Reads a send request. `None` where it is no message of the user's.
    pub(super) fn read(
        peer: &Arc<Peer>,
        frame: &Frame,
        forwarded: bool,
        sink: &mut Sink,
        attempts: &mut Attempts,
    ) -> Option<Attempt> {
        let header = &frame.header;
        let (Some(topic), Some(group)) = (TOPIC.text(header), PRODUCER_GROUP.text(header)) else {
            sink.totals.malformed += 1;
            return None;
        };
        let name = Name::parse(&topic);
        if name.prefix != Prefix::None || is_internal(name.bare) {
            return None;
        }
        let messages = match &frame.body {
            Body::Batch(messages) => Some(messages.clone()),
            // its body was lost
            _ => BATCH.bool(header).then(Vec::new),
        };
        // how long a send took that nobody answers is told by its own last byte
        let incomplete = frame.incomplete && (messages.is_some() || header.is_one_way());
        let body_size = match &frame.body {
            Body::Empty => Some(0),
            Body::Skipped(length) => Some(*length),
            Body::Raw(bytes) => u32::try_from(bytes.len()).ok(),
            Body::Messages(_) | Body::Batch(_) => None,
        };
        let properties = header.properties().unwrap_or_default();
        let operation = match header.request_code() {
            RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => Operation::Reply,
            _ => Operation::Send,
        };
        let number = {
            let outer = Known::read(&properties).unique_key;
            let first = messages.as_ref().and_then(|messages| messages.first());
            let key = first
                .and_then(|message| Known::read(&message.properties).unique_key)
                .or(outer);
            let number = key.filter(|_| !forwarded).map_or(1, |key| attempts.begin(key));
            let unknown = incomplete && messages.is_some();
            (!unknown).then_some(number)
        };
        Some(Attempt {
            operation,
            peer: peer.clone(),
            start: frame.start,
            written: frame.end,
            topic: sink.name(name.bare),
            namespace: match own_namespace(header) {
                Some(namespace) if name.namespace.is_empty() => sink.name(&namespace),
                _ => sink.name(name.namespace),
            },
            group: Some(sink.name(Name::parse(&group).bare)),
            broker_name: BROKER_NAME
                .text(header)
                .filter(|n| !n.is_empty())
                .map(|n| sink.name(&n)),
            queue_id: QUEUE_ID.int(header).filter(|id| *id >= 0),
            sys_flag: SYS_FLAG.int(header).unwrap_or(0),
            born_timestamp: BORN_TIMESTAMP.int(header),
            body_size,
            incomplete,
            batch: messages,
            properties,
            number,
            one_way: header.is_one_way(),
            forwarded,
        })
    }

    /// How many messages it carries.
    pub(super) fn messages(&self) -> u64 {
        self.batch.as_ref().map_or(1, |batch| batch.len() as u64)
    }

    /// Makes the spans of the attempt, which ended at `end`.
    pub(super) fn finish(
        self,
        outcome: Outcome<'_>,
        end: Timestamp,
        sink: &mut Sink,
        remember: Remember<'_>,
    ) {
        let attempts = remember.attempts;
        if self.operation == Operation::Send {
            let messages = self.messages();
            *match outcome {
                _ if outcome.is_stored() => &mut sink.totals.messages_sent,
                Outcome::Answered(_) => &mut sink.totals.messages_rejected,
                _ => &mut sink.totals.messages_unanswered,
            } += messages;
        }
        if self.batch.is_some() {
            return self.finish_batch(outcome, end, sink, attempts);
        }
        let known = Known::read(&self.properties);
        let lookup = sink.look_up(&self.properties, &known);
        let key = self.key(&known, &outcome);
        let trace = Trace::of(sink, key.as_deref(), lookup);
        if self.operation == Operation::Reply {
            if let Some(key) = key.as_deref().filter(|_| outcome.is_stored()) {
                attempts.succeed(key);
            }
            return self.finish_reply(trace, &known, key.as_deref(), &outcome, end, sink);
        }
        sink.conversations.note(known.correlation_id, &trace);
        let first =
            outcome.is_stored() && !self.forwarded && key.as_deref().is_some_and(|key| attempts.succeed(key));
        let mut context = trace.child(sink);
        if let Some(span_id) = trace.send_span.filter(|_| first) {
            context.span_id = span_id;
        }
        // what comes of the message later is below its own send span: this one, or that of a first success before it
        let own = SpanContext {
            span_id: trace.send_span.unwrap_or(context.span_id),
            ..context
        };
        if outcome.is_stored()
            && !self.forwarded
            && known.is_half(self.sys_flag)
            && let Some(key) = &key
        {
            let half = Half {
                send: own,
                state: trace.state.clone(),
                origin: trace.origin,
                topic: self.topic.clone(),
                namespace: self.namespace.clone(),
                group: self.group.clone(),
                checked: None,
            };
            remember.halves.note(key, half);
        }
        if let (Some(key), Some(_)) = (&key, outcome.field("recallHandle")) {
            let timed = Timed {
                send: own,
                state: trace.state.clone(),
                origin: trace.origin,
            };
            remember.recallable.note(key, timed);
        }
        let carried = trace.creation.filter(|_| trace.origin == Origin::Propagated);
        let parent = if self.forwarded {
            trace.send_span
        } else {
            carried.map(|context| context.span_id)
        };
        let kind = if carried.is_some() || self.forwarded {
            SpanKind::Client
        } else {
            SpanKind::Producer
        };

        let mut attributes = self.attributes(&outcome, trace.origin);
        attributes.maybe(MESSAGING_MESSAGE_ID, key.as_deref().map(str::to_owned));
        attributes.maybe(MESSAGING_MESSAGE_BODY_SIZE, self.body_size);
        attributes.message(&known, self.sys_flag, self.born_timestamp);
        attributes.properties(&sink.config.captured_properties, &self.properties);
        match known.delay_level() {
            Some(level) => attributes.set(MESSAGING_ROCKETMQ_MESSAGE_DELAY_TIME_LEVEL, level),
            None => attributes.maybe(
                MESSAGING_ROCKETMQ_MESSAGE_DELIVERY_TIMESTAMP,
                known.delivery_timestamp(self.born_timestamp),
            ),
        }
        if outcome.is_stored() && !known.is_deferred(self.sys_flag) {
            attributes.maybe(MESSAGING_ROCKETMQ_QUEUE_OFFSET, outcome.int("queueOffset"));
            attributes.maybe(
                MESSAGING_ROCKETMQ_OFFSET_MESSAGE_ID,
                outcome.field("msgId").map(Cow::into_owned),
            );
        }
        let span = self.span(context, kind, &outcome, end, attributes);
        sink.emit(Span {
            parent,
            trace_state: trace.state,
            ..span
        });
    }

    /// Makes the span of a reply.
    fn finish_reply(
        &self,
        mut trace: Trace,
        known: &Known<'_>,
        key: Option<&str>,
        outcome: &Outcome<'_>,
        end: Timestamp,
        sink: &mut Sink,
    ) {
        let carried = trace.origin == Origin::Propagated;
        let request = known
            .correlation_id
            .filter(|_| !carried)
            .and_then(|id| sink.conversations.find(id));
        let answers = request.is_some();
        if let Some(request) = request {
            trace.creation = Some(request.creation);
            (trace.state, trace.origin) = (request.state, request.origin);
        }
        let context = trace.child(sink);
        let parent = trace.creation.filter(|_| carried || answers);
        let kind = if carried || self.forwarded {
            SpanKind::Client
        } else {
            SpanKind::Producer
        };
        let mut attributes = self.attributes(outcome, trace.origin);
        attributes.maybe(MESSAGING_MESSAGE_ID, key.map(str::to_owned));
        attributes.maybe(MESSAGING_MESSAGE_BODY_SIZE, self.body_size);
        attributes.message(known, self.sys_flag, self.born_timestamp);
        attributes.properties(&sink.config.captured_properties, &self.properties);
        let span = self.span(context, kind, outcome, end, attributes);
        sink.emit(Span {
            parent: parent.map(|context| context.span_id),
            trace_state: trace.state,
            ..span
        });
    }

    /// The message's id, as far as it is known now.
    fn key<'a>(&'a self, known: &Known<'a>, outcome: &'a Outcome<'_>) -> Option<Cow<'a, str>> {
        if let Some(key) = known.unique_key {
            return Some(key.into());
        }
        let stored = outcome.is_stored();
        let answered = |name| outcome.field(name).filter(|_| stored);
        answered("transactionId")
            .or_else(|| known.origin_id.map(Cow::from))
            .or_else(|| answered("msgId").filter(|_| !known.is_deferred(self.sys_flag)))
    }

    /// The attributes of single and batch sends.
    pub(super) fn attributes(&self, outcome: &Outcome<'_>, origin: Origin) -> Attributes {
        let mut attributes = Attributes::new(self.operation);
        let queue_id = outcome.int("queueId").filter(|id| *id >= 0).or(self.queue_id);
        attributes.destination(&self.topic, &self.namespace, queue_id);
        attributes.peer(&self.peer);
        attributes.network(&self.peer);
        attributes.maybe(MESSAGING_ROCKETMQ_BROKER_NAME, self.broker_name.clone());
        attributes.maybe(MESSAGING_ROCKETMQ_PRODUCER_GROUP, self.group.clone());
        attributes.set(RMQTRACE_TRACE_ORIGIN, origin.name());
        attributes.maybe(RMQTRACE_SEND_ATTEMPT, self.number);
        attributes
    }

    /// The span itself, its status and what it says about its outcome.
    pub(super) fn span(
        &self,
        context: SpanContext,
        kind: SpanKind,
        outcome: &Outcome<'_>,
        end: Timestamp,
        mut attributes: Attributes,
    ) -> Span {
        let mut error: Option<Cow<'static, str>> = None;
        let mut incomplete = self.incomplete;
        match outcome {
            Outcome::Answered(frame) => {
                let code = frame.header.response_code();
                match send_status(code) {
                    Some(status) => attributes.set(MESSAGING_ROCKETMQ_SEND_STATUS, status),
                    None => error = Some(code.name().map_or_else(|| code.0.to_string().into(), Cow::from)),
                }
            }
            Outcome::OneWay => {}
            Outcome::TimedOut => error = Some("timeout".into()),
            Outcome::Closed => error = Some("connection_closed".into()),
            Outcome::Unknown => incomplete = true,
        }
        if self.one_way {
            attributes.set(RMQTRACE_SEND_ONE_WAY, true);
        }
        if incomplete {
            attributes.set(RMQTRACE_INCOMPLETE, true);
        }
        // the remark is left out: brokers quote access keys in it
        let status = if error.is_some() {
            Status::Error("".into())
        } else {
            Status::Unset
        };
        attributes.maybe(ERROR_TYPE, error.map(Value::Str));
        Span {
            context,
            parent: None,
            trace_state: None,
            operation: self.operation,
            kind,
            topic: self.topic.clone(),
            group: self.group.clone(),
            start: self.start,
            end: end.max(self.start),
            status,
            attributes: attributes.done(),
            links: Vec::new(),
            process: self.peer.process,
        }
    }
}
