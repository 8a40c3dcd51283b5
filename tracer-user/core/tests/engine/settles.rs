//! Settle spans, and what a change of the invisible time turns out to have been.

use insta::assert_snapshot;
use tracer_core::{
    ids,
    model::attribute::MESSAGING_MESSAGE_ID,
    sampling::{Rule, Sampler},
};

use super::support::*;

fn script() -> Script {
    let mut s = Script::new();
    s.config.settle = true;
    s
}

fn three() -> [Message; 3] {
    [
        message("orders", 1, K1),
        message("orders", 2, K2),
        message("orders", 3, K3),
    ]
}

/// The messages 1, 2 and 3 popped at 10 ms, which was 5000 at the broker.
fn given() -> (Script, Conn, [Message; 3]) {
    let mut s = script();
    let c = s.connect();
    s.at(1).write(c, pop(1, "cg", "orders"));
    s.at(10).read(c, popped(1, 5_000, &three()));
    (s, c, three())
}

fn ack(opaque: i32, message: &Message, pop_time: u64) -> Frame {
    settle(ACK, opaque, "orders", message, &handle(message, 0, pop_time))
}

fn change(opaque: i32, message: &Message, pop_time: u64, invisible: u64) -> Frame {
    settle(
        CHANGE_INVISIBLE,
        opaque,
        "orders",
        message,
        &handle(message, 0, pop_time),
    )
    .field("invisibleTime", invisible)
}

/// The broker's answer to it.
fn changed(opaque: i32, pop_time: u64, invisible: u64) -> Frame {
    response(0, opaque)
        .field("popTime", pop_time)
        .field("invisibleTime", invisible)
        .field("reviveQid", 4)
}

#[test]
fn acks() {
    let (mut s, c, [one, two, _]) = given();
    s.at(20).write(c, ack(2, &one, 5_000));
    s.at(23).read(c, response(0, 2));
    s.at(30).write(c, ack(3, &two, 5_000));
    s.at(33).read(c, response(208, 3));
    let spans = s.spans();
    assert_snapshot!("acks", brief(&spans));
    assert_snapshot!("acks_in_full", full(&spans[1..2]));
    check(&spans);
    assert_eq!((s.totals().settle_spans, s.totals().transaction_spans), (2, 0));
}

