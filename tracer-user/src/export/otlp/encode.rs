//! OTLP's protobuf, written straight from spans into one buffer: nothing of a span is copied before.
//!
//! `opentelemetry-otlp` takes spans in its own types, makes messages of them and encodes those: some hundred
//! allocations for a span, and for gRPC a second copy of all of it. What is written here is byte for byte the same;
//! the tests compare it with the messages of `opentelemetry-proto`.

use std::sync::Arc;

use opentelemetry::trace::TraceState;
use tracer_core::model::{Attribute, Link, Naming, Span, SpanContext, SpanKind, Status, TraceFlags, Value};

use crate::{
    enrich::Process,
    export::{
        Finished,
        convert::{SCHEMA_URL, by_process},
    },
};

/// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Flags of a span or link: it is known whether its context is remote, and it is (`SpanFlags`).
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `StatusCode.STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// More than most spans take.
const SPAN: usize = 2048;

/// `ExportTraceServiceRequest` with these spans, by process.
pub(super) fn request(batch: &[Arc<Finished>]) -> Vec<u8> {
    let mut out = Message(Vec::with_capacity(batch.len() * SPAN));
    for (process, spans) in by_process(batch) {
        out.message(1, 3, |out| resource_spans(out, process, &spans));
    }
    out.0
}

fn resource_spans(out: &mut Message, process: &Process, spans: &[&Finished]) {
    out.message(1, 2, |resource| {
        for (key, value) in &process.resource.attributes {
            resource.attribute(1, key, value);
        }
    });
    let is_old = |finished: &Finished| finished.naming == Naming::Old;
    let first = spans.first().is_some_and(|finished| is_old(finished));
    for old in [first, !first] {
        let mut spans = spans.iter().filter(|finished| is_old(finished) == old).peekable();
        if spans.peek().is_some() {
            out.message(2, 3, |out| {
                out.message(1, 1, |scope| {
                    scope.text(1, "rmqtrace");
                    scope.text(2, env!("CARGO_PKG_VERSION"));
                });
                spans.for_each(|finished| out.message(2, 2, |out| span(out, finished)));
                // the old names are of no published schema
                out.text(3, if old { "" } else { SCHEMA_URL });
            });
        }
    }
    out.text(3, SCHEMA_URL);
}

fn span(out: &mut Message, finished: &Finished) {
    let Finished { span, cut, .. } = finished;
    out.bytes(1, &span.context.trace_id.0);
    out.bytes(2, &span.context.span_id.0);
    out.text(3, &trace_state(span));
    if let Some(parent) = span.parent {
        out.bytes(4, &parent.0);
    }
    out.text(5, &finished.naming.name(span));
    // numbers of `SpanKind`
    out.number(
        6,
        match span.kind {
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
    );
    out.fixed64(7, finished.start.0);
    out.fixed64(8, finished.end.0);
    out.attributes(9, &span.attributes);
    out.number(10, cut.attributes.into());
    for one in &span.links {
        out.message(13, 1, |out| link(out, one));
    }
    out.number(14, cut.links.into());
    out.message(15, 1, |status| {
        if let Status::Error(description) = &span.status {
            status.text(2, description);
            status.number(3, ERROR);
        }
    });
    // what is exported is sampled, whatever was said upstream; a message's consumer is another process than its producer
    let sampled = carried(span.context) | u32::from(TraceFlags::SAMPLED.0);
    let remote = span.parent.is_some() && span.kind == SpanKind::Consumer;
    out.fixed32(16, sampled | HAS_IS_REMOTE | if remote { IS_REMOTE } else { 0 });
}

fn link(out: &mut Message, link: &Link) {
    out.bytes(1, &link.context.trace_id.0);
    out.bytes(2, &link.context.span_id.0);
    out.attributes(4, &link.attributes);
    out.fixed32(6, carried(link.context) | HAS_IS_REMOTE | IS_REMOTE);
}

/// A state that is not well-formed is left out, as W3C asks.
fn trace_state(span: &Span) -> String {
    let state = span.trace_state.as_deref();
    let state = state.and_then(|state| state.parse::<TraceState>().ok());
    state.map(|state| state.header()).unwrap_or_default()
}

fn carried(context: SpanContext) -> u32 {
    context.flags.unwrap_or(TraceFlags::SAMPLED).0.into()
}

/// A message in the making. What has its default value is left out, as protobuf asks.
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.tag(field, FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A message within. Its length stands before it and is known only behind it: `room` bytes are kept for it, and what
    /// was written moves where that is not what it takes.
    fn message(&mut self, field: u32, room: usize, write: impl FnOnce(&mut Message)) {
        self.tag(field, BYTES);
        let at = self.0.len();
        let start = at + room;
        self.0.resize(start, 0);
        write(self);
        let length = (self.0.len() - start) as u64;
        let takes = (64 - (length | 1).leading_zeros() as usize).div_ceil(7);
        if takes > room {
            let end = self.0.len();
            self.0.resize(end + takes - room, 0);
            self.0.copy_within(start..end, at + takes);
        } else if takes < room {
            self.0.copy_within(start.., at + takes);
            self.0.truncate(self.0.len() - (room - takes));
        }
        for (index, byte) in self.0[at..at + takes].iter_mut().enumerate() {
            let more = if index + 1 < takes { 0x80 } else { 0 };
            *byte = (length >> (7 * index)) as u8 & 0x7f | more;
        }
    }

    fn attributes(&mut self, field: u32, attributes: &[Attribute]) {
        for attribute in attributes {
            self.attribute(field, attribute.key, &attribute.value);
        }
    }

    /// `KeyValue`.
    fn attribute(&mut self, field: u32, key: &str, value: &Value) {
        let text = match value {
            Value::Str(text) => Some(&**text),
            Value::Shared(text) => Some(&**text),
            _ => None,
        };
        if text.is_some_and(|text| self.short_text(field, key, text)) {
            return;
        }
        self.message(field, 1, |pair| {
            pair.text(1, key);
            pair.message(2, 1, |any| any.value(value));
        });
    }

    /// A `KeyValue` with a text, as nearly all are, if all its lengths take one byte each: then they are known before. False
    /// where they do not, and nothing is written. The numbers of all fields here are below 16, so a tag takes one byte too.
    fn short_text(&mut self, field: u32, key: &str, text: &str) -> bool {
        let any = 2 + text.len();
        let pair = 2 + key.len() + 2 + any;
        if pair >= 0x80 || key.is_empty() {
            return false;
        }
        let tag = |field: u32| (field << 3 | BYTES) as u8;
        self.0.reserve(2 + pair);
        self.0
            .extend_from_slice(&[tag(field), pair as u8, tag(1), key.len() as u8]);
        self.0.extend_from_slice(key.as_bytes());
        self.0
            .extend_from_slice(&[tag(2), any as u8, tag(1), text.len() as u8]);
        self.0.extend_from_slice(text.as_bytes());
        true
    }

    /// The field of `AnyValue`, which is there also if it is empty or zero.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.bytes(1, text.as_bytes()),
            Value::Shared(text) => self.bytes(1, text.as_bytes()),
            Value::Bool(yes) => {
                self.tag(2, VARINT);
                self.varint(u64::from(*yes));
            }
            Value::Int(number) => {
                self.tag(3, VARINT);
                self.varint(number.cast_unsigned());
            }
            Value::Float(number) => {
                self.tag(4, FIXED64);
                self.0.extend_from_slice(&number.to_le_bytes());
            }
            Value::Strings(texts) => self.message(5, 1, |list| {
                for text in texts {
                    list.message(1, 1, |any| any.bytes(1, text.as_bytes()));
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tracer_core::model::{Cut, Naming, SpanId};

    use super::*;
    use crate::export::{convert, sample};

    /// The same bytes as those of the message that the SDK's types become.
    fn same(batch: &[Arc<Finished>]) {
        let expected = convert::request(batch);
        let bytes = request(batch);
        let decoded =
            opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(&*bytes);
        assert_eq!(decoded.unwrap(), expected);
        assert_eq!(bytes, expected.encode_to_vec());
    }

    fn with(change: impl FnOnce(&mut Finished)) -> Arc<Finished> {
        let mut finished = sample::owned("orders");
        change(&mut finished);
        Arc::new(finished)
    }

    #[test]
    fn as_the_sdk_does_it() {
        same(&[]);
        same(&[sample::finished("orders"), sample::failed("orders")]);
        let other = sample::process("other");
        same(&[
            with(|f| f.naming = Naming::Old),
            with(|f| f.process = other.clone()),
            with(|f| f.naming = Naming::Dup),
            with(|f| f.span.trace_state = Some("not a state".into())),
            with(|f| f.span.status = Status::Error("why".into())),
            with(|f| f.span.parent = Some(SpanId([1; 8]))),
            with(|f| f.span.context.flags = Some(TraceFlags(2))),
            with(|f| {
                f.cut = Cut {
                    attributes: 300,
                    links: 7,
                    values: 1,
                }
            }),
        ]);
    }

    #[test]
    fn every_value() {
        let values = [
            Value::Str("".into()),
            Value::Str("text".repeat(100).into()),
            Value::Shared("é".into()),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(i64::MAX),
            Value::Float(0.0),
            Value::Float(-1.5),
            Value::Bool(false),
            Value::Bool(true),
            Value::Strings(vec![]),
            Value::Strings(vec![String::new(), "x".repeat(200)]),
        ];
        same(&[with(|f| {
            f.span.attributes = values.map(|value| Attribute { key: "k", value }).into();
        })]);
    }

    /// Lengths of one, two and three bytes, in a room that is too small, right or too large.
    #[test]
    fn lengths() {
        for length in [
            0, 1, 100, 119, 120, 121, 122, 127, 128, 200, 16_383, 16_384, 40_000, 3_000_000,
        ] {
            same(&[with(|f| {
                f.span.attributes = vec![Attribute::new("k", "x".repeat(length))];
            })]);
        }
        let many = |n: usize| (0..n).map(|_| sample::finished("orders")).collect::<Vec<_>>();
        for n in [1, 2, 30, 60, 512] {
            same(&many(n));
        }
    }
}
