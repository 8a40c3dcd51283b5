//! Request and reply.

use insta::assert_snapshot;

use super::support::*;

/// A replier that was given the request 1 of `orders`, with more properties.
fn asked(with: &str) -> (Script, Conn) {
    let mut s = Script::new();
    let c = s.connect();
    let request = message("orders", 1, K1).with(&format!("CORRELATION_ID=c-1;REPLY_TO_CLIENT=x;{with}"));
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 2, &[request]));
    (s, c)
}

fn replied(s: &mut Script, c: Conn, opaque: i32, with: &str) {
    s.write(c, reply(opaque, &format!("UNIQ_KEY={K2};MSG_TYPE=reply;{with}")));
    s.at(30).read(c, sent(opaque, 0));
}

/// The spans of replies.
fn replies(s: &Script) -> Vec<tracer_core::model::Span> {
    let mut spans = s.spans();
    spans.retain(|span| span.operation == tracer_core::model::Operation::Reply);
    spans
}

#[test]
fn every_attribute() {
    let (mut s, c) = asked("");
    s.at(20);
    replied(&mut s, c, 2, "CORRELATION_ID=c-1");
    assert_snapshot!(full(&replies(&s)));
    assert_eq!((s.totals().messages_sent, s.totals().reply_spans), (0, 1));
}

#[test]
fn in_the_trace_that_the_request_carries() {
    let (mut s, c) = asked(&format!("traceparent={PARENT};tracestate=v=1"));
    s.at(20);
    replied(&mut s, c, 2, "CORRELATION_ID=c-1");
    assert_snapshot!(brief(&replies(&s)));
}

#[test]
fn the_replys_own_context_and_unknown_requests() {
    let (mut s, c) = asked("");
    s.at(20);
    replied(&mut s, c, 2, &format!("CORRELATION_ID=c-1;traceparent={PARENT}"));
    replied(&mut s, c, 3, "CORRELATION_ID=c-2");
    replied(&mut s, c, 4, "");
    assert_snapshot!(brief(&replies(&s)));
}

#[test]
fn a_requester_on_the_same_host() {
    let mut s = Script::new();
    let (c, d) = (s.connect(), s.connect());
    let request = format!("UNIQ_KEY={K1};CORRELATION_ID=c-1");
    s.at(1).write(c, send(1, "orders", &request));
    s.at(10).read(c, sent(1, 0));
    // Go's long form
    let long = request_v1(2).field("properties", properties("CORRELATION_ID=c-1;MSG_TYPE=reply"));
    s.at(20).write(d, long);
    // the requester is gone
    s.at(30).read(d, response(1, 2));
    assert_snapshot!(brief(&replies(&s)));
}

fn request_v1(opaque: i32) -> Frame {
    request(324, opaque)
        .field("producerGroup", "pg")
        .field("topic", "DefaultCluster_REPLY_TOPIC")
        .field("queueId", 0)
}
