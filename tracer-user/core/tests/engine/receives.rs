//! `receive` spans, and process spans as their children.

use insta::assert_snapshot;
use tracer_abi::Direction;
use tracer_core::model::{Operation, attribute::*};

use super::support::*;

fn script() -> Script {
    let mut s = Script::new();
    s.config.receive = true;
    s
}

#[test]
fn a_pull() {
    let mut s = script();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "ns%cg", "CLUSTERING", "ns%orders", &["a"]));
    s.at(2).write(c, pull(2, "ns%cg", "ns%orders", 3, 1, None));
    let messages = [
        message("ns%orders", 1, K1).with("TAGS=a").queue(3),
        message("ns%orders", 2, K2).with("TAGS=b").queue(3),
        message("ns%orders", 3, K3)
            .with(&format!("TAGS=a;traceparent={PARENT};tracestate=x=1"))
            .queue(3),
    ];
    s.at(10).read(c, found(2, 4, &messages));
    s.at(30).write(c, pull(3, "ns%cg", "ns%orders", 3, 4, Some(4)));
    let spans = s.spans();
    assert_snapshot!("a_pull", brief(&spans));
    assert_snapshot!("a_pull_in_full", full(&spans[..1]));
    check(&spans);
    assert_eq!((s.totals().receive_spans, s.totals().process_spans), (1, 2));
}

/// How many messages a pull brought is not told where some may be missing.
#[test]
fn a_pull_with_a_hole() {
    let mut s = script();
    let c = s.connect();
    s.at(2).write(c, pull(2, "cg", "orders", 3, 1, None));
    let messages = [1, 2, 3].map(|offset| message("orders", offset, K1).queue(3));
    let answer = found(2, 4, &messages);
    let last = answer.bytes().len() - 1;
    s.at(10).lose_part(c, Direction::RECV, answer, last - 1..last);
    s.at(30).write(c, pull(3, "cg", "orders", 3, 4, Some(4)));
    let spans = s.spans();
    assert_eq!((s.totals().receive_spans, s.totals().process_spans), (1, 2));
    let receive = &spans[0];
    assert_eq!(receive.operation, Operation::Receive);
    assert_eq!(receive.attribute(MESSAGING_BATCH_MESSAGE_COUNT), None);
    assert!(receive.attribute(RMQTRACE_INCOMPLETE).is_some());
}

#[test]
fn none_without_messages() {
    let mut s = script();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "cg", "CLUSTERING", "orders", &["a"]));
    for (opaque, code) in [(2, 19), (3, 20), (4, 21), (5, 0)] {
        s.at(opaque as u64 * 10)
            .write(c, pull(opaque, "cg", "orders", 0, 1, None));
        s.read(c, empty(opaque, code, 1));
    }
    s.at(60).write(c, pull(6, "cg", "orders", 0, 1, None));
    s.at(61)
        .read(c, found(6, 2, &[message("orders", 1, K1).with("TAGS=b")]));
    s.at(70).write(c, pop(7, "cg", "orders"));
    s.at(71).read(c, response(210, 7));
    assert_snapshot!(brief(&s.spans()), @"");
}

#[test]
fn a_pop_and_a_retry() {
    let mut s = script();
    let c = s.connect();
    let one = message("orders", 1, K1);
    s.at(1).write(c, pop(1, "cg", "orders"));
    s.at(10).read(c, popped(1, 5_000, std::slice::from_ref(&one)));
    s.at(20).write(
        c,
        settle(CHANGE_INVISIBLE, 2, "orders", &one, &handle(&one, 0, 5_000)),
    );
    s.at(21).read(c, response(0, 2));
    let again = Message {
        reconsume_times: 1,
        ..one.at(0)
    };
    let info = handle(&again, 1, 9_000);
    s.at(30).write(c, pop(3, "cg", "orders"));
    s.at(40).read(
        c,
        popped(3, 9_000, &[again.clone().with(&format!("POP_CK={info}"))]),
    );
    s.at(50)
        .write(c, settle(ACK, 4, "%RETRY%cg_orders", &again, &info));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn messages_of_several_topics() {
    let mut s = script();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "%RETRY%cg", 0, 0, None));
    let messages = [
        message("orders", 0, K1).retried("cg", 0, 1),
        message("bills", 0, K2).retried("cg", 1, 1),
    ];
    s.at(10).read(c, found(1, 2, &messages));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn broadcasting_and_a_pull_that_was_not_seen() {
    let mut s = script();
    let c = s.connect();
    s.at(1)
        .write(c, heartbeat(1, "cg", "BROADCASTING", "orders", &[]));
    s.at(2).write(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(20).read(c, found(3, 3, &[message("orders", 2, K2)]));
    s.at(30).write(c, pull(4, "cg", "orders", 0, 3, None));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn off_unless_asked_for() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 2, &[message("orders", 1, K1)]));
    assert_eq!((s.spans().len(), s.totals().receive_spans), (1, 0));
}
