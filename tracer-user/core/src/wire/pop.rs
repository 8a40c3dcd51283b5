//! Pop consumption: the handle of a delivered message (§5.4), and acknowledgements in one request (§2.6).
//!
//! ```text
//! handle: startOffset · popTime · invisibleTime · reviveQueueId · kind · brokerName · queueId · queueOffset [· physicalOffset]
//! ```
//!
//! separated by single spaces. Limits: [`MAX_BITS`] messages in one entry of a batch.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::Malformed;

/// Most messages that one entry of a batch acknowledges. Java's clients are given 32 at once.
pub const MAX_BITS: usize = 64 * 1024;

/// Which topic a popped message is stored in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The topic itself.
    Normal,
    /// `%RETRY%group_topic`.
    RetryV1,
    /// `%RETRY%group+topic`.
    RetryV2,
}

impl Kind {
    /// The kind of a handle's field.
    pub fn from_wire(text: &str) -> Option<Kind> {
        match text {
            "0" => Some(Kind::Normal),
            "1" => Some(Kind::RetryV1),
            "2" => Some(Kind::RetryV2),
            _ => None,
        }
    }

    /// The kind of a topic for a group, and the topic that the group asked for.
    pub fn of_topic<'a>(topic: &'a str, group: &str) -> (Kind, &'a str) {
        let behind = topic
            .strip_prefix("%RETRY%")
            .and_then(|rest| rest.strip_prefix(group));
        match behind.and_then(|rest| rest.split_at_checked(1)) {
            Some(("_", asked)) if !asked.is_empty() => (Kind::RetryV1, asked),
            Some(("+", asked)) if !asked.is_empty() => (Kind::RetryV2, asked),
            _ => (Kind::Normal, topic),
        }
    }
}

/// What names one delivery of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle<'a> {
    /// Broker's clock, epoch milliseconds.
    pub pop_time: i64,
    /// How long the message is hidden from others, milliseconds.
    pub invisible_time: i64,
    /// Which topic it is stored in.
    pub kind: Kind,
    /// Name of the broker.
    pub broker_name: &'a str,
    /// Queue of the topic that it is stored in.
    pub queue_id: i64,
    /// Offset in that queue.
    pub queue_offset: i64,
}

impl<'a> Handle<'a> {
    /// Reads a handle: `extraInfo` of a request, property `POP_CK` of a message.
    pub fn parse(text: &'a str) -> Option<Handle<'a>> {
        let mut fields = text.split(' ').skip(1);
        let pop_time = fields.next()?.parse().ok()?;
        let invisible_time = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(1);
        Some(Handle {
            pop_time,
            invisible_time,
            kind: Kind::from_wire(fields.next()?)?,
            broker_name: fields.next()?,
            queue_id: fields.next()?.parse().ok()?,
            queue_offset: fields.next()?.parse().ok()?,
        })
    }
}

/// The body of BATCH_ACK_MESSAGE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BatchAck {
    /// Name of the broker; empty where it is not given.
    pub broker_name: String,
    /// What is acknowledged.
    pub acks: Vec<Ack>,
}

/// Messages of one queue that one pop brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Consumer group.
    pub group: String,
    /// The topic that was asked for.
    pub topic: String,
    /// Which topic the messages are stored in.
    pub kind: Kind,
    /// Queue of that topic.
    pub queue_id: i64,
    /// Broker's clock, epoch milliseconds.
    pub pop_time: i64,
    start_offset: i64,
    bits: Vec<u8>,
}

impl BatchAck {
    /// Reads the JSON body; names come in the short or the long form.
    ///
    /// # Errors
    /// [`Malformed`] where it is no JSON object with `acks`, an entry lacks a field, or is over the limit.
    pub fn parse(body: &[u8]) -> Result<BatchAck, Malformed> {
        let malformed = Malformed {
            what: "batch ack",
            at: 0,
        };
        let value: Value = serde_json::from_slice(body).map_err(|_| malformed)?;
        let acks = value.get("acks").and_then(Value::as_array).ok_or(malformed)?;
        Ok(BatchAck {
            broker_name: text(&value, ["brokerName"]).unwrap_or_default().to_owned(),
            acks: acks
                .iter()
                .map(|value| ack(value).ok_or(malformed))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Ack {
    /// Offsets in the queue of the acknowledged messages.
    pub fn offsets(&self) -> impl Iterator<Item = i64> {
        let set = |n: &i64| {
            let byte = usize::try_from(n / 8).ok().and_then(|byte| self.bits.get(byte));
            byte.is_some_and(|byte| byte >> (n % 8) & 1 != 0)
        };
        let bits = 8 * self.bits.len() as i64;
        (0..bits)
            .filter(set)
            .filter_map(|n| self.start_offset.checked_add(n))
    }
}

fn ack(value: &Value) -> Option<Ack> {
    Some(Ack {
        group: text(value, ["c", "consumerGroup"])?.to_owned(),
        topic: text(value, ["t", "topic"])?.to_owned(),
        kind: kind(field(value, ["r", "retry"])?)?,
        queue_id: int(value, ["q", "queueId"])?,
        pop_time: int(value, ["pt", "popTime"])?,
        start_offset: int(value, ["so", "startOffset"])?,
        bits: bits(field(value, ["b", "bitSet"])?)?,
    })
}

/// The bytes of a bit set: in base64, or as the numbers that rocketmq-rust writes.
fn bits(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) if text.len() <= MAX_BITS / 6 => BASE64_STANDARD.decode(text).ok(),
        Value::Array(bytes) if bytes.len() <= MAX_BITS / 8 => {
            let bytes = bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
            bytes.collect()
        }
        _ => None,
    }
}

fn field<'a, const N: usize>(value: &'a Value, names: [&str; N]) -> Option<&'a Value> {
    names.iter().find_map(|name| value.get(name))
}

