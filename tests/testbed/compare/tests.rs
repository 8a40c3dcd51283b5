//! The comparators find what is wrong. Each test takes a right story and spoils one thing.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Agent, Context, Rules, Story, Verdict, Witness, compare, traces::call_of};
use crate::{
    Span,
    client::{Consumed, Library, Said, Sent, Traced},
    ids,
    spans::{Link, STATUS_ERROR, kind},
};

const KEY: &str = "7F0000010A1B18B4AAC2012345670000";
const PID: u32 = 42;

fn sent() -> Sent {
    serde_json::from_value(json!({
        "cmd": 1, "mode": "sync", "msgId": KEY, "topic": "t", "key": "k-0", "tag": "TagA", "queue": 1, "offset": 7,
        "offsetMsgId": "AB", "status": "SEND_OK", "startNs": 1_000_000, "endNs": 9_000_000,
    }))
    .expect("an event")
}

fn consumed() -> Consumed {
    serde_json::from_value(json!({
        "group": "g", "msgId": KEY, "topic": "t", "key": "k-0", "queue": 1, "offset": 7, "reconsumeTimes": 0,
        "startNs": 20_000_000, "endNs": 30_000_000, "result": "CONSUME_SUCCESS",
    }))
    .expect("an event")
}

fn span(operation: &str, kind: u8, times: [u64; 2], attributes: Value) -> Span {
    let Value::Object(more) = attributes else {
        panic!("attributes are an object")
    };
    let common = json!({
        "messaging.operation.name": operation, "messaging.operation.type": operation, "messaging.system": "rocketmq",
        "messaging.destination.name": "t", "messaging.message.id": KEY, "messaging.rocketmq.message.tag": "TagA",
        "messaging.destination.partition.id": "1", "messaging.rocketmq.queue_offset": 7,
        "rmqtrace.trace.origin": "message_id", "rmqtrace.client.language": "GO",
    });
    let Value::Object(common) = common else {
        panic!("attributes are an object")
    };
    Span {
        trace_id: ids::trace_id(KEY),
        span_id: ids::send_span_id(KEY),
        parent_span_id: String::new(),
        name: format!("{operation} t"),
        kind,
        start_ns: times[0],
        end_ns: times[1],
        status: 0,
        attributes: common.into_iter().chain(more).collect(),
        links: Vec::new(),
        resource: Arc::new([("process.pid".to_owned(), json!(PID))].into()),
    }
}

fn send_span() -> Span {
    let attributes = json!({
        "messaging.rocketmq.message.type": "normal", "messaging.rocketmq.message.keys": ["k-0"],
        "messaging.rocketmq.offset_message_id": "AB", "messaging.rocketmq.send_status": "SEND_OK",
    });
    span("send", kind::PRODUCER, [2_000_000, 8_000_000], attributes)
}

fn process_span() -> Span {
    let attributes = json!({
        "messaging.consumer.group.name": "g", "messaging.rocketmq.consumption_model": "clustering",
        "rmqtrace.process.evidence": "offset_commit", "rmqtrace.process.end_uncertainty_ms": 25.0,
    });
    let mut span = span("process", kind::CONSUMER, [15_000_000, 40_000_000], attributes);
    span.span_id = "00f067aa0ba902b7".to_owned();
    span.parent_span_id = ids::send_span_id(KEY);
    span.links = vec![Link {
        trace_id: ids::trace_id(KEY),
        span_id: ids::send_span_id(KEY),
    }];
    span
}

fn verdict(rules: Rules, spans: &[Span]) -> Verdict {
    verdict_with(rules, spans, Vec::new())
}

fn verdict_with(rules: Rules, spans: &[Span], traced: Vec<Traced>) -> Verdict {
    let said = Said {
        sent: vec![sent()],
        consumed: vec![consumed()],
        traced,
        ..Said::default()
    };
    judge(Library::Go, said, rules, spans)
}

/// What comes of one client's account.
fn judge(library: Library, said: Said, rules: Rules, spans: &[Span]) -> Verdict {
    let pid = PID;
    let story = Story {
        topics: &["t".to_owned()],
        witnesses: &[Witness { pid, library, said }],
        rules,
        agent: None,
        proxy: None,
    };
    compare(&story, spans)
}

/// What is said about a pair of spans of which one thing is spoilt.
fn spoilt(spoil: impl FnOnce(&mut Span, &mut Span)) -> Vec<String> {
    let (mut send, mut process) = (send_span(), process_span());
    spoil(&mut send, &mut process);
    verdict(Rules::usual(), &[send, process]).problems
}

