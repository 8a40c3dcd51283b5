//! Messages that an administrator has a consumer process.

use insta::assert_snapshot;
use tracer_abi::Role;

use super::support::*;

/// The broker has the client process a message.
fn consume(opaque: i32, message: &Message) -> Frame {
    request(309, opaque)
        .field("consumerGroup", "ns%cg")
        .field("clientId", "10.1.2.3@6699")
        .field("msgId", message.key())
        .field("brokerName", "broker-a")
        .body(message.bytes())
}

fn consumed(opaque: i32, result: &str) -> Frame {
    let body =
        format!(r#"{{"autoCommit":true,"consumeResult":"{result}","order":false,"spentTimeMills":7}}"#);
    response(0, opaque).body(body)
}

#[test]
fn every_attribute() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).read(c, consume(1, &message("ns%orders", 1, K1)));
    s.at(20).write(c, consumed(1, "CR_SUCCESS"));
    assert_snapshot!(full(&s.spans()));
}

#[test]
fn the_heartbeat_tells_the_model() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(5)
        .write(c, heartbeat(9, "ns%cg", "BROADCASTING", "ns%orders", &[]));
    s.at(10).read(c, consume(1, &message("ns%orders", 1, K1)));
    s.at(20).write(c, consumed(1, "CR_SUCCESS"));
    assert!(full(&s.spans()).contains("consumption_model = broadcasting"));
}

#[test]
fn results() {
    let mut s = Script::new();
    let c = s.connect();
    let results = [
        "CR_SUCCESS",
        "CR_COMMIT",
        "CR_LATER",
        "CR_ROLLBACK",
        "CR_THROW_EXCEPTION",
        "CR_RETURN_NULL",
        "CR_NEW",
    ];
    for (opaque, result) in (1..).zip(results) {
        let ms = opaque as u64 * 10;
        let message = message("orders", opaque.into(), &format!("id-{opaque}"));
        s.at(ms).read(c, consume(opaque, &message));
        s.at(ms + 5).write(c, consumed(opaque, result));
    }
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!((totals.ended_by_answer, totals.ended_by_nothing), (6, 1));
}

/// Go's client writes the result as the number of its place in the same list.
#[test]
fn results_as_numbers() {
    let mut s = Script::new();
    let c = s.connect();
    for (opaque, result) in (1..).zip([0, 3, 1, 2, 4, 5, 6, -1]) {
        let ms = opaque as u64 * 10;
        let message = message("orders", opaque.into(), &format!("id-{opaque}"));
        s.at(ms).read(c, consume(opaque, &message));
        let body = format!(
            r#"{{"order":false,"autoCommit":true,"consumeResult":{result},"remark":"","spentTimeMills":5}}"#
        );
        s.at(ms + 5).write(c, response(0, opaque).body(body));
    }
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!((totals.ended_by_answer, totals.ended_by_nothing), (6, 2));
}

#[test]
fn results_as_rocketmq_rust_writes_them() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).read(c, consume(1, &message("orders", 1, K1)));
    let body = r#"{"order":false,"auto_commit":true,"consume_result":"CR_SUCCESS","remark":null,"spent_time_mills":6}"#;
    s.at(15).write(c, response(0, 1).body(body));
    let span = brief(&s.spans());
    assert!(span.contains("evidence=direct"), "{span}");
    assert_eq!(s.totals().ended_by_answer, 1);
}

#[test]
fn a_client_that_refuses_or_does_not_answer() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).read(c, consume(1, &message("orders", 1, K1)));
    s.at(11).read(c, consume(2, &message("orders", 2, K2)));
    s.at(20).write(c, response(1, 1));
    s.wait(40_000);
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().messages_delivered, 1);
}

#[test]
fn a_proxy_passes_it_on() {
    let mut s = Script::new();
    let served = s.connect_as(300, Role::SERVER, true);
    let own = s.connect_as(300, Role::CLIENT, true);
    s.at(1).read(served, send(1, "orders", &format!("UNIQ_KEY={K2}")));
    s.at(10).read(own, consume(1, &message("orders", 1, K1)));
    s.at(20).write(own, consumed(1, "CR_SUCCESS"));
    assert_eq!(s.totals().process_spans, 0);
}
