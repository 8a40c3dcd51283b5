//! Pop consumption: acknowledgements, what comes back, and what is never told.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use proptest::{collection::vec, prelude::*};
use tracer_core::{
    Config,
    model::{Span, Timestamp, Value, attribute::*},
};

use super::{simulation::cut, support::*};

/// A consumer that popped the messages 1, 2 and 3 of `orders` at 10 ms, which was 5000 at the broker.
fn given() -> (Script, Conn, [Message; 3]) {
    let mut s = Script::new();
    let c = s.connect();
    let messages = [
        message("orders", 1, K1),
        message("orders", 2, K2),
        message("orders", 3, K3),
    ];
    s.at(1).write(c, pop(1, "cg", "orders"));
    s.at(10).read(c, popped(1, 5_000, &messages));
    (s, c, messages)
}

fn ack(opaque: i32, message: &Message) -> Frame {
    settle(ACK, opaque, "orders", message, &handle(message, 0, 5_000))
}

fn nack(opaque: i32, message: &Message) -> Frame {
    settle(
        CHANGE_INVISIBLE,
        opaque,
        "orders",
        message,
        &handle(message, 0, 5_000),
    )
}

#[test]
fn every_attribute() {
    let (mut s, c, [first, ..]) = given();
    s.at(30).write(c, ack(2, &first));
    assert_snapshot!(full(&s.spans()[..1]));
}

#[test]
fn acknowledged_and_given_back() {
    let (mut s, c, [first, second, _]) = given();
    s.at(20).write(c, ack(2, &second));
    s.at(25).read(c, response(0, 2));
    s.at(30).write(c, nack(3, &first));
    s.at(31).read(c, response(0, 3).field("popTime", 5_030));
    assert_snapshot!(brief(&s.spans()));
    let totals = s.totals();
    assert_eq!(
        (
            totals.pop_requests,
            totals.ended_by_ack,
            totals.ended_by_nack,
            totals.ended_by_nothing
        ),
        (1, 1, 1, 1)
    );
}

#[test]
fn binary_headers_lose_the_upper_bits_of_codes() {
    let spans = |binary: bool| {
        let form = |frame: Frame| if binary { frame.binary() } else { frame };
        let mut s = Script::new();
        let c = s.connect();
        let first = message("orders", 1, K1);
        s.at(1).write(c, form(pop(1, "cg", "orders")));
        s.at(10)
            .read(c, form(popped(1, 5_000, std::slice::from_ref(&first))));
        s.at(20).write(c, form(ack(2, &first)));
        full(&s.spans())
    };
    assert!(spans(true).contains("evidence = ack"));
    assert_eq!(spans(true), spans(false));
}

#[test]
fn several_at_once() {
    let (mut s, c, _) = given();
    let body = r#"{"brokerName":"broker-a","acks":[
        {"c":"cg","t":"orders","r":"0","so":1,"q":0,"rq":4,"pt":5000,"it":60000,"b":"BQ=="},
        {"consumerGroup":"other","topic":"orders","retry":"0","startOffset":2,"queueId":0,"popTime":5000,"bitSet":"AQ=="}]}"#;
    s.at(20).write(c, request(BATCH_ACK, 2).body(body));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn a_batch_that_is_no_json_is_counted() {
    let (mut s, c, _) = given();
    s.at(20).write(c, request(BATCH_ACK, 2).body("no JSON"));
    assert_eq!((s.totals().malformed, s.totals().ended_by_nothing), (1, 3));
}

#[test]
fn an_acknowledgement_must_mean_the_delivery() {
    let (mut s, c, [first, second, third]) = given();
    let other_pop = handle(&first, 0, 5_001);
    let other_kind = handle(&first, 1, 5_000);
    let other_broker = handle(&first, 0, 5_000).replace("broker-a", "broker-b");
    let other_queue = handle(&first.clone().queue(1), 0, 5_000);
    s.at(20);
    for info in [
        other_pop,
        other_kind,
        other_broker,
        other_queue,
        "junk".to_owned(),
    ] {
        s.write(c, settle(ACK, 2, "orders", &first, &info));
    }
    s.write(c, settle(ACK, 3, "others", &second, &handle(&second, 0, 5_000)));
    let d = s.connect_as(200, tracer_abi::Role::CLIENT, true);
    s.write(d, ack(4, &third));
    assert_eq!((s.totals().ended_by_nothing, s.totals().malformed), (3, 1));
}

