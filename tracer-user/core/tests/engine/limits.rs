//! What does not fit into a table goes, oldest first, and is counted.

use tracer_abi::Role;
use tracer_core::engine::limits;

use super::support::*;

#[test]
fn connections() {
    let mut s = Script::new();
    let first = s.connect();
    s.at(1).write(first, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(2);
    for _ in 0..limits::CONNECTIONS {
        s.connect();
    }
    let (totals, spans) = (s.totals(), brief(&s.spans()));
    assert_eq!(
        (totals.connections, totals.evicted_connections),
        (limits::CONNECTIONS as u64 + 1, 1)
    );
    assert!(spans.contains("incomplete=true"), "{spans}");
    // what it does afterwards is seen all the same
    s.at(3).write(first, send(2, "orders", &format!("UNIQ_KEY={K2}")));
    s.at(4).read(first, sent(2, 0));
    assert_eq!(s.totals().messages_sent, 1);
}

#[test]
fn groups() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "first", "orders", 0, 1, None));
    s.at(2).read(c, found(1, 2, &[message("orders", 1, K1)]));
    for n in 0..limits::GROUPS {
        s.at(10 + n as u64)
            .write(c, pull(2, &format!("group-{n}"), "orders", 0, 1, None));
    }
    s.at(10_000).write(c, update_offset(3, "first", "orders", 0, 2));
    let totals = s.totals();
    assert_eq!((totals.evicted_groups, totals.ended_by_nothing), (1, 1));
}

#[test]
fn queues() {
    let mut s = Script::new();
    let c = s.connect_as(100, Role::CLIENT, true);
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(2).read(c, found(1, 2, &[message("orders", 1, K1)]));
    s.at(3);
    for n in 0..limits::QUEUES {
        s.write(c, pull(2, "cg", "orders", 1 + n as i32, 1, None));
    }
    s.at(10_000).write(c, update_offset(3, "cg", "orders", 0, 2));
    let totals = s.totals();
    assert_eq!((totals.evicted_queues, totals.ended_by_nothing), (1, 1));
}

#[test]
fn deliveries() {
    const EACH: i64 = 44_000;
    let mut s = Script::new();
    let c = s.connect();
    for n in 0..3 {
        let (first, next) = (n * EACH, (n + 1) * EACH);
        let messages: Vec<_> = (first..next)
            .map(|offset| message("t", offset, &format!("id-{offset}")))
            .collect();
        s.write(c, pull(n as i32, "cg", "t", 0, first, None));
        s.at(n as u64 + 1).read(c, found(n as i32, next, &messages));
    }
    s.at(10).write(c, update_offset(9, "cg", "t", 0, 3 * EACH));
    let totals = s.totals();
    let evicted = 3 * EACH as u64 - limits::DELIVERIES as u64;
    assert_eq!(
        (totals.evicted_deliveries, totals.ended_by_nothing),
        (evicted, evicted)
    );
    assert_eq!(totals.ended_by_commit, limits::DELIVERIES as u64);
}

#[test]
fn offsets_that_lie() {
    let mut s = Script::new();
    for ms in [1, 2] {
        let c = s.connect();
        s.at(ms).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
        s.close_at(c, u64::MAX, u64::MAX);
    }
    let totals = s.totals();
    assert_eq!((totals.gaps, totals.gap_bytes), (4, u64::MAX));
}