fn set(span: &mut Span, key: &str, value: Value) {
    span.attributes.insert(key.to_owned(), value);
}

#[test]
fn what_is_right_is_right() {
    assert_eq!(spoilt(|_, _| ()), Vec::<String>::new());
    let figures = verdict(Rules::usual(), &[send_span(), process_span()]).figures;
    assert_eq!((figures.sent, figures.send_spans), (1, 1));
    assert_eq!(
        (figures.handled, figures.process_spans, figures.intervals),
        (1, 1, 1)
    );
    assert_eq!(figures.send_begin, [1_000_000]);
}

#[test]
fn spans_that_are_missing_or_too_many() {
    let of = |spans: &[Span]| verdict(Rules::usual(), spans).problems.len();
    assert_eq!(of(&[process_span()]), 1);
    assert_eq!(of(&[send_span()]), 1);
    assert_eq!(
        of(&[send_span(), send_span(), process_span()]),
        3,
        "ambiguous, and both false"
    );
    assert!(of(&[send_span(), process_span(), process_span()]) > 0);
    let mut stranger = process_span();
    set(&mut stranger, "messaging.message.id", json!("somebody else's"));
    assert_eq!(of(&[send_span(), process_span(), stranger]), 1);
}

#[test]
fn ids_parents_and_links() {
    assert_eq!(spoilt(|send, _| send.trace_id.clear()).len(), 1);
    assert_eq!(spoilt(|send, _| send.span_id.clear()).len(), 1);
    assert_eq!(
        spoilt(|send, _| send.parent_span_id = "00f067aa0ba902b7".to_owned()).len(),
        1
    );
    assert_eq!(spoilt(|_, process| process.trace_id.clear()).len(), 1);
    assert_eq!(spoilt(|_, process| process.parent_span_id.clear()).len(), 1);
    assert_eq!(spoilt(|_, process| process.links.clear()).len(), 1);
    let carried = Rules {
        context: Context::Carried("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b8"),
        ..Rules::usual()
    };
    assert_eq!(verdict(carried, &[send_span(), process_span()]).problems.len(), 2);
}

#[test]
fn attributes() {
    for (key, value) in [
        ("messaging.destination.partition.id", json!("2")),
        ("messaging.rocketmq.queue_offset", json!(8)),
        ("messaging.rocketmq.message.tag", json!("TagB")),
        ("messaging.rocketmq.message.keys", json!("k-0")),
        ("messaging.rocketmq.message.type", json!("fifo")),
        ("messaging.rocketmq.offset_message_id", json!("CD")),
        ("messaging.rocketmq.send_status", json!("FLUSH_DISK_TIMEOUT")),
        ("rmqtrace.client.language", json!("JAVA")),
    ] {
        assert_eq!(spoilt(|send, _| set(send, key, value)).len(), 1, "{key}");
    }
    for (key, value) in [
        ("messaging.consumer.group.name", json!("other")),
        ("messaging.destination.partition.id", json!("2")),
        ("messaging.rocketmq.queue_offset", json!(8)),
        ("messaging.rocketmq.reconsume_times", json!(1)),
    ] {
        // No span of this handling, and a span of nothing.
        assert_eq!(spoilt(|_, process| set(process, key, value)).len(), 2, "{key}");
    }
    assert_eq!(
        spoilt(|_, process| set(
            process,
            "messaging.rocketmq.consumption_model",
            json!("broadcasting")
        ))
        .len(),
        1
    );
}

#[test]
fn times() {
    assert_eq!(spoilt(|send, _| send.start_ns = 999_999).len(), 1);
    assert_eq!(spoilt(|send, _| send.end_ns = 9_000_001).len(), 1);
    assert_eq!(spoilt(|_, process| process.start_ns = 21_000_000).len(), 1);
    assert_eq!(spoilt(|_, process| process.end_ns = 29_000_000).len(), 1);
    let narrow = json!(5.0);
    assert_eq!(
        spoilt(|_, process| set(process, "rmqtrace.process.end_uncertainty_ms", narrow)).len(),
        1
    );
}

#[test]
fn evidence_that_the_way_of_consuming_cannot_give() {
    let other = |evidence: &str| {
        let evidence = json!(evidence);
        spoilt(|_, process| set(process, "rmqtrace.process.evidence", evidence)).len()
    };
    assert_eq!(other("ack"), 1);
    assert_eq!(other("none"), 1);
    assert_eq!(other("send_back"), 1);
}

