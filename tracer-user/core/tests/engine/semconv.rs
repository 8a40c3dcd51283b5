//! The check that every scripted span goes through finds what is wrong, and the table knows every attribute.

use tracer_core::model::{Attribute, Span, SpanKind, Status, Value, attribute::*};

use super::support::*;

/// A span that is right, changed.
fn wrong(change: impl Fn(&mut Span)) -> String {
    let mut script = Script::new();
    let conn = script.connect();
    script.write(conn, send(1, "orders", &format!("UNIQ_KEY={K1};__SHARDINGKEY=k")));
    script.at(2).read(conn, sent(1, 0));
    let mut span = script.spans().remove(0);
    change(&mut span);
    problems(&span).join("; ")
}

fn set(span: &mut Span, key: Key, value: impl Into<Value>) {
    span.attributes.retain(|a| a.key != key);
    span.attributes.push(Attribute::new(key, value));
}

fn unset(span: &mut Span, key: Key) {
    span.attributes.retain(|a| a.key != key);
}

#[test]
fn what_is_wrong_is_found() {
    let said = [
        wrong(|_| {}),
        wrong(|s| set(s, "messaging.rocketmq.message.tags", "a")),
        wrong(|s| set(s, MESSAGING_DESTINATION_PARTITION_ID, 3_i64)),
        wrong(|s| set(s, MESSAGING_SYSTEM, "RocketMQ")),
        wrong(|s| set(s, MESSAGING_ROCKETMQ_MESSAGE_TYPE, "ordered")),
        wrong(|s| unset(s, MESSAGING_OPERATION_NAME)),
        wrong(|s| set(s, MESSAGING_OPERATION_TYPE, "publish")),
        wrong(|s| unset(s, MESSAGING_ROCKETMQ_NAMESPACE)),
        wrong(|s| unset(s, SERVER_PORT)),
        wrong(|s| set(s, MESSAGING_CONSUMER_GROUP_NAME, "g")),
        wrong(|s| s.kind = SpanKind::Consumer),
        wrong(|s| s.status = Status::Error("".into())),
        wrong(|s| set(s, ERROR_TYPE, "SYSTEM_BUSY")),
        wrong(|s| set(s, MESSAGING_BATCH_MESSAGE_COUNT, 2_i64)),
        wrong(|s| unset(s, MESSAGING_ROCKETMQ_MESSAGE_GROUP)),
        wrong(|s| s.attributes.push(Attribute::new(SERVER_PORT, 1_i64))),
        wrong(|s| set(s, MESSAGING_ROCKETMQ_MESSAGE_TYPE, "delay")),
        wrong(|s| s.topic = "other".into()),
        wrong(|s| s.start.0 = s.end.0 + 1),
        wrong(|s| s.context.span_id.0 = [0; 8]),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

/// No attribute without a line in the tables, and none of our own in the tables that is never made.
#[test]
fn tables_and_keys_agree() {
    for key in ALL {
        let known = known_attributes().any(|(name, _)| name == *key);
        assert!(known, "{key} is not in the tables");
    }
    for (name, _) in known_attributes() {
        assert!(ALL.contains(&name), "{name} has no constant");
    }
}
