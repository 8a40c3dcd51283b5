//! Whose end of a connection is seen, and what passes without harm.

use insta::assert_snapshot;
use tracer_abi::{Direction, Role};
use tracer_core::model::{Status, attribute::*};

use super::support::*;

/// A send and a delivery as the broker's end sees them.
fn brokers_end(role: Role) -> Script {
    let mut s = Script::new();
    let c = s.connect_as(300, role, true);
    s.at(10).read(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(11).write(c, sent(1, 0));
    s.at(20).read(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(21).write(c, found(2, 2, &[message("orders", 1, K1)]));
    s.at(30).read(c, update_offset(3, "cg", "orders", 0, 2));
    s
}

#[test]
fn the_brokers_end_is_silent() {
    for role in [Role::SERVER, Role::UNKNOWN] {
        let s = brokers_end(role);
        assert_eq!(brief(&s.spans()), "", "{role:?}");
        assert_eq!(s.totals().frames, 5, "{role:?}");
    }
}

#[test]
fn the_brokers_end_can_be_shown() {
    let mut s = brokers_end(Role::UNKNOWN);
    s.config.broker_side = true;
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn a_proxy_passes_on() {
    let mut s = Script::new();
    // the kernel side announces the end that clients are connected to, and then keeps it to itself
    s.connect_as(300, Role::SERVER, true);
    let own = s.connect_as(300, Role::CLIENT, true);
    s.at(11).write(own, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(12).read(own, sent(1, 0));
    s.at(20).write(own, pull(2, "cg", "orders", 0, 1, None));
    s.at(21).read(own, found(2, 2, &[message("orders", 1, K1)]));
    // also where their requests were not seen
    s.at(22).read(own, found(98, 3, &[message("orders", 2, K2)]));
    s.at(23).write(own, pull(3, "cg", "orders", 0, 3, None));
    s.at(24).read(own, found(99, 9, &[message("orders", 8, K3)]));
    s.wait(5_000);
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn an_announcement_may_come_after_the_first_bytes() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    let open = s.events.remove(0);
    s.events.push(open);
    s.at(20).read(c, sent(1, 0));
    let spans = s.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(
        spans[0].attribute(SERVER_PORT),
        None,
        "not known when the request was written"
    );
    s.at(30).write(c, send(2, "orders", &format!("UNIQ_KEY={K2}")));
    s.at(31).read(c, sent(2, 0));
    let spans = s.spans();
    assert_eq!(spans[1].attribute(SERVER_PORT), Some(&10911_i64.into()));
}

#[test]
fn a_socket_goes_to_another_process() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.hand_over(c, 101);
    s.at(20).read(c, sent(1, 0));
    s.at(30).write(c, send(2, "orders", &format!("UNIQ_KEY={K2}")));
    s.at(31).read(c, sent(2, 0));
    s.at(40).write(c, pull(3, "cg", "orders", 0, 1, None));
    s.at(41).read(c, found(3, 2, &[message("orders", 1, K3)]));
    s.at(50).write(c, update_offset(4, "cg", "orders", 0, 2));
    let spans = s.spans();
    let processes: Vec<u32> = spans.iter().map(|span| span.process.0).collect();
    assert_eq!(processes, [100, 101, 101], "{}", brief(&spans));
}

#[test]
fn a_send_and_its_delivery_on_two_hosts_join() {
    let mut producer = Script::new();
    let c = producer.connect();
    producer
        .at(10)
        .write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    producer.at(20).read(c, sent(1, 0));
    let mut consumer = Script::new();
    consumer.config.seed = 7;
    let c = consumer.connect();
    consumer.at(10).write(c, pull(1, "cg", "orders", 0, 1, None));
    consumer.at(20).read(c, found(1, 2, &[message("orders", 1, K1)]));
    let (send, process) = (&producer.spans()[0], &consumer.spans()[0]);
    assert_eq!(process.context.trace_id, send.context.trace_id);
    assert_eq!(process.parent, Some(send.context.span_id));
}

#[test]
fn both_ends_number_their_requests() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(5, "orders", &format!("UNIQ_KEY={K1}")));
    // the broker asks under the same number, and the client answers that
    s.at(11).read(c, request(307, 5).field("consumerGroup", "cg"));
    s.at(12).write(c, response(0, 5).body("{}"));
    s.at(13)
        .read(c, request(40, 6).field("consumerGroup", "cg").one_way());
    s.at(20).read(c, sent(5, 0));
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().unpaired_answers, 0);
}

