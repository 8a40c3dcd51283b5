//! Transactions: what becomes of half messages, and the broker's checks.

use insta::assert_snapshot;
use tracer_abi::Role;

use super::support::*;

const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;
const UNKNOWN: i32 = 0;

/// A half message, sent and stored by 11 ms.
fn half(s: &mut Script, c: Conn, opaque: i32, with: &str) {
    s.at(1).write(
        c,
        send(opaque, "ns%orders", &format!("{with};TRAN_MSG=true;PGROUP=pg")),
    );
    s.at(10).read(c, sent(opaque, 0));
}

fn end(opaque: i32, key: &str, state: i32) -> Frame {
    request(37, opaque)
        .field("producerGroup", "pg")
        .field("commitOrRollback", state)
        .field("msgId", key)
        .field("fromTransactionCheck", false)
        .one_way()
}

fn answer(opaque: i32, key: &str, state: i32) -> Frame {
    end(opaque, key, state).field("fromTransactionCheck", true)
}

/// The broker asks about a half message.
fn check(opaque: i32, message: &Message) -> Frame {
    request(39, opaque)
        .field("msgId", message.key())
        .field("commitLogOffset", message.physical_offset())
        .body(message.bytes())
        .one_way()
}

#[test]
fn every_attribute() {
    let mut s = Script::new();
    let c = s.connect();
    half(
        &mut s,
        c,
        1,
        &format!("UNIQ_KEY={K1};traceparent={PARENT};tracestate=v=1"),
    );
    s.at(20).write(c, end(2, K1, COMMIT));
    assert_snapshot!(full(&s.spans()[1..]));
}

#[test]
fn outcomes() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1);
    for (opaque, key) in [(1, K1), (2, K2), (3, K3)] {
        s.write(
            c,
            send(opaque, "orders", &format!("UNIQ_KEY={key};TRAN_MSG=true")),
        );
    }
    s.at(10);
    for opaque in 1..=3 {
        s.read(c, sent(opaque, 0));
    }
    s.at(20).write(c, end(4, K1, COMMIT));
    s.at(30).write(c, end(5, K2, ROLLBACK));
    s.at(40).write(c, end(6, K3, UNKNOWN));
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().transaction_spans, 2);
}

#[test]
fn checks() {
    let mut s = Script::new();
    let c = s.connect();
    half(&mut s, c, 1, &format!("UNIQ_KEY={K1}"));
    let message = message("ns%orders", 5, K1);
    s.at(20).write(c, end(2, K1, UNKNOWN));
    s.at(6_000).read(c, check(3, &message));
    s.at(6_010).write(c, answer(4, K1, UNKNOWN));
    // one that is not answered, and the next
    s.at(36_000).read(c, check(5, &message));
    s.at(66_000).read(c, check(6, &message));
    s.at(66_010).write(c, answer(7, K1, ROLLBACK));
    // it is answered already
    s.at(66_020).write(c, answer(8, K1, ROLLBACK));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn a_check_brings_the_message_of_another_producer() {
    let mut s = Script::new();
    let c = s.connect();
    let with = format!("PGROUP=pg;TRAN_MSG=true;traceparent={PARENT}");
    s.at(10)
        .read(c, check(1, &message("ns%orders", 5, K1).with(&with)));
    s.at(20).write(c, answer(2, K1, COMMIT));
    assert_snapshot!(full(&s.spans()));
}

#[test]
fn only_who_was_asked_answers() {
    let mut s = Script::new();
    let (c, d) = (s.connect(), s.connect_as(200, Role::CLIENT, true));
    half(&mut s, c, 1, &format!("UNIQ_KEY={K1}"));
    s.at(20).read(c, check(2, &message("ns%orders", 5, K1)));
    s.at(30).write(d, answer(3, K1, UNKNOWN));
    s.at(40).write(c, end(4, K1, UNKNOWN));
    assert_eq!(s.totals().transaction_spans, 0);
}

#[test]
fn the_end_of_an_unknown_message_makes_no_span() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(2)
        .write(c, send(2, "orders", &format!("UNIQ_KEY={K2};TRAN_MSG=true")));
    s.at(10).read(c, sent(1, 0));
    s.at(11).read(c, sent(2, 1));
    for (opaque, key) in [(3, K1), (4, K2), (5, K3)] {
        s.at(20).write(c, end(opaque, key, COMMIT));
    }
    s.write(c, end(6, K1, 7));
    let totals = s.totals();
    assert_eq!(
        (
            totals.transaction_spans,
            totals.unknown_transactions,
            totals.malformed
        ),
        (0, 3, 1)
    );
}
