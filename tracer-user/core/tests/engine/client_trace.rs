//! Consumers that trace themselves: their records tell when the listener was called and when it returned.

use insta::assert_snapshot;
use miniz_oxide::deflate::compress_to_vec_zlib;

use super::support::*;

/// Calls of a listener, one request each unless said otherwise.
#[derive(Clone, Copy)]
struct Call<'a> {
    request: &'a str,
    message: &'a str,
    times: i32,
    began: i64,
    ended: i64,
    /// Context code; 0: it succeeded.
    code: i32,
}

fn call(message: &str, began: i64, ended: i64) -> Call<'_> {
    Call {
        request: message,
        message,
        times: 0,
        began,
        ended,
        code: 0,
    }
}

impl Call<'_> {
    fn before(&self) -> String {
        let Call {
            request,
            message,
            times,
            ..
        } = self;
        let began = WALL_MS + self.began;
        fields(&format!(
            "SubBefore|{began}|DefaultRegion|cg|{request}|{message}|{times}|null"
        ))
    }

    fn after(&self) -> String {
        let Call {
            request,
            message,
            code,
            ..
        } = self;
        let (cost, ended) = (self.ended - self.began, WALL_MS + self.ended);
        let success = *code == 0;
        fields(&format!(
            "SubAfter|{request}|{message}|{cost}|{success}|null|{code}|{ended}|cg"
        ))
    }

    fn both(&self) -> [String; 2] {
        [self.before(), self.after()]
    }
}

fn fields(text: &str) -> String {
    text.replace('|', "\u{1}") + "\u{2}"
}

/// A consumer that is known to trace was given the messages 1, 2 and 3 of `orders` at 10 ms. Its own connection, and
/// that of its trace.
fn given() -> (Script, Conn, Conn) {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    s.write(t, traced(100, "cg", &[]));
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    (s, c, t)
}

fn three() -> [Message; 3] {
    [
        message("orders", 1, K1),
        message("orders", 2, K2),
        message("orders", 3, K3),
    ]
}

/// The spans so far, without those that wait when the tracer ends.
fn so_far(s: &Script) -> String {
    let spans = s.spans();
    let all = spans.len() as u64;
    let open = s.totals().ended_by_nothing;
    brief(&spans[..(all - open) as usize])
}

#[test]
fn a_record_after_the_commit() {
    let (mut s, c, t) = given();
    s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(3)));
    s.at(5_000).write(t, traced(101, "cg", &call(K1, 20, 30).both()));
    s.at(5_100).write(t, traced(102, "cg", &call(K2, 25, 44).both()));
    assert_snapshot!(so_far(&s));
    assert_eq!(
        (s.totals().ended_by_client_trace, s.totals().trace_records),
        (2, 4)
    );
}

#[test]
fn every_attribute() {
    let (mut s, c, t) = given();
    s.at(20).write(t, traced(101, "cg", &call(K1, 12, 19).both()));
    s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    assert_snapshot!(full(&s.spans()[..1]));
}

#[test]
fn no_record_comes() {
    for (at, in_time) in [(10_049, 1), (10_050, 0)] {
        let (mut s, c, t) = given();
        s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(4)));
        s.wait(at).write(t, traced(101, "cg", &call(K1, 20, 30).both()));
        let totals = s.totals();
        assert_eq!(
            (totals.ended_by_client_trace, totals.ended_by_commit),
            (in_time, 3 - in_time)
        );
    }
}

#[test]
fn a_consumer_that_does_not_trace_waits_for_nothing() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    // another group of the process, and a producer
    s.write(t, traced(100, "other", &[]));
    let mut of_producer = traced(101, "cg", &[]);
    of_producer.set("a", "_INNER_TRACE_PRODUCER-cg-PRODUCE-1");
    s.write(t, of_producer);
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(4)));
    s.at(60);
    assert_eq!(s.totals().ended_by_commit, 3);
    assert_eq!(s.spans().len(), 3);
}