#[test]
fn exact_ends_may_not_come_early_and_failures_have_a_status() {
    let rules = Rules {
        success: &["ack"],
        ..Rules::usual()
    };
    let mut process = process_span();
    set(&mut process, "rmqtrace.process.evidence", json!("ack"));
    process.end_ns = 30_400_000;
    let verdict_of = |process: &Span| verdict(rules, &[send_span(), process.clone()]);
    let right = verdict_of(&process);
    assert_eq!(right.problems, Vec::<String>::new());
    assert_eq!(right.figures.exact_end, [400_000]);
    process.end_ns = 29_000_000;
    assert_eq!(verdict_of(&process).problems.len(), 1);
    process.end_ns = 30_400_000;
    process.status = 2;
    assert_eq!(verdict_of(&process).problems.len(), 1);
}

#[test]
fn deliveries_that_no_handler_saw_must_not_know_an_end() {
    let rules = Rules {
        unhandled: true,
        ..Rules::usual()
    };
    let mut elsewhere = process_span();
    elsewhere.resource = Arc::new([("process.pid".to_owned(), json!(7))].into());
    let verdict_of = |span: &Span| verdict(rules, &[send_span(), process_span(), span.clone()]);
    assert_eq!(verdict_of(&elsewhere).problems.len(), 1);
    set(&mut elsewhere, "rmqtrace.process.evidence", json!("none"));
    assert_eq!(verdict_of(&elsewhere).problems, Vec::<String>::new());
    assert_eq!(verdict_of(&elsewhere).figures.unhandled, 1);
}

fn traced(kind: &str, time_ms: u64, cost_ms: u64) -> Traced {
    serde_json::from_value(json!({
        "type": kind, "group": "g", "request": "r", "timeMs": time_ms, "costMs": cost_ms, "success": "true", "msgId": KEY,
        "topic": if kind == "Pub" { "t" } else { "null" }, "retryTimes": 0,
    }))
    .expect("an event")
}

#[test]
fn records_of_clients_own_traces_agree_or_not() {
    let spans = [send_span(), process_span()];
    let verdict_of = |records: Vec<Traced>| verdict_with(Rules::usual(), &spans, records);
    let right = verdict_of(vec![traced("Pub", 8, 7), traced("SubAfter", 30, 10)]);
    assert_eq!(right.problems, Vec::<String>::new());
    assert_eq!((right.figures.traced_sends, right.figures.traced_calls), (1, 1));
    // the send span is from 2 to 8 ms, the end of the process span between 15 and 40
    assert_eq!(verdict_of(vec![traced("Pub", 6, 7)]).problems.len(), 1);
    assert_eq!(verdict_of(vec![traced("Pub", 8, 3)]).problems.len(), 1);
    assert_eq!(verdict_of(vec![traced("SubAfter", 13, 3)]).problems.len(), 1);
    assert_eq!(verdict_of(vec![traced("SubAfter", 41, 3)]).problems.len(), 1);
}

#[test]
fn a_send_record_has_the_begin_or_the_end_of_the_call() {
    let record = traced("Pub", 10, 3);
    assert_eq!(call_of(&record, false), 10_000_000..15_000_000);
    assert_eq!(call_of(&record, true), 6_000_000..11_000_000);
}

#[test]
fn an_end_that_is_from_a_record_agrees_with_it_to_the_millisecond() {
    let rules = Rules {
        success: &["client_trace"],
        ..Rules::usual()
    };
    let mut process = process_span();
    set(&mut process, "rmqtrace.process.evidence", json!("client_trace"));
    process.attributes.remove("rmqtrace.process.end_uncertainty_ms");
    process.end_ns = 30_500_000;
    let spans = [send_span(), process];
    let verdict_of = |records: Vec<Traced>| verdict_with(rules, &spans, records);
    let right = verdict_of(vec![traced("SubAfter", 30, 10)]);
    assert_eq!(right.problems, Vec::<String>::new());
    assert_eq!(right.figures.traced_as_evidence, 1);
    assert_eq!(verdict_of(vec![traced("SubAfter", 29, 10)]).problems.len(), 1);
    assert_eq!(verdict_of(vec![traced("SubAfter", 32, 10)]).problems.len(), 1);
    // a client that traces leaves records
    assert_eq!(verdict_of(Vec::new()).problems.len(), 1);
}

/// A span of the agent's; of the batch's two messages one is `KEY`.
fn agents(operation: &str, id: &str, parent: &str, msg_id: &str) -> Span {
    let attributes = json!({ "messaging.operation": operation, "messaging.message.id": msg_id });
    let mut span = span(operation, kind::PRODUCER, [1, 2], attributes);
    span.resource = Arc::new([("telemetry.sdk.name".to_owned(), json!("opentelemetry"))].into());
    (span.trace_id, span.span_id) = ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), id.to_owned());
    parent.clone_into(&mut span.parent_span_id);
    span
}