fn text<'a, const N: usize>(value: &'a Value, names: [&str; N]) -> Option<&'a str> {
    field(value, names)?.as_str()
}

/// A number; brokers take it as text too.
fn int<const N: usize>(value: &Value, names: [&str; N]) -> Option<i64> {
    let value = field(value, names)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// A text; brokers take it as a number too.
fn kind(value: &Value) -> Option<Kind> {
    match value {
        Value::Number(number) => Kind::from_wire(&number.to_string()),
        _ => Kind::from_wire(value.as_str()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles() {
        let handle = Handle {
            pop_time: 1_758_272_402_123,
            invisible_time: 60_000,
            kind: Kind::RetryV1,
            broker_name: "broker-a",
            queue_id: 2,
            queue_offset: 1235,
        };
        for text in [
            "1234 1758272402123 60000 4 1 broker-a 2 1235",
            "1234 1758272402123 60000 4 1 broker-a 2 1235 128160",
        ] {
            assert_eq!(Handle::parse(text), Some(handle), "{text}");
        }
        for text in [
            "",
            "1234 1758272402123 60000 4 1 broker-a 2",
            "1234 x 60000 4 1 broker-a 2 1235",
            "1234 1758272402123 60000 4 3 broker-a 2 1235",
            "1234  1758272402123 60000 4 1 broker-a 2 1235",
        ] {
            assert_eq!(Handle::parse(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_of_topics() {
        for (topic, kind, asked) in [
            ("orders", Kind::Normal, "orders"),
            ("%RETRY%cg_orders", Kind::RetryV1, "orders"),
            ("%RETRY%cg+orders", Kind::RetryV2, "orders"),
            ("%RETRY%cg", Kind::Normal, "%RETRY%cg"),
            ("%RETRY%cg_", Kind::Normal, "%RETRY%cg_"),
            ("%RETRY%cg2_orders", Kind::Normal, "%RETRY%cg2_orders"),
            ("%RETRY%cgé", Kind::Normal, "%RETRY%cgé"),
        ] {
            assert_eq!(Kind::of_topic(topic, "cg"), (kind, asked), "{topic}");
        }
    }

    #[test]
    fn batches_in_all_forms() {
        for body in [
            r#"{"brokerName":"broker-a","acks":[{"c":"cg","t":"orders","r":"0","so":1234,"q":2,"rq":4,"pt":5,"it":6,"b":"BQE="}]}"#,
            r#"{"brokerName":"broker-a","acks":[{"consumerGroup":"cg","topic":"orders","retry":"0","startOffset":1234,
                "queueId":2,"reviveQueueId":4,"popTime":5,"invisibleTime":6,"bitSet":"BQE="}]}"#,
            r#"{"brokerName":"broker-a","acks":[{"c":"cg","t":"orders","r":"0","so":1234,"q":2,"rq":4,"pt":5,"it":6,
                "b":[5,1,0,0,0,0,0,0]}]}"#,
            r#"{"brokerName":"broker-a","acks":[{"c":"cg","t":"orders","r":0,"so":"1234","q":"2","rq":"4","pt":"5","it":"6",
                "b":"BQE="}]}"#,
        ] {
            let batch = BatchAck::parse(body.as_bytes()).unwrap();
            assert_eq!(batch.broker_name, "broker-a");
            let [ack] = &batch.acks[..] else {
                panic!("{batch:?}")
            };
            assert_eq!((ack.group.as_str(), ack.topic.as_str()), ("cg", "orders"));
            assert_eq!((ack.kind, ack.queue_id, ack.pop_time), (Kind::Normal, 2, 5));
            assert_eq!(ack.offsets().collect::<Vec<_>>(), [1234, 1236, 1242]);
        }
    }

    #[test]
    fn malformed_batches() {
        let long = "A".repeat(MAX_BITS);
        for body in [
            "",
            "{}",
            r#"{"acks":[{}]}"#,
            r#"{"acks":[{"c":"cg","t":"orders","r":"0","so":1,"q":2,"pt":5,"b":"?"}]}"#,
            r#"{"acks":[{"c":"cg","t":"orders","r":"0","so":1,"q":2,"pt":5,"b":[256]}]}"#,
            r#"{"acks":[{"c":"cg","t":"orders","r":"0","so":1,"q":2,"pt":5,"b":{}}]}"#,
            &format!(r#"{{"acks":[{{"c":"cg","t":"orders","r":"0","so":1,"q":2,"pt":5,"b":"{long}"}}]}}"#),
        ] {
            assert!(BatchAck::parse(body.as_bytes()).is_err(), "{body:.60}");
        }
    }
}
