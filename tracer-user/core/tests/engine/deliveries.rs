//! Delivered messages: what a process span says, apart from its end.

use insta::assert_snapshot;
use tracer_abi::{Direction, Role};
use tracer_core::model::attribute::*;

use super::support::*;

/// A consumer of `orders` that was just given `messages`, all of which it finishes at once.
fn delivered(messages: &[Message]) -> Script {
    let mut s = Script::new();
    let c = s.connect();
    let (first, last) = (messages[0].offset, messages[messages.len() - 1].offset);
    s.at(1)
        .write(c, pull(1, "cg", &messages[0].topic, 0, first, None));
    s.at(10).read(c, found(1, last + 1, messages));
    s.at(20)
        .write(c, pull(2, "cg", &messages[0].topic, 0, last + 1, Some(last + 1)));
    s
}

#[test]
fn every_attribute() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "ns%cg", "CLUSTERING", "ns%orders", &[]));
    s.at(2).write(c, pull(2, "ns%cg", "ns%orders", 0, 7, None));
    let with = format!("TAGS=new;KEYS=a b;__SHARDINGKEY=user-7;traceparent={PARENT};tracestate=v=1");
    s.at(10)
        .read(c, found(2, 8, &[message("ns%orders", 7, K1).with(&with)]));
    s.at(20).write(c, pull(3, "ns%cg", "ns%orders", 0, 8, Some(8)));
    assert_snapshot!(full(&s.spans()));
}

#[test]
fn a_span_for_each_message() {
    let s = delivered(&[
        message("orders", 7, K1),
        message("orders", 8, K2),
        message("orders", 9, K3),
    ]);
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().messages_delivered, 3);
}