/// A clock that was set back, or those of two machines: what came of the send is not known, so nothing is said about it.
#[test]
fn an_answer_that_comes_before_its_request_is_no_failure() {
    for answer_first in [false, true] {
        let mut s = Script::new();
        let c = s.connect();
        s.at(100).write(c, send(5, "orders", &format!("UNIQ_KEY={K1}")));
        s.at(150).read(c, sent(5, 0));
        if let Some(Event::Data { time, .. }) = s.events.last_mut() {
            *time = 50_000_000..51_000_000;
        }
        if answer_first {
            s.events.swap(1, 2);
        }
        s.at(200).close(c);
        let spans = s.spans();
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(span.status, Status::Unset);
        assert_eq!(span.attribute(RMQTRACE_INCOMPLETE), Some(&true.into()));
    }
}

#[test]
fn a_number_used_twice_gives_the_first_up() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(5, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(20).write(c, send(5, "orders", &format!("UNIQ_KEY={K2}")));
    s.at(30).read(c, sent(5, 0));
    assert_snapshot!(brief(&s.spans()));
    assert_eq!(s.totals().evicted_requests, 1);
}

#[test]
fn everything_else_passes() {
    let mut s = Script::new();
    let c = s.connect();
    for (opaque, code) in (1..).zip([14, 35, 38, 41, 42, 46, 105, 999_999]) {
        s.write(c, request(code, opaque).field("topic", "orders").body("{}"));
        s.read(c, response(0, opaque).body("{}"));
    }
    // requests without what they need
    for (opaque, code) in (50..).zip([
        10, 310, 320, 324, 325, 11, 15, 36, 34, 200_050, 200_051, 200_053, 37,
    ]) {
        s.write(c, request(code, opaque));
        s.read(c, response(1, opaque));
    }
    assert_eq!(brief(&s.spans()), "");
    let totals = s.totals();
    assert_eq!(
        (totals.frames, totals.unpaired_answers, totals.malformed),
        (42, 0, 12)
    );
}

#[test]
fn an_announcement_was_lost() {
    let mut s = Script::new();
    let c = s.connect();
    s.events.clear();
    s.at(10).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    s.at(20).read(c, sent(1, 0));
    // there was no room for the answer either, for all that is known
    s.at(30).write(c, send(2, "orders", &format!("UNIQ_KEY={K2}")));
    s.wait(60_000);
    let spans = s.spans();
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0].attribute(SERVER_ADDRESS), None);
    assert_eq!(spans[1].status, Status::Unset);
    assert!(spans[1].attribute(RMQTRACE_INCOMPLETE).is_some());
}

#[test]
fn a_connection_number_is_used_again() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(1, "orders", &format!("UNIQ_KEY={K1}")));
    let open = s.events[0].clone();
    s.events.push(open);
    let mut again = Script::new();
    let d = again.connect();
    again
        .at(20)
        .write(d, send(1, "orders", &format!("UNIQ_KEY={K2}")));
    again.at(30).read(d, sent(1, 0));
    s.events.extend(again.events.split_off(1));
    s.at(40);
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn what_is_kept_has_no_body_and_no_credentials() {
    let mut s = Script::new();
    let c = s.connect();
    let request = send(1, "orders", &format!("UNIQ_KEY={K1}"))
        .field("AccessKey", "secret")
        .body("secret body");
    s.at(10).write(c, request);
    s.lose(c, Direction::RECV, sent(1, 0));
    s.at(20).close(c);
    let shown = format!("{:?}", s.spans());
    assert!(!shown.contains("secret"), "{shown}");
}
