//! The vectors of the specification (§7): each decodes to what is said of it.

mod wire_support;

use std::net::SocketAddr;

use tracer_core::wire::{
    BatchMessage, Body, Frame, Heartbeat, Language, RequestCode, ResponseCode, StoredMessage,
    heartbeat::{Consumer, Subscription},
    pop::{BatchAck, Handle, Kind},
    sys_flag::{Compression, Transaction},
};
use wire_support::{frame, vector};

const U1: &str = "0A0102031A2B18B4AAC25EA0DAFB0000";
const U2: &str = "0A0102031A2B18B4AAC25EA0DAFB0001";
const U3: &str = "0A0102031A2B18B4AAC25EA0DAFB0002";
const U6: &str = "20010DB80000000000000000000000101A2B18B4AAC25EA0DAFB0007";
const OM1: &str = "C0A8000A00002A9F000000000001F4A0";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn decode(n: u32) -> Frame {
    let frame = frame(&vector(n));
    assert_eq!(frame.length as usize, vector(n).len());
    assert!(!frame.incomplete);
    frame
}

#[track_caller]
fn head(frame: &Frame, code: i32, opaque: i32, flag: i32) {
    let header = &frame.header;
    assert_eq!((header.code, header.opaque, header.flag), (code, opaque, flag));
}

#[track_caller]
fn fields(frame: &Frame, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(frame.header.field(name).as_deref(), Some(*value), "{name}");
    }
}