#[test]
fn lite_pulls_are_pulls() {
    let mut s = Script::new();
    let c = s.connect();
    let lite = |opaque, offset| {
        request(LITE_PULL, opaque)
            .field("consumerGroup", "cg")
            .field("topic", "orders")
            .field("queueId", 0)
            .field("queueOffset", offset)
            .field("sysFlag", 22)
    };
    s.at(1).write(c, lite(1, 7));
    s.at(10)
        .read(c, found(1, 8, &[message("orders", 7, K1)]).binary());
    s.at(20).write(c, lite(2, 8));
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 8));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn ids_of_delivered_messages() {
    let s = delivered(&[
        // a broker up to 5.3.3 has appended the properties of the batch
        message("orders", 1, K1).with("UNIQ_KEY=outer"),
        message("orders", 2, "").only("TAGS=a"),
        message("orders", 3, "").only("ORIGIN_MESSAGE_ID=first"),
        message("orders", 4, "").only("DLQ_ORIGIN_MESSAGE_ID=dead"),
    ]);
    let id = |span: &tracer_core::model::Span| {
        span.attribute(MESSAGING_MESSAGE_ID)
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    let lines: Vec<String> = s.spans().iter().map(id).collect();
    assert_snapshot!(lines.join("\n"), @r"
    7F0000010A1B18B4AAC2012345670000
    C0A8000A00002A9F0000000000002EE0
    first
    dead
    ");
}

#[test]
fn topics_of_retries_and_dead_letters() {
    for (topic, with, expected) in [
        ("orders", "", " orders"),
        ("ns%orders", "", "ns orders"),
        ("%RETRY%cg", "RETRY_TOPIC=orders", " orders"),
        ("%RETRY%ns%cg", "RETRY_TOPIC=ns%orders", "ns orders"),
        ("%RETRY%cg", "", " %RETRY%cg"),
        (
            "%DLQ%cg",
            "RETRY_TOPIC=orders;DLQ_ORIGIN_TOPIC=orders",
            " %DLQ%cg",
        ),
        ("%DLQ%ns%cg", "", "ns %DLQ%cg"),
    ] {
        let spans = delivered(&[message(topic, 1, K1).with(with)]).spans();
        let text = |key| spans[0].attribute(key).and_then(Value::as_str).unwrap();
        let found = [
            text(MESSAGING_ROCKETMQ_NAMESPACE),
            text(MESSAGING_DESTINATION_NAME),
        ]
        .join(" ");
        assert_eq!(found, expected, "{topic}");
        assert_eq!(
            spans[0].context.trace_id,
            tracer_core::ids::trace_id(K1.as_bytes()),
            "{topic}"
        );
    }
}

#[test]
fn internal_topics_make_no_span() {
    let s = delivered(&[message("RMQ_SYS_TRACE_TOPIC", 1, K1)]);
    assert_eq!(brief(&s.spans()), "");
    assert_eq!(s.totals().messages_delivered, 0);
}

#[test]
fn tools_that_look_at_messages_consume_none() {
    for (group, spans) in [
        ("TOOLS_CONSUMER", 0),
        ("__MONITOR_CONSUMER", 0),
        ("MQ_INST_1%TOOLS_CONSUMER", 0),
        ("TOOLS_CONSUMERS", 1),
    ] {
        let mut s = Script::new();
        let c = s.connect();
        s.at(1).write(c, pull(1, group, "orders", 0, 1, None));
        s.at(10).read(c, found(1, 2, &[message("orders", 1, K1)]));
        s.at(20).write(c, pull(2, group, "orders", 0, 2, Some(2)));
        assert_eq!(s.spans().len(), spans, "{group}");
    }
}

#[test]
fn empty_answers_make_no_span() {
    let mut s = Script::new();
    let c = s.connect();
    for (opaque, code) in [(1, 19), (2, 20), (3, 21), (4, 25), (5, 1)] {
        s.write(c, pull(opaque, "cg", "orders", 0, 7, Some(7)));
        s.at(opaque as u64 * 10).read(c, empty(opaque, code, 7));
    }
    assert_eq!(brief(&s.spans()), "");
}

#[test]
fn the_clients_own_filter() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "cg", "CLUSTERING", "orders", &["a", "b"]));
    // a light heartbeat says nothing about subscriptions
    s.at(2).write(c, heartbeat(2, "cg", "CLUSTERING", "other", &[]));
    s.at(3).write(c, pull(3, "cg", "orders", 0, 1, None));
    let messages = [
        message("orders", 1, K1).with("TAGS=b"),
        message("orders", 2, K2).with("TAGS=B"),
        message("orders", 3, K3),
    ];
    s.at(10).read(c, found(3, 4, &messages));
    s.at(20).write(c, pull(4, "cg", "orders", 0, 4, Some(4)));
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!((totals.messages_delivered, totals.messages_filtered), (3, 2));
}

#[test]
fn broadcasting() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "cg", "BROADCASTING", "orders", &[]));
    s.at(2).write(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(20).write(c, pull(3, "cg", "orders", 0, 2, None));
    let before_the_end = s.clone();
    s.at(5_000);
    assert_snapshot!(full(&s.spans()));
    assert_eq!(full(&before_the_end.spans()), full(&s.spans()));
}

#[test]
fn broadcasting_learned_later() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(2).write(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(20)
        .write(c, heartbeat(1, "cg", "BROADCASTING", "orders", &[]));
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 2));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn a_parked_poll_is_adopted_by_the_pull_that_continues_it() {
    let mut s = Script::new();
    // open before the tracer, and the pull for what comes had already been sent
    let c = s.connect_as(100, Role::UNKNOWN, false);
    s.at(10).read(
        c,
        found(77, 3, &[message("orders", 1, K1), message("orders", 2, K2)]),
    );
    s.at(11).write(c, pull(78, "cg", "orders", 0, 3, Some(1)));
    s.at(30).write(c, update_offset(79, "cg", "orders", 0, 3));
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!(
        (
            totals.adopted_answers,
            totals.unpaired_answers,
            totals.incomplete_spans
        ),
        (1, 0, 0)
    );
}

