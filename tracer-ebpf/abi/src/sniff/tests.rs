//! Real first bytes: RocketMQ's own, cut at every length, and those of protocols that are like it.

use super::*;

/// SEND_MESSAGE_V2, JSON, of a Java client (vector T1 of the specification).
const JSON: &[u8] = b"\x00\x00\x01\xd8\x00\x00\x01\xc9{\"code\":310,\"extFields\":{\"a\"";
/// SEND_MESSAGE_V2, binary (T3).
const BINARY: &[u8] =
    b"\x00\x00\x00\xe7\x01\x00\x00\xe1\x01\x36\x00\x01\xdf\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xcc\x00\x01a";
/// An error answer with a remark, binary (T5).
const REMARK: &[u8] =
    b"\x00\x00\x00\x53\x01\x00\x00\x4f\x00\x02\x00\x01\xdf\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x3a[REJECT";

fn judge(bytes: &[u8]) -> Verdict {
    let mut b = [0xee; PREFIX];
    let n = bytes.len().min(PREFIX);
    b[..n].copy_from_slice(&bytes[..n]);
    sniff(&b, n)
}

/// Every shorter prefix is undecided up to `at` bytes, and then as `verdict` says.
#[track_caller]
fn decided_at(bytes: &[u8], at: usize, verdict: Verdict) {
    for n in 0..=bytes.len() {
        let expected = if n < at { Verdict::More } else { verdict };
        assert_eq!(judge(&bytes[..n]), expected, "{n} bytes");
    }
}

#[test]
fn frames() {
    decided_at(JSON, 12, Verdict::Frame);
    decided_at(BINARY, 29, Verdict::Frame);
    decided_at(
        REMARK,
        29,
        Verdict::FrameIf {
            at: 25 + 58,
            value: 0,
        },
    );
    // a table in any order, as Lua writes it
    decided_at(
        b"\0\0\0\x60\0\0\0\x5c{\"opaque\":1,\"code\":105",
        12,
        Verdict::Frame,
    );
    // the smallest: no remark, no fields, no body
    let mut empty = [0; 29];
    (empty[3], empty[4], empty[7]) = (25, 1, 21);
    decided_at(&empty, 29, Verdict::Frame);
}

#[test]
fn bounds_of_the_envelope() {
    let with = |at: usize, to: u8| {
        let mut b = [0; PREFIX];
        b.copy_from_slice(&BINARY[..PREFIX]);
        b[at] = to;
        sniff(&b, PREFIX)
    };
    assert_eq!(with(0, 0), Verdict::Frame);
    for (at, to, what) in [
        (0, 1, "a frame of 16 MiB and more"),
        (3, 0xe4, "a header longer than the frame"),
        (4, 2, "an unknown codec"),
        (7, 20, "a header shorter than its fixed part"),
        (7, 0xe0, "a header whose lengths do not add up"),
        (10, 14, "an unknown language"),
        (11, 4, "a version beyond the table"),
        (20, 4, "an unknown flag"),
        (21, 1, "a remark longer than the header"),
    ] {
        assert_eq!(with(at, to), Verdict::Other, "{what}");
    }
    // a sum of lengths that overflows
    let mut fields = BINARY[..PREFIX].to_vec();
    fields[25..29].fill(0xff);
    assert_eq!(judge(&fields), Verdict::Other);
    // 24, and 16 MiB less 3, are no lengths
    assert_eq!(judge(b"\0\0\0\x18\x01"), Verdict::Other);
    assert_eq!(judge(b"\0\xff\xff\xfd\x01"), Verdict::Other);
    assert_eq!(judge(b"\0\xff\xff\xfc\x01"), Verdict::More);
    // JSON: 39 bytes hold no header; a key is needed
    assert_eq!(judge(b"\0\0\x01\0\0\0\0\x27{\"code\":1"), Verdict::Other);
    assert_eq!(judge(b"\0\0\x01\0\0\0\0\x28{\"code\":1"), Verdict::Frame);
    assert_eq!(judge(b"\0\0\x01\0\0\0\0\x28{\"Code\":1"), Verdict::Other);
    assert_eq!(judge(b"\0\0\x01\0\0\0\0\x28{}  \":1"), Verdict::Other);
}