#[test]
fn messages_of_a_batch_carry_the_agents_context_where_the_agent_finds_it_again() {
    let batch = agents("publish", "00f067aa0ba902b7", "", &format!("{KEY},other"));
    let alone = [batch.clone(), agents("process", "00f067aa0ba902b8", "", KEY)];
    let agent = Agent::new(&alone);
    assert!(agent.batched(KEY).is_some() && agent.published(KEY).is_none());
    let below = [
        batch,
        agents("process", "00f067aa0ba902b8", "00f067aa0ba902b7", KEY),
    ];
    let agent = Agent::new(&below);
    assert!(agent.published(KEY).is_some() && agent.published("other").is_none());
    assert_eq!(agent.publishes(), 1);
}

#[test]
fn a_one_way_send_that_was_refused_is_nobodys_message() {
    let mut refused = send_span();
    refused.status = STATUS_ERROR;
    refused.span_id = "00f067aa0ba902b7".to_owned();
    set(&mut refused, "error.type", json!("SYSTEM_BUSY"));
    let story = |mode: &str, consumed: Vec<Consumed>, spans: &[Span]| {
        let mut sent = sent();
        mode.clone_into(&mut sent.mode);
        let said = Said {
            sent: vec![sent],
            consumed,
            ..Said::default()
        };
        judge(Library::Go, said, Rules::usual(), spans).problems.len()
    };
    assert_eq!(story("oneway", Vec::new(), &[refused.clone()]), 0);
    // the span is not the message's, and one is missing
    assert_eq!(story("sync", Vec::new(), &[refused.clone()]), 2);
    assert_eq!(story("oneway", vec![consumed()], &[refused, process_span()]), 2);
}

#[test]
fn a_refused_batch_has_one_span() {
    let failed: Sent = serde_json::from_value(json!({
        "cmd": 1, "mode": "batch", "msgId": KEY, "topic": "t", "key": "k-0", "tag": "TagA", "batch": 0, "batchSize": 1,
        "error": "MQClientException", "startNs": 1_000_000, "endNs": 9_000_000,
    }))
    .expect("an event");
    let mut span = send_span();
    span.status = STATUS_ERROR;
    span.links = process_span().links;
    span.attributes.remove("messaging.message.id");
    set(&mut span, "messaging.batch.message_count", json!(1));
    set(&mut span, "error.type", json!("SYSTEM_BUSY"));
    let problems = |span: Span| {
        let said = Said {
            failed: vec![failed.clone()],
            ..Said::default()
        };
        judge(Library::Go, said, Rules::usual(), &[span]).problems.len()
    };
    assert_eq!(problems(span.clone()), 0);
    let unlinked = Span {
        links: Vec::new(),
        ..span.clone()
    };
    assert_eq!(problems(unlinked), 1);
    set(&mut span, "messaging.batch.message_count", json!(2));
    assert_eq!(problems(span), 1);
}

#[test]
fn a_library_that_sends_again_by_itself_has_a_span_for_each_attempt() {
    let failed = Sent {
        error: Some("refused".to_owned()),
        ..sent()
    };
    let attempt = |id: &str, at: u64| {
        let mut span = send_span();
        set(&mut span, "messaging.message.id", json!(id));
        set(&mut span, "error.type", json!("MESSAGE_ILLEGAL"));
        span.trace_id = ids::trace_id(id);
        span.span_id = "00f067aa0ba902b7".to_owned();
        (span.status, span.start_ns, span.end_ns) = (2, at, at + 1);
        span
    };
    let problems = |library: Library, spans: &[Span]| {
        let said = Said {
            failed: vec![failed.clone()],
            ..Said::default()
        };
        judge(library, said, Rules::usual(), spans).problems.len()
    };
    let [first, second, last] =
        [("A", 2_000_000), ("B", 3_000_000), (KEY, 4_000_000)].map(|(id, at)| attempt(id, at));
    let all = [first.clone(), second, last.clone()];
    assert_eq!(problems(Library::Cpp, &all), 0);
    assert_ne!(problems(Library::Cpp, &all[1..]), 0, "two attempts");
    assert_ne!(problems(Library::Go, &all), 0, "a library that does not");
    assert_eq!(problems(Library::Go, &[last]), 0);
    let early = [attempt("A", 1), all[1].clone(), all[2].clone()];
    assert_ne!(problems(Library::Cpp, &early), 0, "before the call");
}