#[test]
fn a_heartbeat_tells_too() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    let body = r#"{"clientID":"x","producerDataSet":[{"groupName":"_INNER_TRACE_PRODUCER-a-CONSUME-b-CONSUME-12"}]}"#;
    s.write(t, request(HEART_BEAT, 1).body(body));
    s.at(1).write(c, pull(1, "ns%a-CONSUME-b", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    s.at(50)
        .write(c, pull(2, "ns%a-CONSUME-b", "orders", 0, 4, Some(4)));
    s.wait(60);
    let pending = |s: &Script| s.spans().iter().filter(|span| span.end.0 > 60_000_000).count();
    assert_eq!(pending(&s), 0);
    // they come when the tracer ends, with what there was
    assert_eq!(s.totals().ended_by_commit, 3);
}

#[test]
fn failures() {
    let (mut s, c, t) = given();
    let [one, two, three] = three();
    s.at(40).write(c, send_back(2, "cg", &one));
    s.at(41).write(c, send_back(3, "cg", &two));
    s.at(42).write(c, send_back(4, "cg", &three));
    let records = [(K1, 4), (K2, 2)].map(|(key, code)| {
        Call {
            code,
            ..call(key, 20, 39)
        }
        .both()
    });
    s.at(45).write(t, traced(101, "cg", &records.concat()));
    // the listener succeeded with the first messages of a batch only
    s.at(46).write(t, traced(102, "cg", &call(K3, 20, 39).both()));
    assert_snapshot!(so_far(&s));
}

#[test]
fn a_retry_links_the_attempt_that_still_waits_for_its_record() {
    let (mut s, c, t) = given();
    let [one, ..] = three();
    s.at(40).write(c, send_back(2, "cg", &one));
    s.at(50).write(c, pull(3, "cg", "%RETRY%cg", 0, 0, None));
    s.at(60).read(c, found(3, 1, &[one.retried("cg", 0, 1)]));
    s.at(90).write(c, pull(4, "cg", "%RETRY%cg", 0, 1, Some(1)));
    let first = Call {
        code: 4,
        ..call(K1, 20, 39)
    };
    let second = Call {
        times: 1,
        request: "again",
        ..call(K1, 62, 85)
    };
    s.at(5_000)
        .write(t, traced(101, "cg", &[first.both(), second.both()].concat()));
    assert_snapshot!(so_far(&s));
}

/// An orderly consumer that suspends its queue calls again, and counts.
#[test]
fn calls_that_are_repeated() {
    let (mut s, c, t) = given();
    let calls = [
        Call {
            request: "a",
            code: 4,
            ..call(K1, 20, 30)
        },
        Call {
            request: "b",
            code: 4,
            times: 1,
            ..call(K1, 1_030, 1_040)
        },
        Call {
            request: "c",
            times: 2,
            ..call(K1, 2_040, 2_050)
        },
    ];
    s.at(1_500)
        .write(t, traced(101, "cg", &[calls[0].both(), calls[1].both()].concat()));
    s.at(2_060).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    s.at(5_000).write(t, traced(102, "cg", &calls[2].both()));
    assert_snapshot!(so_far(&s));
}

#[test]
fn broadcasting_has_nothing_else() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    s.write(t, traced(100, "cg", &[]));
    s.at(1)
        .write(c, heartbeat(1, "cg", "BROADCASTING", "orders", &[]));
    s.at(2).write(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(2, 4, &three()));
    let failed = Call {
        code: 4,
        ..call(K2, 30, 40_000)
    };
    s.at(45_000).write(
        t,
        traced(101, "cg", &[call(K1, 20, 30).both(), failed.both()].concat()),
    );
    assert_snapshot!(so_far(&s));
    // a message that nothing is heard of ends with all others
    s.wait(15 * 60_000 + 11);
    assert_eq!((s.spans().len(), s.totals().ended_by_nothing), (3, 1));
}

#[test]
fn one_message_twice() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    s.write(t, traced(100, "cg", &[]));
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 2, &[message("orders", 1, K1)]));
    s.at(20).write(c, pull(2, "cg", "orders", 0, 2, None));
    s.at(40).read(c, found(2, 3, &[message("orders", 2, K1)]));
    s.at(70).write(c, pull(3, "cg", "orders", 0, 3, Some(3)));
    let (first, second) = (
        Call {
            request: "a",
            ..call(K1, 12, 30)
        },
        Call {
            request: "b",
            ..call(K1, 42, 60)
        },
    );
    s.at(90)
        .write(t, traced(101, "cg", &[first.both(), second.both()].concat()));
    assert_snapshot!(so_far(&s));
}

#[test]
fn several_messages_in_one_call() {
    let (mut s, c, t) = given();
    s.at(70).write(c, pull(2, "cg", "orders", 0, 4, Some(4)));
    let of_one = |message| Call {
        request: "R",
        ..call(message, 20, 50)
    };
    let calls = [K1, K2, K3].map(of_one);
    let before = calls.map(|call| call.before()).concat();
    // the cloud's form: the duration divided, no end
    let after = calls
        .map(|call| fields(&format!("SubAfter|R|{}|10|true|null|0|", call.message)))
        .concat();
    s.at(90).write(t, traced(101, "cg", &[before, after]));
    assert_snapshot!(so_far(&s));
}