#[test]
fn other_protocols() {
    let others: &[(&str, &[u8])] = &[
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n"),
        (
            "HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0",
        ),
        (
            "HTTP/2 settings",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\x06\0\0\x40\0",
        ),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 random of 32 b"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("PROXY v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 56"),
        ("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01"),
        ("Redis", b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"),
        ("memcached", b"get key\r\n"),
        ("memcached binary", b"\x80\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0\0"),
        ("MySQL", b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0salt"),
        (
            "PostgreSQL startup",
            b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0po",
        ),
        ("PostgreSQL SSLRequest", b"\0\0\0\x08\x04\xd2\x16\x2f"),
        ("MongoDB", b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0"),
        (
            "Kafka ApiVersions",
            b"\0\0\0\x2f\0\x12\0\x03\0\0\0\x01\0\x0aproducer-1\0",
        ),
        (
            "Kafka Produce",
            b"\0\0\x04\x2f\0\0\0\x09\0\0\0\x2a\0\x0aproducer-1\0\0\0",
        ),
        (
            "Kafka Metadata",
            b"\0\0\0\x3f\0\x03\0\x0c\0\0\0\x02\0\x0aproducer-1\0",
        ),
        (
            "Kafka answer",
            b"\0\0\x01\x3f\0\0\0\x2a\0\0\0\0\0\0\0\x05topic\0\0\0\0\0\0\0",
        ),
        ("Pulsar", b"\0\0\0\x30\0\0\0\x2c\x08\x02\x12\x28\x0a\x05pulsar"),
        (
            "ZooKeeper connect",
            b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10",
        ),
        (
            "ZooKeeper request",
            b"\0\0\0\x2d\0\0\0\x31\0\0\0\x08\0\0\0\x0e/path/of/node",
        ),
        ("AMQP 0-9-1", b"AMQP\0\0\x09\x01"),
        ("MQTT", b"\x10\x20\0\x04MQTT\x05\x02\0\x3c"),
        ("NATS", b"INFO {\"server_id\":\"x\"}\r\n"),
        (
            "Thrift, framed",
            b"\0\0\0\x2a\x80\x01\0\x01\0\0\0\x04ping\0\0\0\0",
        ),
        ("Dubbo", b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01\0\0\0\xf0"),
        ("Cassandra", b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION"),
        ("SMB2", b"\0\0\0\x66\xfeSMB\x40\0\0\0\0\0\0\0\0\0"),
        ("LDAP", b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0"),
        ("RocketMQ HA", b"\0\0\0\0\0\x01\xf4\xa0"),
        ("JSON behind a length", b"\0\0\0\x50{\"code\":1,\"opaque\":2}"),
        ("text", b"\0\0 zeros and then text, like noise"),
        ("zeros", &[0; PREFIX]),
    ];
    for (name, bytes) in others {
        assert_eq!(judge(bytes), Verdict::Other, "{name}");
    }
}

#[test]
fn foreign_protocols() {
    for (bytes, protocol) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], Some(Protocol::TLS)),
        (b"\x17\x03\x03", Some(Protocol::TLS)),
        (b"\x16\x03", None),
        (b"\x16\x02\x01", None),
        (b"\x18\x03\x03", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::HTTP2)),
        (b"PRI *", None),
        (b"GET / HTTP/1.1", None),
        (JSON, None),
        (BINARY, None),
    ] {
        let mut b = [0xee; PREFIX];
        let n = bytes.len().min(PREFIX);
        b[..n].copy_from_slice(&bytes[..n]);
        assert_eq!(foreign(&b, n), protocol, "{bytes:?}");
    }
}
