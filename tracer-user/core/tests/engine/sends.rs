//! Send attempts and batches.

use std::ops::Range;

use insta::assert_snapshot;
use tracer_abi::Direction;
use tracer_core::model::{CapturedProperty, Operation, Status, Timestamp, TraceFlags, attribute::*};

use super::support::*;

/// One connection, and what happens on it.
fn on_a_connection(act: impl FnOnce(&mut Script, Conn)) -> Script {
    let mut script = Script::new();
    let conn = script.connect();
    act(&mut script, conn);
    script
}

fn key(key: &str) -> String {
    format!("UNIQ_KEY={key}")
}

#[test]
fn every_attribute() {
    let script = on_a_connection(|s, c| {
        s.at(1).write(c, heartbeat(1, "cg", "CLUSTERING", "orders", &[]));
        let with = key(K1) + ";TAGS=new;KEYS=a b;CORRELATION_ID=c1;__SHARDINGKEY=user-7;WAIT=true";
        s.at(10)
            .write(c, send(2, "ns%orders", &with).field("AccessKey", "secret"));
        s.at(20).read(c, sent(2, 0).field("transactionId", K1));
    });
    assert_snapshot!(full(&script.spans()));
}

#[test]
fn binary_headers_give_the_same_span() {
    let spans = |binary: bool| {
        let script = on_a_connection(|s, c| {
            let (request, answer) = (send(2, "orders", &key(K1)), sent(2, 0));
            s.at(10)
                .write(c, if binary { request.clone().binary() } else { request });
            s.at(20)
                .read(c, if binary { answer.clone().binary() } else { answer });
        });
        full(&script.spans())
    };
    assert_eq!(spans(true), spans(false));
}

#[test]
fn outcomes() {
    let script = on_a_connection(|s, c| {
        for (opaque, code) in [(1, 0), (2, 10), (3, 11), (4, 12), (5, 2), (6, 17), (7, 9999)] {
            s.write(c, send_v1(opaque, "orders", &format!("UNIQ_KEY=id-{opaque}")));
            s.at(u64::from(opaque as u32) * 10).read(c, sent(opaque, code));
        }
    });
    assert_snapshot!(brief(&script.spans()));
    let totals = script.totals();
    assert_eq!((totals.messages_sent, totals.messages_rejected), (4, 3));
}

#[test]
fn a_remark_may_hold_an_access_key_and_is_not_shown() {
    let script = on_a_connection(|s, c| {
        s.write(c, send(1, "orders", &key(K1)).field("Signature", "sig-secret"));
        s.at(5).read(c, sent(1, 16).field("AccessKey", "key-secret"));
    });
    assert!(!format!("{:?}", script.spans()).contains("secret"));
}

#[test]
fn no_answer() {
    let script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.wait(30_009).wait(30_010);
        s.at(40_000).read(c, sent(1, 0));
        s.wait(50_000);
    });
    assert_snapshot!(brief(&script.spans()));
    let totals = script.totals();
    assert_eq!((totals.messages_unanswered, totals.unpaired_answers), (1, 1));
}

#[test]
fn a_connection_closes_first() {
    let script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.at(15).close(c);
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn one_way() {
    let script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)).one_way());
        // Go's has no flag, and is answered
        s.at(20).write(c, send_v1(2, "orders", &key(K2)));
        s.at(25).read(c, sent(2, 0));
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn answers_in_any_order() {
    let script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.at(11).write(c, send(2, "orders", &key(K2)));
        s.at(12).write(c, send(3, "orders", &key(K3)));
        s.at(20).read(c, sent(3, 0));
        s.at(21).read(c, sent(1, 2));
        s.at(22).read(c, sent(2, 0));
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn an_answer_is_recorded_before_its_request() {
    let mut script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.at(10).read(c, sent(1, 0));
    });
    let in_order = brief(&script.spans());
    script.events.swap(1, 2);
    assert_eq!(brief(&script.spans()), in_order);
}