#[test]
fn from_another_connection_and_without_the_brokers_name() {
    let mut s = Script::new();
    let (c, d) = (s.connect(), s.connect());
    let first = message("orders", 1, K1);
    let bare = request(POP, 1)
        .field("consumerGroup", "cg")
        .field("topic", "orders");
    s.at(1).write(c, bare);
    s.at(10).read(c, popped(1, 5_000, std::slice::from_ref(&first)));
    s.at(15).close(c);
    s.at(20).write(d, ack(2, &first));
    assert_eq!(s.totals().ended_by_ack, 1);
}

#[test]
fn what_came_back_links_the_attempt_before() {
    let (mut s, c, [first, second, third]) = given();
    s.at(20).write(c, nack(2, &first));
    s.at(21).write(c, ack(3, &second));
    // from the retry topics of both kinds, as the broker writes them anew, and as they are
    let again = |message: &Message, offset, kind| {
        let message = Message {
            offset,
            reconsume_times: 1,
            ..message.clone()
        };
        let handle = handle(&message, kind, 99_000);
        (message.with(&format!("POP_CK={handle}")), handle)
    };
    let (one, one_handle) = again(&first, 0, 1);
    let raw = Message {
        topic: "%RETRY%cg+orders".into(),
        offset: 1,
        reconsume_times: 1,
        ..third
    };
    s.at(70_000).write(c, pop(4, "cg", "orders"));
    s.at(75_000)
        .read(c, popped(4, 99_000, &[one.clone(), raw.clone()]));
    s.at(75_010)
        .write(c, settle(ACK, 5, "%RETRY%cg_orders", &one, &one_handle));
    let raw_handle = handle(&raw, 2, 99_000);
    s.at(75_020)
        .write(c, settle(ACK, 6, "%RETRY%cg+orders", &raw, &raw_handle));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn too_late() {
    let (mut s, c, [first, second, third]) = given();
    s.at(10 + INVISIBLE).write(c, ack(2, &first));
    s.at(20 + INVISIBLE).write(c, ack(3, &second));
    s.at(30 + INVISIBLE).write(c, nack(4, &third));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn never() {
    let (mut s, c, [first, ..]) = given();
    s.wait(10 + INVISIBLE + 30_000);
    assert_eq!(s.spans().len(), 3);
    s.wait(11 + INVISIBLE + 30_000);
    let ended = brief(&s.spans());
    s.at(91_000).write(c, ack(2, &first));
    assert_eq!(brief(&s.spans()), ended);
    assert_eq!(s.totals().ended_by_nothing, 3);
}

#[test]
fn a_process_that_ends_acknowledges_nothing_more() {
    let (mut s, c, [first, ..]) = given();
    s.at(20).exit(100);
    s.at(30).write(c, ack(2, &first));
    assert_eq!(s.totals().ended_by_nothing, 3);
}

#[test]
fn no_messages_and_internal_topics() {
    let mut s = Script::new();
    let c = s.connect();
    for (opaque, code) in [(1, 209), (2, 210), (3, 19), (4, 1)] {
        s.write(c, pop(opaque, "cg", "orders"));
        s.at(opaque as u64 * 10)
            .read(c, response(code, opaque).field("popTime", 5_000));
    }
    s.write(c, pop(5, "cg", "RMQ_SYS_TRACE_TOPIC"));
    s.at(50)
        .read(c, popped(5, 5_000, &[message("RMQ_SYS_TRACE_TOPIC", 1, K1)]));
    assert_eq!(brief(&s.spans()), "");
}

/// A consumer that pops, and settles what it has in any order, sometimes late, sometimes never.
#[derive(Default)]
struct Consumer {
    script: Script,
    now: u64,
    opaque: i32,
    next: i64,
    parked: Option<i32>,
    /// What it has: the message, its handle, and when it was delivered.
    work: Vec<(Message, String, u64)>,
    /// How each delivery ended, and when, by offset.
    ends: BTreeMap<i64, Option<(&'static str, u64)>>,
}

impl Consumer {
    fn run(steps: &[(u8, u8, u8)]) -> Consumer {
        let mut consumer = Consumer::default();
        let conn = consumer.script.connect();
        for &(what, arg, pause) in steps {
            // a pop waits for less time than any request may
            let long = arg == 255 && consumer.parked.is_none();
            consumer.now += if long { 50_000 } else { u64::from(pause) + 1 };
            consumer.script.at(consumer.now);
            consumer.opaque += 1;
            match what % 6 {
                0 | 1 => consumer.pop(conn),
                2 => consumer.answer(conn, arg),
                3 => consumer.settle(conn, arg, CHANGE_INVISIBLE, "nack"),
                _ => consumer.settle(conn, arg, ACK, "ack"),
            }
        }
        consumer
    }

    fn pop(&mut self, conn: Conn) {
        if self.parked.is_none() {
            self.script.write(conn, pop(self.opaque, "cg", "orders"));
            self.parked = Some(self.opaque);
        }
    }

    fn answer(&mut self, conn: Conn, arg: u8) {
        let Some(opaque) = self.parked.take() else { return };
        let first = self.next;
        self.next += i64::from(arg % 4) + 1;
        let messages: Vec<_> = (first..self.next)
            .map(|offset| message("orders", offset, &format!("popped-{offset}")).queue((offset % 3) as i32))
            .collect();
        self.script.read(conn, popped(opaque, self.now, &messages));
        for message in messages {
            self.ends.insert(message.offset, None);
            let handle = handle(&message, 0, self.now);
            self.work.push((message, handle, self.now + 1));
        }
    }

    fn settle(&mut self, conn: Conn, arg: u8, code: i32, how: &'static str) {
        if self.work.is_empty() {
            return;
        }
        let (message, handle, _) = self.work.remove(usize::from(arg) % self.work.len());
        self.script
            .write(conn, settle(code, self.opaque, "orders", &message, &handle));
        self.ends.insert(message.offset, Some((how, self.now + 1)));
    }

    fn end(&self) -> Timestamp {
        Timestamp((self.now + 10) * 1_000_000)
    }

    /// Checks what spans claim; with `all` also what they must.
    fn check(&self, spans: &[Span], all: bool) {
        for span in spans {
            let Some(Value::Int(offset)) = span.attribute(MESSAGING_ROCKETMQ_QUEUE_OFFSET) else {
                panic!("{span:?}")
            };
            let text = |key| span.attribute(key).and_then(Value::as_str);
            assert_eq!(
                text(MESSAGING_MESSAGE_ID),
                Some(format!("popped-{offset}").as_str())
            );
            let (evidence, end) = (
                text(RMQTRACE_PROCESS_EVIDENCE).unwrap_or_default(),
                span.end.0 / 1_000_000,
            );
            let late = end > span.start.0 / 1_000_000 + INVISIBLE;
            let expired = span.attribute(RMQTRACE_PROCESS_EXPIRED).is_some();
            match (self.ends[offset], evidence) {
                (really, "none") => {
                    let given_up = |(_, at)| at > span.start.0 / 1_000_000 + INVISIBLE + 30_000;
                    assert!(!all || really.is_none_or(given_up), "{span:?}");
                }
                (really, _) => {
                    assert_eq!(really, Some((evidence, end)), "{span:?}");
                    assert!(!all || late == expired, "{span:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every delivery has its span, with the end that it really had; with losses, none has another.
    #[test]
    fn ends_are_exact(
        steps in vec(any::<(u8, u8, u8)>(), 0..120),
        places in vec(any::<u16>(), 1..50),
        lost in vec(0u8..8, 1..40),
    ) {
        let consumer = Consumer::run(&steps);
        let (spans, _) = run(&Config::default(), &consumer.script.events, consumer.end());
        consumer.check(&spans, true);
        prop_assert_eq!(spans.len(), consumer.ends.len());
        let mut pieces = cut(&consumer.script.events, &places);
        let mut fate = lost.iter().cycle();
        pieces.retain(|event| !(matches!(event, Event::Data { .. }) && fate.next() == Some(&0)));
        let (spans, _) = run(&Config::default(), &pieces, consumer.end());
        consumer.check(&spans, false);
    }
}
