//! Spans for tests.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use tracer_core::model::{
    Attribute, Cut, Link, Naming, Operation, ProcessId, Span, SpanContext, SpanId, SpanKind, Status,
    Timestamp, TraceId, Value, attribute as key,
};

use super::Finished;
use crate::{
    clock::Wall,
    enrich::{Process, Resource},
};

/// A span of this topic and group.
pub(crate) fn span(topic: &str, group: Option<&str>) -> Span {
    Span {
        context: SpanContext {
            trace_id: TraceId([0xab; 16]),
            span_id: SpanId([0xcd; 8]),
            flags: None,
        },
        parent: None,
        trace_state: Some("vendor=1".into()),
        operation: Operation::Send,
        kind: SpanKind::Producer,
        topic: topic.into(),
        group: group.map(Into::into),
        start: Timestamp(1_000),
        end: Timestamp(2_000_000),
        status: Status::Unset,
        attributes: vec![
            Attribute::new(key::MESSAGING_SYSTEM, "rocketmq"),
            Attribute::new(
                key::MESSAGING_MESSAGE_ID,
                "7F0000010A1B18B4AAC2012345670000".to_owned(),
            ),
            Attribute::new(key::MESSAGING_DESTINATION_PARTITION_ID, "3".to_owned()),
            Attribute::new(key::MESSAGING_ROCKETMQ_BROKER_NAME, Arc::<str>::from("broker-a")),
            Attribute::new(key::MESSAGING_ROCKETMQ_QUEUE_OFFSET, 1234_i64),
            Attribute::new(key::MESSAGING_ROCKETMQ_SEND_STATUS, "SEND_OK"),
            Attribute::new(
                key::MESSAGING_ROCKETMQ_MESSAGE_KEYS,
                vec!["k1".to_owned(), "k2".to_owned()],
            ),
        ],
        links: Vec::new(),
        process: ProcessId(42),
    }
}

/// The process of every span here.
static SHOP: LazyLock<Arc<Process>> = LazyLock::new(|| process("shop"));

/// A process that nobody looked at.
pub(crate) fn process(service: &str) -> Arc<Process> {
    let attributes = vec![
        ("service.name".to_owned(), Value::from(service.to_owned())),
        ("process.pid".to_owned(), Value::from(42_i64)),
    ];
    Arc::new(Process::of_resource(Resource {
        service: service.into(),
        attributes,
    }))
}

/// A successful send, not shared yet.
pub(crate) fn owned(topic: &str) -> Finished {
    let (start, end) = (Wall(1_700_000_000_123_456_789), Wall(1_700_000_000_124_691_123));
    Finished {
        span: span(topic, Some("g")),
        naming: Naming::New,
        cut: Cut::default(),
        process: SHOP.clone(),
        start,
        end,
    }
}

/// A successful send.
pub(crate) fn finished(topic: &str) -> Arc<Finished> {
    Arc::new(owned(topic))
}

/// A consumption that failed.
pub(crate) fn failed(topic: &str) -> Arc<Finished> {
    let mut span = span(topic, Some("g"));
    let sent = span.context;
    span.context.span_id = SpanId([0xef; 8]);
    span.parent = Some(sent.span_id);
    span.links = vec![Link {
        context: sent,
        attributes: Vec::new(),
    }];
    span.operation = Operation::Process;
    span.kind = SpanKind::Consumer;
    span.status = Status::Error(Cow::Borrowed(""));
    span.attributes
        .retain(|a| a.key != key::MESSAGING_ROCKETMQ_SEND_STATUS);
    span.attributes
        .push(Attribute::new(key::RMQTRACE_PROCESS_EVIDENCE, "send_back"));
    span.attributes.push(Attribute::new(key::ERROR_TYPE, "FAILURE"));
    Arc::new(Finished { span, ..owned(topic) })
}