#[test]
fn no_answer() {
    let (mut s, c, [one, two, three]) = given();
    s.at(20).write(c, ack(2, &one, 5_000));
    s.wait(30_020);
    s.write(c, ack(3, &two, 5_000));
    s.write(c, change(4, &three, 5_000, 10_000));
    s.at(30_030).close(c);
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn several_at_once() {
    let (mut s, c, _) = given();
    let body = r#"{"brokerName":"broker-a","acks":[{"c":"cg","t":"orders","r":"0","so":1,"q":0,"rq":4,"pt":5000,"it":60000,"b":"BQ=="}]}"#;
    s.at(20).write(c, request(BATCH_ACK, 2).body(body));
    s.at(23).read(c, response(0, 2));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn given_back() {
    let (mut s, c, [one, two, _]) = given();
    s.at(20).write(c, change(2, &one, 5_000, 10_000));
    s.at(23).read(c, changed(2, 5_020, 10_000));
    s.at(30).write(c, change(3, &two, 5_000, 10_000));
    s.at(33).read(c, response(13, 3));
    s.at(40);
    // what the broker refused is known at once
    assert_eq!(s.totals().ended_by_nack, 2, "at the end");
    s.wait(10_021);
    assert_snapshot!(brief(&s.spans()));
}

/// The span of what was given back comes when its time is over, and the end is that of the request.
#[test]
fn when_the_time_is_over() {
    for (at, nacks) in [(10_022, 0), (10_023, 1)] {
        let (mut s, c, [one, ..]) = given();
        s.at(20).write(c, change(2, &one, 5_000, 10_000));
        s.at(23).read(c, changed(2, 5_020, 10_000));
        // an acknowledgement under the new handle
        s.wait(at)
            .write(c, settle(ACK, 3, "orders", &one, &handle(&one, 0, 5_020)));
        let totals = s.totals();
        assert_eq!(
            (totals.ended_by_nack, totals.ended_by_ack),
            (nacks, 1 - nacks),
            "at {at}"
        );
    }
}

#[test]
fn kept_for_longer() {
    let (mut s, c, [one, ..]) = given();
    s.at(50_000).write(c, change(2, &one, 5_000, 60_000));
    s.at(50_003).read(c, changed(2, 55_000, 60_000));
    s.at(100_000).write(c, change(3, &one, 55_000, 60_000));
    s.at(100_003).read(c, changed(3, 105_000, 60_000));
    s.at(150_000).write(c, ack(4, &one, 105_000));
    s.at(150_003).read(c, response(0, 4));
    let of_one: Vec<_> = s.spans();
    let of_one: Vec<_> = of_one
        .into_iter()
        .filter(|span| {
            span.attribute(tracer_core::model::attribute::MESSAGING_MESSAGE_ID)
                .and_then(|id| id.as_str())
                == Some(K1)
        })
        .collect();
    assert_snapshot!(brief(&of_one));
    check(&of_one);
}

#[test]
fn commits() {
    let mut s = script();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    // a pull carries its commit along
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    // one way, and answered, as Go's; then again, without progress
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 3));
    s.at(40)
        .write(c, update_offset(4, "cg", "orders", 0, 4).two_way());
    s.at(42).read(c, response(0, 4));
    s.at(50).write(c, update_offset(5, "cg", "orders", 0, 4));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn a_commit_of_several() {
    let mut s = script();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 4));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn sent_back() {
    let mut s = script();
    let c = s.connect();
    let [one, two, _] = three();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    s.at(20).write(c, send_back(2, "cg", &one));
    s.at(23).read(c, response(0, 2));
    // refused, so that the client sends it to the retry topic itself
    s.at(30).write(c, send_back(3, "cg", &two));
    s.at(33).read(c, response(1, 3));
    s.at(34).write(
        c,
        send(
            4,
            "%RETRY%cg",
            &format!("ORIGIN_MESSAGE_ID={K2};RETRY_TOPIC=orders"),
        ),
    );
    s.at(35).read(c, sent(4, 0));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn children_of_process_spans_within_receive_spans() {
    let (mut s, c, [one, ..]) = given();
    s.config.receive = true;
    s.at(20).write(c, ack(2, &one, 5_000));
    s.at(23).read(c, response(0, 2));
    let spans = s.spans();
    assert_snapshot!(brief(&spans[..3]));
    check(&spans);
}

/// A sampler keeps a message's process and settle spans or none, also in the trace of a receive.
#[test]
fn spans_of_a_message_are_sampled_together() {
    for receive in [false, true] {
        let (mut s, c, messages) = given();
        s.config.receive = receive;
        for (opaque, message) in (2..).zip(&messages) {
            s.write(c, ack(opaque, message, 5_000));
            s.at(20 + opaque as u64).read(c, response(0, opaque));
        }
        let spans = s.spans();
        for ratio in (1..20).map(|n| f64::from(n) / 20.0) {
            let rule = Rule::TraceIdRatio(ratio);
            let sampler = Sampler {
                rule,
                parent_based: true,
            };
            for key in [K1, K2, K3] {
                let kept = rule.keeps(ids::trace_id(key.as_bytes()));
                let of_key = spans.iter().filter(|span| {
                    let id = span.attribute(MESSAGING_MESSAGE_ID);
                    id.and_then(|id| id.as_str()) == Some(key)
                });
                let decisions: Vec<_> = of_key.map(|span| sampler.keeps(span)).collect();
                assert_eq!(decisions, [kept; 2], "{key} {ratio} {receive}");
            }
        }
    }
}

/// All lite topics of a topic have the same queue.
#[test]
fn lite_topics() {
    let mut s = script();
    let c = s.connect();
    let (one, two) = (message("orders", 1, K1), message("orders", 1, K2));
    let request = |opaque| {
        let mut frame = pop(opaque, "cg", "orders");
        frame.set_code(POP_LITE);
        frame
    };
    s.at(1).write(c, request(1));
    s.at(10).read(
        c,
        popped(
            1,
            5_000,
            &[
                one.clone().with("__LITE_TOPIC=a"),
                two.clone().with("__LITE_TOPIC=b"),
            ],
        ),
    );
    s.at(20).write(c, ack(2, &two, 5_000).field("liteTopic", "b"));
    s.at(21).read(c, response(0, 2));
    s.at(30).write(c, ack(3, &one, 5_000).field("liteTopic", "a"));
    s.at(31).read(c, response(0, 3));
    let spans = s.spans();
    assert_snapshot!(brief(&spans));
    check(&spans);
}

#[test]
fn off_unless_asked_for() {
    let (mut s, c, [one, two, _]) = given();
    s.config.settle = false;
    s.at(20).write(c, ack(2, &one, 5_000));
    s.at(23).read(c, response(0, 2));
    s.at(30).write(c, change(3, &two, 5_000, 10_000));
    s.at(33).read(c, changed(3, 5_020, 10_000));
    assert_eq!((s.spans().len(), s.totals().settle_spans), (3, 0));
}