fn properties(frame: &Frame) -> Vec<(String, String)> {
    let properties = frame.header.properties().unwrap_or_default();
    properties.iter().map(|(k, v)| (k.into(), v.into())).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

#[test]
fn t01_send_v2_json() {
    let frame = decode(1);
    head(&frame, 310, 7, 0);
    assert_eq!(frame.header.request_code(), RequestCode::SEND_MESSAGE_V2);
    assert_eq!(
        (frame.header.language, frame.header.version),
        (Language::JAVA, 479)
    );
    fields(
        &frame,
        &[
            ("a", "pg-orders"),
            ("b", "OrderTopic"),
            ("e", "2"),
            ("f", "0"),
            ("g", "1758272400123"),
            ("n", "broker-a"),
        ],
    );
    assert_eq!(frame.header.int("g"), Some(1_758_272_400_123));
    let expected = [
        ("KEYS", "order-42"),
        ("UNIQ_KEY", U1),
        ("WAIT", "true"),
        ("TAGS", "TagA"),
        ("traceparent", TRACEPARENT),
    ];
    assert_eq!(properties(&frame), owned(&expected));
    assert_eq!(frame.body, Body::Skipped(11));
    assert_eq!(frame.length, 4 + 472);
}

#[test]
fn t02_send_response_json() {
    let frame = decode(2);
    head(&frame, 0, 7, 1);
    assert_eq!(frame.header.response_code(), ResponseCode::SUCCESS);
    fields(
        &frame,
        &[
            ("msgId", OM1),
            ("queueId", "2"),
            ("queueOffset", "1234"),
            ("transactionId", U1),
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
        ],
    );
    assert_eq!(frame.body, Body::Empty);
}

#[test]
fn t03_send_v2_binary() {
    assert_eq!(vector(3)[4..8], [1, 0, 0, 0xe1]);
    let frame = decode(3);
    head(&frame, 310, 8, 0);
    assert_eq!(
        (frame.header.language, frame.header.version),
        (Language::JAVA, 479)
    );
    assert_eq!(frame.header.remark(), None);
    assert_eq!(frame.header.fields().count(), 13);
    assert_eq!(properties(&frame), owned(&[("UNIQ_KEY", U2), ("WAIT", "true")]));
    assert_eq!(frame.body, Body::Skipped(2));
}

#[test]
fn t04_send_response_binary() {
    let frame = decode(4);
    head(&frame, 0, 8, 1);
    fields(
        &frame,
        &[
            ("msgId", "C0A8000A00002A9F000000000001F6A0"),
            ("queueId", "0"),
            ("queueOffset", "77"),
            ("transactionId", U2),
        ],
    );
    assert_eq!(frame.body, Body::Empty);
}

#[test]
fn t05_error_binary() {
    let frame = decode(5);
    head(&frame, 2, 9, 1);
    assert_eq!(frame.header.response_code().to_string(), "SYSTEM_BUSY");
    let remark = "[REJECTREQUEST]system busy, start flow control for a while";
    assert_eq!(frame.header.remark().as_deref(), Some(remark));
    assert_eq!(remark.len(), 58);
    assert_eq!(frame.header.fields().count(), 0);
}

#[test]
fn t06_pull() {
    let frame = decode(6);
    head(&frame, 11, 21, 0);
    fields(
        &frame,
        &[
            ("consumerGroup", "cg-orders"),
            ("topic", "OrderTopic"),
            ("queueId", "2"),
            ("queueOffset", "1234"),
            ("commitOffset", "1230"),
            ("sysFlag", "3"),
            ("suspendTimeoutMillis", "15000"),
        ],
    );
}

/// Record A of T7 and T10.
fn record_a() -> Vec<(&'static str, &'static str)> {
    vec![
        ("KEYS", "order-42"),
        ("MSG_REGION", "DefaultRegion"),
        ("UNIQ_KEY", U1),
        ("CLUSTER", "DefaultCluster"),
        ("WAIT", "true"),
        ("TAGS", "TagA"),
        ("traceparent", TRACEPARENT),
        ("TRACE_ON", "true"),
    ]
}

#[track_caller]
fn assert_record_a(message: &StoredMessage) {
    assert_eq!(
        (message.queue_id, message.queue_offset, message.physical_offset),
        (2, 1234, 0x1f4a0)
    );
    assert_eq!(
        (message.flag, message.sys_flag, message.reconsume_times),
        (0, 0, 0)
    );
    assert_eq!(message.born_timestamp, 1_758_272_400_123);
    assert_eq!(message.born_host.ip(), SocketAddr::from(([10, 1, 2, 3], 0)).ip());
    assert_eq!(message.store_host, SocketAddr::from(([192, 168, 0, 10], 10911)));
    assert_eq!(message.body_length, 11);
    assert_eq!(&*message.topic, "OrderTopic");
    assert_eq!(message.properties.iter().collect::<Vec<_>>(), record_a());
    assert_eq!(message.properties.0.last(), Some(&2));
    assert_eq!(message.offset_message_id(), OM1);
}

#[test]
fn t07_pull_response() {
    let frame = decode(7);
    head(&frame, 0, 21, 1);
    fields(&frame, &[("nextBeginOffset", "1236"), ("maxOffset", "1236")]);
    assert_eq!(frame.header.remark().as_deref(), Some("FOUND"));
    let Body::Messages(messages) = &frame.body else {
        panic!("{:?}", frame.body)
    };
    let [a, b] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_record_a(a);
    assert_eq!(
        (b.queue_id, b.queue_offset, b.physical_offset),
        (2, 1235, 0x1f5de)
    );
    assert_eq!((b.flag, b.sys_flag, b.reconsume_times), (5, 0x331, 1));
    assert_eq!(b.system_flags().compression(), Some(Compression::Zlib));
    assert_eq!(b.system_flags().transaction(), Transaction::None);
    assert_eq!(b.born_host.ip().to_string(), "2001:db8::10");
    assert_eq!(b.store_host.to_string(), "[2001:db8::20]:10911");
    assert_eq!((b.body_length, &*b.topic), (12, "T".repeat(128).as_str()));
    assert_eq!(
        b.properties.iter().collect::<Vec<_>>(),
        [("UNIQ_KEY", U6), ("CLUSTER", "DefaultCluster")]
    );
    assert_ne!(b.properties.0.last(), Some(&2));
    assert_eq!(
        b.offset_message_id(),
        "20010DB800000000000000000000002000002A9F000000000001F5DE"
    );
}

#[test]
fn t07_records_alone() {
    let bytes = vector(7);
    let body = &bytes[bytes.len() - 318 - 344..];
    assert_record_a(&StoredMessage::parse(&body[..318]).unwrap());
    assert_eq!(StoredMessage::parse(&body[318..]).unwrap().queue_offset, 1235);
    for end in 0..318 {
        assert!(StoredMessage::parse(&body[..end]).is_err(), "{end}");
    }
    assert!(StoredMessage::parse(&body[..319]).is_err());
}

#[test]
fn t08_nothing_found() {
    let frame = decode(8);
    head(&frame, 19, 22, 1);
    assert_eq!(frame.header.response_code(), ResponseCode::PULL_NOT_FOUND);
    assert_eq!(frame.header.remark().as_deref(), Some("NO_MESSAGE_IN_QUEUE"));
}

#[test]
fn t09_pop() {
    let frame = decode(9);
    head(&frame, 200050, 31, 0);
    assert_eq!(frame.header.request_code().name(), Some("POP_MESSAGE"));
    fields(
        &frame,
        &[
            ("queueId", "-1"),
            ("invisibleTime", "60000"),
            ("pollTime", "15000"),
        ],
    );
    assert_eq!(frame.header.int("queueId"), Some(-1));
}

#[test]
fn t10_pop_response() {
    let frame = decode(10);
    head(&frame, 0, 31, 1);
    let expected = [
        ("popTime", "1758272402123"),
        ("reviveQid", "4"),
        ("startOffsetInfo", "0 2 1234"),
        ("msgOffsetInfo", "0 2 1234"),
    ];
    fields(&frame, &expected);
    let Body::Messages(messages) = &frame.body else {
        panic!("{:?}", frame.body)
    };
    let [a] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_record_a(a);
}

#[test]
fn t11_t12_ack() {
    let frame = decode(11);
    head(&frame, 200051, 32, 0);
    fields(
        &frame,
        &[
            ("extraInfo", "1234 1758272402123 60000 4 0 broker-a 2 1234"),
            ("offset", "1234"),
        ],
    );
    let info = frame.header.field("extraInfo").unwrap();
    let handle = Handle::parse(&info).unwrap();
    assert_eq!(
        (handle.pop_time, handle.invisible_time, handle.kind),
        (1_758_272_402_123, 60_000, Kind::Normal)
    );
    assert_eq!(
        (handle.broker_name, handle.queue_id, handle.queue_offset),
        ("broker-a", 2, 1234)
    );
    let frame = decode(12);
    head(&frame, 0, 32, 1);
    assert_eq!(frame.header.fields().count(), 0);
}

#[test]
fn t13_batch_ack() {
    let frame = decode(13);
    head(&frame, 200151, 33, 0);
    let Body::Raw(body) = &frame.body else {
        panic!("{:?}", frame.body)
    };
    let batch = BatchAck::parse(body).unwrap();
    assert_eq!(batch.broker_name, "broker-a");
    let [ack] = &batch.acks[..] else {
        panic!("{batch:?}")
    };
    assert_eq!((ack.group.as_str(), ack.topic.as_str()), ("cg-pop", "OrderTopic"));
    assert_eq!(
        (ack.kind, ack.queue_id, ack.pop_time),
        (Kind::Normal, 2, 1_758_272_402_123)
    );
    assert_eq!(ack.offsets().collect::<Vec<_>>(), [1234, 1236]);
}

#[test]
fn t14_batch_send() {
    let frame = decode(14);
    head(&frame, 320, 40, 0);
    assert_eq!(frame.header.bool("m"), Some(true));
    assert_eq!(frame.header.properties().unwrap().get("UNIQ_KEY"), Some(U3));
    let Body::Batch(messages) = &frame.body else {
        panic!("{:?}", frame.body)
    };
    let [one, two] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!((one.flag, one.body_length), (0, 5));
    assert_eq!(
        one.properties.iter().collect::<Vec<_>>(),
        [("UNIQ_KEY", U1), ("WAIT", "true")]
    );
    assert_eq!(two.body_length, 6);
    assert_eq!(
        two.properties.iter().collect::<Vec<_>>(),
        [("UNIQ_KEY", U2), ("WAIT", "true"), ("TAGS", "TagB")]
    );
    let bytes = vector(14);
    let body = &bytes[bytes.len() - 169..];
    assert_eq!(BatchMessage::parse(&body[..79]).as_ref(), Ok(one));
    assert!((0..79).all(|end| BatchMessage::parse(&body[..end]).is_err()));
}

#[test]
fn t15_batch_response() {
    let frame = decode(15);
    head(&frame, 0, 40, 1);
    let ids = "C0A8000A00002A9F0000000000020000,C0A8000A00002A9F00000000000200B0";
    fields(
        &frame,
        &[("msgId", ids), ("queueOffset", "500"), ("transactionId", U3)],
    );
}

#[test]
fn t16_end_transaction() {
    let frame = decode(16);
    head(&frame, 37, 51, 2);
    assert!(frame.header.is_one_way());
    fields(&frame, &[("commitOrRollback", "8"), ("msgId", U1)]);
}

#[test]
fn t17_commit_binary() {
    let frame = decode(17);
    head(&frame, 15, 60, 2);
    assert_eq!(frame.header.int("commitOffset"), Some(1236));
}

#[test]
fn t18_send_back() {
    let frame = decode(18);
    head(&frame, 36, 61, 0);
    assert_eq!(frame.header.int("offset"), Some(0x1f4a0));
    fields(&frame, &[("originMsgId", U1)]);
}

#[test]
fn t19_go() {
    let frame = decode(19);
    head(&frame, 10, 3, 0);
    assert_eq!((frame.header.language, frame.header.version), (Language::GO, 317));
    assert_eq!(frame.header.remark().as_deref(), Some(""));
    let properties = frame.header.properties().unwrap();
    assert_eq!(
        properties.get("UNIQ_KEY"),
        Some("0A0102031A2B000000005ea0da800001")
    );
    assert_eq!(frame.body, Body::Skipped(5));
}

#[test]
fn t20_cpp() {
    let bytes = vector(20);
    assert_eq!(bytes[bytes.len() - "hi cpp".len() - 1], b'\n');
    let frame = decode(20);
    head(&frame, 310, 5, 0);
    assert_eq!(
        (frame.header.language, frame.header.version),
        (Language::CPP, 333)
    );
    let expected = [
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("h", "0"),
        ("l", "0"),
        ("AccessKey", ""),
        ("OnsChannel", ""),
        ("Signature", ""),
    ];
    fields(&frame, &expected);
    assert_eq!(frame.header.properties().unwrap().get("UNIQ_KEY"), Some(U1));
}

#[test]
fn t21_trace_records_are_a_body_like_any_other() {
    let send = wire_support::json_frame(310, 1, 0, &[("b", "RMQ_SYS_TRACE_TOPIC")], &vector(21));
    assert_eq!(frame(&send).body, Body::Skipped(407));
}

#[test]
fn t22_heartbeat() {
    let frame = decode(22);
    head(&frame, 34, 2, 0);
    assert_eq!(frame.header.fields().count(), 0);
    let Body::Raw(body) = &frame.body else {
        panic!("{:?}", frame.body)
    };
    let subscription = Subscription {
        topic: "OrderTopic".into(),
        expression: "*".into(),
        expression_type: "TAG".into(),
        tags: Vec::new(),
    };
    let consumer = Consumer {
        group: "cg-orders".into(),
        consume_type: "CONSUME_PASSIVELY".into(),
        broadcasting: false,
        subscriptions: vec![subscription],
    };
    let expected = Heartbeat {
        client_id: "10.1.2.3@6699#123456789".into(),
        producers: vec!["CLIENT_INNER_PRODUCER".into()],
        consumers: vec![consumer],
        without_sub: false,
    };
    assert_eq!(Heartbeat::parse(body), Ok(expected));
}
