//! Recalls of timed messages.

use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use insta::assert_snapshot;
use tracer_core::{Config, ids};

use super::support::*;

const TIMED: &str = "TIMER_DELIVER_MS=1758272500000";

fn handle(key: &str) -> String {
    BASE64_URL_SAFE.encode(format!("v1 orders broker-a 1758272500000 {key}"))
}

fn recall(opaque: i32, topic: &str, handle: &str) -> Frame {
    request(370, opaque)
        .field("producerGroup", "pg")
        .field("topic", topic)
        .field("recallHandle", handle)
}

fn timed(opaque: i32, key: &str, more: &str) -> (Frame, Frame) {
    let with = format!("UNIQ_KEY={key};{TIMED}{more}");
    let answer = sent(opaque, 0).field("recallHandle", handle(key));
    (send(opaque, "ns%orders", &with), answer)
}

/// Of a message with a carried context, of one without, and of one whose send was not seen.
#[test]
fn recalled() {
    let mut script = Script::new();
    let conn = script.connect();
    for (opaque, key, more) in [
        (1, K1, String::new()),
        (2, K2, format!(";traceparent={PARENT};tracestate=v=1")),
    ] {
        let (request, answer) = timed(opaque, key, &more);
        script.write(conn, request);
        script.at(opaque as u64 * 10).read(conn, answer);
    }
    for (opaque, key) in [(3, K1), (4, K2), (5, K3)] {
        script.write(conn, recall(opaque, "ns%orders", &handle(key)));
        let at = opaque as u64 * 10;
        script.at(at).read(conn, response(0, opaque).field("msgId", key));
    }
    assert_snapshot!(full(&script.spans()));
    assert_eq!(script.totals().recall_spans, 3);
}

/// A send that was taken twice: what comes later is below the first one, whose span id the message gives.
#[test]
fn recalled_after_a_second_send() {
    let mut script = Script::new();
    let conn = script.connect();
    for opaque in [1, 2] {
        let (request, answer) = timed(opaque, K1, "");
        script.write(conn, request).read(conn, answer);
    }
    script.write(conn, recall(3, "ns%orders", &handle(K1)));
    script.read(conn, response(0, 3).field("msgId", K1));
    let spans = script.spans();
    let parents: Vec<_> = spans.iter().map(|span| span.parent).collect();
    let own = ids::send_span_id(K1.as_bytes());
    assert_eq!(spans[0].context.span_id, own);
    assert_ne!(spans[1].context.span_id, own);
    assert_eq!(parents[2], Some(own));
}

#[test]
fn outcomes() {
    let mut script = Script::new();
    script.config = Config {
        correlate_timeout: std::time::Duration::from_secs(1),
        ..Config::default()
    };
    let conn = script.connect();
    let (request, answer) = timed(1, K1, "");
    script.write(conn, request).at(5).read(conn, answer);
    for opaque in 2..6 {
        script.write(conn, recall(opaque, "ns%orders", &handle(K1)));
    }
    script
        .at(20)
        .read(conn, response(16, 2))
        .read(conn, response(604, 3))
        .read(conn, response(9999, 4));
    script
        .wait(1500)
        .at(2000)
        .write(conn, recall(6, "ns%orders", "junk"))
        .close(conn);
    assert_snapshot!(brief(&script.spans()));
    assert_eq!(script.totals().malformed, 1);
    assert_eq!(script.totals().unknown_codes, 1);
}
