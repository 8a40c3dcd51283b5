//! The body of HEART_BEAT (§2.6): the one frame in which a client names itself.
//!
//! Clients leave keys out and write some with other types, so the body is read as any JSON object and what is
//! missing or of the wrong type stays empty. Only a body that is no JSON object is an error.

use serde_json::Value;

use super::Malformed;

/// What a client says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// `clientID`.
    pub client_id: String,
    /// Producer groups.
    pub producers: Vec<String>,
    /// Consumer groups.
    pub consumers: Vec<Consumer>,
    /// A light heartbeat (v2): subscriptions are left out because they have not changed.
    pub without_sub: bool,
}

/// One consumer group of a client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Consumer {
    /// Group name.
    pub group: String,
    /// `CONSUME_ACTIVELY` (pull), `CONSUME_PASSIVELY` (push) or `CONSUME_POP`.
    pub consume_type: String,
    /// `true` for `BROADCASTING`, `false` for `CLUSTERING`.
    pub broadcasting: bool,
    /// What it subscribes to.
    pub subscriptions: Vec<Subscription>,
}

/// One subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    /// Topic.
    pub topic: String,
    /// Filter text.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// Tags of a TAG filter; empty: all.
    pub tags: Vec<String>,
}

impl Heartbeat {
    /// Reads the JSON body.
    ///
    /// # Errors
    /// [`Malformed`] where it is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Heartbeat, Malformed> {
        let value: Value = serde_json::from_slice(body).map_err(|e| Malformed {
            what: "heartbeat",
            at: offset(body, e.line(), e.column()),
        })?;
        if !value.is_object() {
            return Err(Malformed {
                what: "heartbeat",
                at: 0,
            });
        }
        let producers = list(&value, "producerDataSet").map(|p| text(p, "groupName"));
        Ok(Heartbeat {
            client_id: text(&value, "clientID"),
            producers: producers.filter(|group| !group.is_empty()).collect(),
            consumers: list(&value, "consumerDataSet").map(consumer).collect(),
            without_sub: value.get("withoutSub").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

fn consumer(value: &Value) -> Consumer {
    Consumer {
        group: text(value, "groupName"),
        consume_type: constant(
            value,
            "consumeType",
            &["CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"],
        ),
        broadcasting: constant(value, "messageModel", &["BROADCASTING", "CLUSTERING"]) == "BROADCASTING",
        subscriptions: list(value, "subscriptionDataSet").map(subscription).collect(),
    }
}

fn subscription(value: &Value) -> Subscription {
    Subscription {
        topic: text(value, "topic"),
        expression: text(value, "subString"),
        expression_type: text(value, "expressionType"),
        tags: list(value, "tagsSet")
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A constant by its name, or, as the C++ client writes it, by its number.
fn constant(value: &Value, key: &str, names: &[&str]) -> String {
    let number = value.get(key).and_then(Value::as_u64);
    let named = number.and_then(|number| names.get(usize::try_from(number).ok()?));
    named.map_or_else(|| text(value, key), |name| (*name).to_owned())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The byte that `serde_json` means with a line and a column, both counted from 1.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body
        .split_inclusive(|b| *b == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + column.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_as_the_cpp_client_writes_them() {
        let heartbeat = |model: u8, kind: u8| {
            let body = format!(
                r#"{{"clientID":"1@2","consumerDataSet":[{{"groupName":"g","consumeFromWhere":0,"consumeType":{kind},
                    "messageModel":{model},"subscriptionDataSet":[]}}],"producerDataSet":null}}"#
            );
            let consumer = Heartbeat::parse(body.as_bytes()).unwrap().consumers.remove(0);
            (consumer.consume_type, consumer.broadcasting)
        };
        assert_eq!(heartbeat(0, 1), ("CONSUME_PASSIVELY".to_owned(), true));
        assert_eq!(heartbeat(1, 0), ("CONSUME_ACTIVELY".to_owned(), false));
        assert_eq!(heartbeat(2, 9), (String::new(), false));
    }

    #[test]
    fn consumers_and_producers() {
        let heartbeat = Heartbeat::parse(
            br#"{"clientID":"1@2","heartbeatFingerprint":7,"withoutSub":true,
                "producerDataSet":[{"groupName":"p1"},{"groupName":""},{}],
                "consumerDataSet":[{"groupName":"c1","consumeType":"CONSUME_ACTIVELY","messageModel":"BROADCASTING",
                    "subscriptionDataSet":[{"topic":"T","subString":"a || b","expressionType":"TAG",
                        "tagsSet":["a","b",3],"codeSet":[97,98]}]}]}"#,
        )
        .unwrap();
        let subscription = Subscription {
            topic: "T".into(),
            expression: "a || b".into(),
            expression_type: "TAG".into(),
            tags: vec!["a".into(), "b".into()],
        };
        let consumer = Consumer {
            group: "c1".into(),
            consume_type: "CONSUME_ACTIVELY".into(),
            broadcasting: true,
            subscriptions: vec![subscription],
        };
        let expected = Heartbeat {
            client_id: "1@2".into(),
            producers: vec!["p1".into()],
            consumers: vec![consumer],
            without_sub: true,
        };
        assert_eq!(heartbeat, expected);
    }

    #[test]
    fn missing_and_mistyped_keys_stay_empty() {
        for body in [
            "{}",
            r#"{"clientID":5,"producerDataSet":{},"consumerDataSet":null,"withoutSub":"x"}"#,
        ] {
            assert_eq!(
                Heartbeat::parse(body.as_bytes()),
                Ok(Heartbeat::default()),
                "{body}"
            );
        }
        let consumers = Heartbeat::parse(br#"{"consumerDataSet":[1,{"tagsSet":1}]}"#)
            .unwrap()
            .consumers;
        assert_eq!(consumers, [Consumer::default(), Consumer::default()]);
    }

    #[test]
    fn not_an_object() {
        assert_eq!(
            Heartbeat::parse(b"[]"),
            Err(Malformed {
                what: "heartbeat",
                at: 0
            })
        );
        assert_eq!(
            Heartbeat::parse(b"{\n  x}"),
            Err(Malformed {
                what: "heartbeat",
                at: 4
            })
        );
        assert!(Heartbeat::parse(b"").is_err());
    }
}