#[test]
fn an_answer_from_before_the_request_is_not_its_own() {
    let script = on_a_connection(|s, c| {
        s.at(10).read(c, sent(1, 2));
        s.at(20).write(c, send(1, "orders", &key(K1)));
        s.at(30).read(c, sent(1, 0));
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn retries_go_to_other_brokers() {
    let mut s = Script::new();
    let (a, b) = (s.connect(), s.connect());
    s.at(10).write(a, send(1, "orders", &key(K1)));
    s.at(20).read(a, sent(1, 2));
    s.at(30).write(b, send(2, "orders", &key(K1)));
    s.at(40).read(b, sent(2, 0));
    // the application sends the same message object again
    s.at(50).write(a, send(3, "orders", &key(K1)));
    s.at(60).read(a, sent(3, 0));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn batch() {
    let script = on_a_connection(|s, c| {
        let messages = [key(K1) + ";TAGS=a", key(K2), key(K3) + ";traceparent=" + PARENT];
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        s.at(10)
            .write(c, send_batch(1, "orders", "UNIQ_KEY=outer;WAIT=true", &messages));
        s.at(20).read(
            c,
            sent(1, 0)
                .field("msgId", "ID1,ID2,ID3")
                .field("transactionId", "outer"),
        );
        // a repeated batch has its roots already
        s.at(30).write(c, send_batch(2, "orders", "", &messages[..1]));
        s.at(40).read(c, sent(2, 0));
    });
    assert_snapshot!(full(&script.spans()));
}

/// EMQX's client leaves the four bytes of a record's length out of it, which the broker does not look at.
#[test]
fn a_batch_whose_records_say_that_they_are_shorter() {
    for properties in ["", "A=", "KEYS=k", "KEYS=k;TAGS=a-longer-tag"] {
        let mut short = batch_records(&[properties, properties, properties]);
        let record = short.len() / 3;
        for at in [0, record, 2 * record] {
            short[at..at + 4].copy_from_slice(&(record as u32 - 4).to_be_bytes());
        }
        let batch = |body: Vec<u8>| {
            let mut s = Script::new();
            let c = s.connect();
            s.at(10).write(c, send_batch(1, "orders", "", &[]).body(body));
            s.at(20).read(c, sent(1, 0));
            s.spans()
        };
        let whole = batch_records(&[properties, properties, properties]);
        assert_eq!(batch(short), batch(whole), "{properties}");
    }
}

/// Of a batch with a hole nothing is told that depends on what was in it: how many messages there are, which of the answer's
/// ids is whose, and whether the first of them was sent before.
#[test]
fn a_batch_with_a_hole() {
    let keys = [key(K1), key(K2), key(K3)];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let batch = |opaque| send_batch(opaque, "orders", "", &keys);
    let answer = |opaque| sent(opaque, 0).field("msgId", "ID1,ID2,ID3");
    let spans = |unseen: Range<usize>| {
        let mut s = Script::new();
        let c = s.connect();
        // one that fails, so that the next is the second attempt
        s.write(c, batch(1)).at(10).read(c, sent(1, 1));
        s.at(20).lose_part(c, Direction::SEND, batch(2), unseen);
        s.at(30).read(c, answer(2));
        s.at(40).write(c, batch(3)).at(50).read(c, sent(3, 0));
        let spans = s.spans();
        spans
            .iter()
            .filter(|span| span.start == Timestamp(20_000_000))
            .map(|span| (span.operation, span.context.trace_id, span.attributes.clone()))
            .collect::<Vec<_>>()
    };
    let whole = spans(0..0);
    assert_eq!(whole.len(), 4);
    let length = batch(2).bytes().len();
    let mut holed = 0;
    for at in length - batch_records(&keys).len()..length - 1 {
        for unseen in [at..at + 1, at..length - 1] {
            for (operation, trace, attributes) in spans(unseen.clone()) {
                let other = whole
                    .iter()
                    .find(|(o, t, _)| *o == operation && (operation == Operation::Send || *t == trace));
                let (_, _, expected) = other.unwrap_or_else(|| panic!("{unseen:?}: {attributes:?}"));
                let incomplete = attributes.iter().any(|a| a.key == RMQTRACE_INCOMPLETE);
                holed += usize::from(incomplete);
                for attribute in attributes.iter().filter(|a| a.key != RMQTRACE_INCOMPLETE) {
                    assert!(expected.contains(attribute), "{unseen:?}: {attribute:?}");
                }
                assert!(incomplete || attributes.len() <= expected.len());
            }
        }
    }
    assert!(holed > length, "{holed}");
}

#[test]
fn a_failed_batch_creates_nothing() {
    let script = on_a_connection(|s, c| {
        s.at(10)
            .write(c, send_batch(1, "orders", "", &[&key(K1), &key(K2)]));
        s.at(20).read(c, sent(1, 1));
    });
    assert_snapshot!(brief(&script.spans()));
    assert_eq!(script.totals().messages_rejected, 2);
}

#[test]
fn a_context_around_a_batch() {
    let outer = format!("traceparent={PARENT}");
    let script = on_a_connection(|s, c| {
        for (opaque, broker_version) in [(1, 479), (2, 493)] {
            s.write(c, send_batch(opaque, "orders", &outer, &[&key(K1)]));
            s.at(10 * opaque as u64)
                .read(c, sent(opaque, 0).version(broker_version));
        }
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn what_the_broker_does_not_take_for_a_batch_is_none() {
    let script = on_a_connection(|s, c| {
        let cpp = request(SEND, 1)
            .field("producerGroup", "pg")
            .field("topic", "orders")
            .field("batch", 1);
        s.at(10).write(c, cpp.body("not a batch"));
        s.at(20).read(c, sent(1, 0).field("transactionId", K1));
    });
    assert_snapshot!(brief(&script.spans()));
}

#[test]
fn ids_of_messages_without_a_key() {
    let script = on_a_connection(|s, c| {
        let answers = [
            ("TAGS=a", sent(1, 0).field("transactionId", K1)),
            ("ORIGIN_MESSAGE_ID=origin", sent(1, 0)),
            ("TAGS=a", sent(1, 0)),
            // stored elsewhere first: the answer's position and id are not the message's
            ("DELAY=3", sent(1, 0)),
            ("TAGS=a", sent(1, 1)),
        ];
        for (n, (with, answer)) in answers.into_iter().enumerate() {
            s.at(n as u64 * 10).write(c, send(1, "orders", with));
            s.at(n as u64 * 10 + 5).read(c, answer);
        }
    });
    let ids = |span: &tracer_core::model::Span| {
        let text = |key| {
            span.attribute(key)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        format!("{} {}", text(MESSAGING_MESSAGE_ID), text(RMQTRACE_TRACE_ORIGIN))
    };
    let lines: Vec<String> = script.spans().iter().map(ids).collect();
    assert_snapshot!(lines.join("\n"), @r"
    7F0000010A1B18B4AAC2012345670000 message_id
    origin message_id
    C0A8000A00002A9F000000000001F4A0 message_id
    - none
    - none
    ");
}

#[test]
fn carried_contexts() {
    let script = on_a_connection(|s, c| {
        let with = format!("{};traceparent={PARENT};tracestate=vendor=1", key(K1));
        s.at(10).write(c, send(1, "orders", &with));
        s.at(20).read(c, sent(1, 0));
        s.at(30).write(
            c,
            send(2, "orders", &format!("{};TRACE_CONTEXT={PARENT}", key(K2))),
        );
        s.at(40).read(c, sent(2, 2));
        s.at(50)
            .write(c, send(3, "orders", &format!("{};traceparent=junk", key(K3))));
        s.at(60).read(c, sent(3, 0));
    });
    assert_snapshot!(brief(&script.spans()));
    assert_eq!(script.totals().malformed_contexts, 1);
}

#[test]
fn carried_contexts_of_other_propagators() {
    let script = on_a_connection(|s, c| {
        let parts: Vec<&str> = PARENT.split('-').collect();
        let (trace, span) = (parts[1], parts[2]);
        for (opaque, with) in [
            (1, format!("b3={trace}-{span}-1")),
            (
                2,
                format!("X-B3-TraceId={trace};X-B3-SpanId={span};X-B3-Sampled=1"),
            ),
            (3, format!("uber-trace-id={trace}%3A{span}%3A0%3A1")),
            // the same context, and one that is not readable
            (4, format!("uber-trace-id={trace}:{span}:0:1;b3=junk")),
            // says only that it is not sampled
            (5, "b3=0".to_owned()),
        ] {
            s.write(c, send(opaque, "orders", &format!("UNIQ_KEY=id-{opaque};{with}")));
            s.at(opaque as u64 * 10).read(c, sent(opaque, 0));
        }
    });
    assert_snapshot!(brief(&script.spans()));
    assert_eq!(script.totals().malformed_contexts, 1);
}

#[test]
fn derivation_can_be_turned_off() {
    let mut script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.at(20).read(c, sent(1, 0));
    });
    script.config.derive_ids = false;
    assert_snapshot!(full(&script.spans()));
}

#[test]
fn delayed_messages() {
    let script = on_a_connection(|s, c| {
        for (opaque, with) in [
            (1, "DELAY=3"),
            (2, "TIMER_DELIVER_MS=1758272500000"),
            (3, "TIMER_DELAY_SEC=5"),
        ] {
            s.write(c, send(opaque, "orders", &format!("UNIQ_KEY=id-{opaque};{with}")));
            s.at(opaque as u64 * 10).read(c, sent(opaque, 0));
        }
    });
    assert_snapshot!(full(&script.spans()));
}

#[test]
fn internal_topics_make_no_span() {
    let script = on_a_connection(|s, c| {
        let topics = [
            "RMQ_SYS_TRACE_TOPIC",
            "rmq_sys_x",
            "SCHEDULE_TOPIC_XXXX",
            "%RETRY%cg",
            "TBW102",
        ];
        for (opaque, topic) in (1..).zip(topics.into_iter().chain(["DefaultHeartBeatSyncerTopic"])) {
            s.write(c, send(opaque, topic, &key(K1)));
            s.read(c, sent(opaque, 0));
        }
        // a client's own trace goes to a topic of any name
        s.write(
            c,
            request(SEND_V2, 99)
                .field("a", "_INNER_TRACE_PRODUCER-pg-PRODUCE-1")
                .field("b", "my-traces"),
        );
        s.at(9).read(c, sent(99, 0));
    });
    assert_eq!(brief(&script.spans()), "");
    assert_eq!(script.totals().messages_sent, 0);
    assert_eq!(script.totals().send_requests, 7);
}

#[test]
fn an_outcome_that_was_lost_is_no_error() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(5).write(c, send(1, "orders", &key(K1)));
    s.at(6).read(c, sent(1, 0));
    s.at(10).write(c, send(2, "orders", &key(K2)));
    s.lose(c, tracer_abi::Direction::RECV, sent(2, 0));
    s.at(20).write(c, send(3, "orders", &key(K3)));
    s.at(30).read(c, sent(3, 0));
    s.wait(60_000);
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!((totals.gaps, totals.resyncs, totals.incomplete_spans), (1, 1, 1));
    assert_eq!(totals.gap_bytes, sent(2, 0).bytes().len() as u64);
}

/// The process reads its answers in a way that nobody can look at.
#[test]
fn answers_that_were_not_seen_are_no_error() {
    let mut s = Script::new();
    let c = s.connect();
    let answer = sent(1, 0).bytes().len();
    s.at(10).write(c, send(1, "orders", &key(K1)));
    s.at(11).miss(c, Direction::RECV, answer);
    s.at(20).write(c, send(2, "orders", &key(K2)));
    s.at(21).miss(c, Direction::RECV, answer);
    s.wait(60_000);
    let spans = s.spans();
    assert_eq!(spans.len(), 2);
    for span in &spans {
        assert_eq!(span.status, Status::Unset, "{span:?}");
        assert!(span.attribute(RMQTRACE_INCOMPLETE).is_some(), "{span:?}");
    }
    let totals = s.totals();
    let sizes: usize = [1, 2]
        .map(|n| send(n, "orders", &key(K1)).bytes().len())
        .iter()
        .sum();
    assert_eq!(
        (totals.seen_bytes, totals.gap_bytes),
        (sizes as u64, 2 * answer as u64)
    );
}

/// Of a send that nobody answers, the end is that of its last byte.
#[test]
fn a_one_way_send_whose_end_was_not_seen() {
    let frame = || send(1, "orders", &key(K1)).one_way();
    let length = frame().bytes().len();
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write_start(c, frame(), length - 4);
    s.at(40).miss(c, Direction::SEND, 4);
    let spans = s.spans();
    assert_eq!(spans.len(), 1);
    assert!(spans[0].attribute(RMQTRACE_INCOMPLETE).is_some(), "{spans:?}");
    assert!(spans[0].attribute(RMQTRACE_SEND_ATTEMPT).is_some(), "{spans:?}");
}

#[test]
fn an_answer_lost_at_the_end_is_no_error() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(10).write(c, send(1, "orders", &key(K1)));
    s.lose(c, tracer_abi::Direction::RECV, sent(1, 0));
    s.at(20).close(c);
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn the_tracer_ends_first() {
    let script = on_a_connection(|s, c| {
        s.at(10).write(c, send(1, "orders", &key(K1)));
        s.at(20);
    });
    assert_snapshot!(brief(&script.spans()));
}

/// What the application asked for, and what upstream decided, with whatever the message says.
#[test]
fn captured_properties_and_carried_flags() {
    let mut script = on_a_connection(|s, c| {
        let with = key(K1) + ";region=eu;region=us;b3=0;AccessKey=hush;Region=x";
        s.at(10)
            .write(c, send(2, "orders", &with))
            .at(20)
            .read(c, sent(2, 0));
    });
    let captured = ["region", "absent", "AccessKey"].map(CapturedProperty::new);
    assert!(captured[2].is_none());
    script.config.captured_properties = captured.into_iter().flatten().collect();
    let spans = script.spans();
    let properties: Vec<_> = spans[0]
        .attributes
        .iter()
        .filter(|a| a.key.starts_with(MESSAGING_ROCKETMQ_PROPERTY_PREFIX))
        .map(|a| (a.key, a.value.as_str()))
        .collect();
    assert_eq!(properties, [("messaging.rocketmq.property.region", Some("us"))]);
    assert_eq!(spans[0].context.flags, Some(TraceFlags::of(false)));
    let carried = on_a_connection(|s, c| {
        let with = format!("{};traceparent={PARENT}", key(K1));
        s.at(10)
            .write(c, send(2, "orders", &with))
            .at(20)
            .read(c, sent(2, 0));
    });
    assert_eq!(carried.spans()[0].context.flags, Some(TraceFlags::SAMPLED));
}