/// C++ names the first message only.
#[test]
fn short_records() {
    let (mut s, c, t) = given();
    s.at(70).write(c, pull(2, "cg", "orders", 0, 4, Some(3)));
    let of_one = |message| Call {
        request: "R",
        ..call(message, 20, 50)
    };
    let before = [K1, K2].map(|key| of_one(key).before()).concat();
    let mut frame = traced(
        101,
        "",
        &[before, fields(&format!("SubAfter|R|{K1}|15|true|dKey"))],
    );
    frame.set("a", "_INNER_TRACE_PRODUCER");
    s.at(90).write(t, frame);
    assert_snapshot!(so_far(&s));
}

#[test]
fn an_end_alone() {
    let (mut s, c, t) = given();
    s.at(70).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    s.at(90).write(t, traced(101, "cg", &[call(K1, 20, 50).after()]));
    assert_snapshot!(so_far(&s));
}

#[test]
fn popped_messages() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    s.write(t, traced(100, "cg", &[]));
    let [one, two, _] = three();
    s.at(1).write(c, pop(1, "cg", "orders"));
    s.at(10).read(c, popped(1, 5_000, &[one.clone(), two.clone()]));
    s.at(40)
        .write(c, settle(ACK, 2, "orders", &one, &handle(&one, 0, 5_000)));
    // given up: acknowledged although it failed
    s.at(41)
        .write(c, settle(ACK, 3, "orders", &two, &handle(&two, 0, 5_000)));
    let failed = Call {
        code: 3,
        ..call(K2, 20, 39)
    };
    s.at(4_000).write(
        t,
        traced(101, "cg", &[call(K1, 20, 39).both(), failed.both()].concat()),
    );
    assert_snapshot!(so_far(&s));
}

#[test]
fn compressed() {
    for (flag, codec) in [(0x001, "no type"), (0x301, "zlib")] {
        let (mut s, c, t) = given();
        s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
        let records = call(K1, 20, 30).both().concat();
        let mut frame = traced(101, "cg", &[]).body(compress_to_vec_zlib(records.as_bytes(), 5));
        frame.set("f", flag);
        s.at(60).write(t, frame);
        assert_eq!(s.totals().ended_by_client_trace, 1, "{codec}");
    }
}

#[test]
fn what_cannot_be_read_is_counted() {
    let (mut s, c, t) = given();
    s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    for flag in [0x001, 0x101, 0x201] {
        let mut frame = traced(101, "cg", &call(K1, 20, 30).both());
        frame.set("f", flag);
        s.write(t, frame);
    }
    s.write(
        t,
        traced(102, "cg", &["junk\u{2}".to_owned(), fields("SubAfter|R")]),
    );
    s.at(60);
    let totals = s.totals();
    // `given` sends an empty body
    assert_eq!(
        (
            totals.unread_traces,
            totals.malformed,
            totals.ended_by_client_trace
        ),
        (4, 1, 0)
    );
}

#[test]
fn what_is_polled_or_not_to_be_traced_waits_for_nothing() {
    let mut s = Script::new();
    let (c, t) = (s.connect(), s.connect());
    s.write(t, traced(100, "cg", &[]));
    let lite = |opaque, offset, commit| {
        let mut frame = pull(opaque, "cg", "orders", 0, offset, commit);
        frame.set_code(LITE_PULL);
        frame
    };
    s.at(1).write(c, lite(1, 1, None));
    s.at(10).read(c, found(1, 2, &[message("orders", 1, K1)]));
    s.at(11).write(c, pull(2, "cg", "orders", 1, 2, None));
    let quiet = message("orders", 2, K2).with("TRACE_ON=false").queue(1);
    s.at(20).read(c, found(2, 3, &[quiet]));
    // records of what `poll` handed out
    s.at(30).write(t, traced(101, "cg", &call(K1, 25, 25).both()));
    s.at(50).write(c, update_offset(3, "cg", "orders", 0, 2));
    s.at(51).write(c, update_offset(4, "cg", "orders", 1, 3));
    assert_snapshot!(so_far(&s));
}

#[test]
fn a_process_that_ends_tells_nothing_more() {
    let (mut s, c, t) = given();
    s.at(50).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    s.at(60).exit(100);
    s.at(70).write(t, traced(101, "cg", &call(K1, 20, 30).both()));
    assert_snapshot!(brief(&s.spans()));
}