#[test]
fn an_answer_that_nothing_continues_has_no_group() {
    let mut s = Script::new();
    let c = s.connect_as(100, Role::UNKNOWN, false);
    s.at(10).read(c, found(77, 2, &[message("orders", 1, K1)]));
    // another queue, another position
    s.at(11).write(c, pull(78, "cg", "orders", 1, 2, None));
    s.at(12).write(c, pull(79, "cg", "orders", 0, 3, None));
    s.wait(3_000);
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().unpaired_answers, 1);
}

#[test]
fn a_lost_pull_request_is_made_up_for() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(5).read(c, empty(1, 19, 1));
    s.lose(c, Direction::SEND, pull(2, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(11).write(c, pull(3, "cg", "orders", 0, 2, None));
    s.at(500).write(c, update_offset(4, "cg", "orders", 0, 2));
    s.wait(1_000);
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn two_groups_and_two_queues_are_apart() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "a", "orders", 0, 1, None));
    s.at(2).write(c, pull(2, "b", "orders", 0, 1, None));
    s.at(3).write(c, pull(3, "a", "orders", 1, 1, None));
    s.at(10)
        .read(c, found(3, 2, &[message("orders", 1, K2).queue(1)]));
    s.at(11).read(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(12).read(c, found(1, 2, &[message("orders", 1, K1)]));
    s.at(20).write(c, update_offset(4, "b", "orders", 0, 2));
    s.at(30).write(c, update_offset(5, "a", "orders", 1, 2));
    s.at(40).write(c, update_offset(6, "a", "orders", 0, 2));
    assert_snapshot!(brief(&s.spans()));
}

/// Messages 5 to 7, stored as one.
fn inner_batch(sys_flag: i32) -> Message {
    let properties = [
        format!("UNIQ_KEY={K1};TAGS=a"),
        format!("UNIQ_KEY={K2}"),
        format!("UNIQ_KEY={K3}"),
    ];
    let mut outer = message("orders", 5, "outer").with("INNER_NUM=3");
    outer.sys_flag = sys_flag;
    outer.body = batch_records(&properties.each_ref().map(String::as_str));
    outer
}

#[test]
fn inner_batches_are_taken_apart() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 5, None));
    s.at(10)
        .read(c, found(1, 9, &[inner_batch(0xc0), message("orders", 8, "last")]));
    s.at(20).write(c, pull(2, "cg", "orders", 0, 9, Some(7)));
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().messages_delivered, 4);
}

#[test]
fn inner_batches_that_clients_leave_whole() {
    let one = |mut message: Message, cut: usize| {
        let mut s = Script::new();
        let c = s.connect();
        message.body.truncate(message.body.len() - cut);
        s.at(1).write(c, pull(1, "cg", "orders", 0, 5, None));
        s.at(10).read(c, found(1, 8, &[message]));
        brief(&s.spans())
    };
    // not to be unwrapped; and not what it should be
    let whole = one(inner_batch(0x80), 0);
    assert!(
        !whole.contains("incomplete") && whole.lines().count() == 1,
        "{whole}"
    );
    let damaged = one(inner_batch(0xc0), 1);
    assert!(
        damaged.contains("incomplete") && damaged.lines().count() == 1,
        "{damaged}"
    );
}

/// A pull of a static topic names a logical queue. Its messages stand in a physical one.
#[test]
fn static_topics() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 7, 1_000, None));
    let messages = [
        message("orders", 0, K1).queue(2),
        message("orders", 1, K2).queue(2),
    ];
    s.at(10)
        .read(c, found(1, 1_002, &messages).field("offsetDelta", 1_000));
    s.at(20).write(c, pull(2, "cg", "orders", 7, 1_002, Some(1_001)));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    let queue = spans[0].attribute(tracer_core::model::attribute::MESSAGING_DESTINATION_PARTITION_ID);
    assert_eq!(queue.and_then(|queue| queue.as_str()), Some("7"));
}
