//! Which names a span's attributes have.
//!
//! Spans are made with the names of semantic conventions v1.44 ([`Naming::New`]). Dashboards that were built on the
//! tracing page of ApsaraMQ for RocketMQ, as those of SLS and ARMS, want the names of that page ([`Naming::Old`]); both
//! sets together are [`Naming::Dup`], whose span name and kind, of which there can be only one, are the new ones.
//!
//! | new | old |
//! |---|---|
//! | `messaging.destination.name` | `messaging.destination` |
//! | `messaging.operation.name`, `messaging.operation.type` | `messaging.operation`: `send`, `receive`, `process`, `create`; `acknowledge` for whatever settles |
//! | `messaging.client.id` | `messaging.rocketmq.client_id` |
//! | `messaging.consumer.group.name`, `messaging.rocketmq.producer_group` | `messaging.rocketmq.client_group` |
//! | name `send orders`, `receive orders`, `process orders` | `orders send`, `orders receive`, `orders process` |
//! | a receive is CLIENT, a send with a foreign context too | CONSUMER, PRODUCER |
//!
//! Everything else is called the same in both.

use super::{Attribute, Key, Operation, Span, SpanKind, attribute::*};

/// A set of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// Semantic conventions v1.44.
    #[default]
    New,
    /// ApsaraMQ's tracing page.
    Old,
    /// Both.
    Dup,
}

/// Every attribute that is renamed: its name, and the old one where its value stays.
const RENAMED: [(Key, Option<Key>); 6] = [
    (MESSAGING_DESTINATION_NAME, Some("messaging.destination")),
    (MESSAGING_CLIENT_ID, Some("messaging.rocketmq.client_id")),
    (MESSAGING_CONSUMER_GROUP_NAME, Some(CLIENT_GROUP)),
    (MESSAGING_ROCKETMQ_PRODUCER_GROUP, Some(CLIENT_GROUP)),
    // one attribute instead of two
    (MESSAGING_OPERATION_NAME, None),
    (MESSAGING_OPERATION_TYPE, None),
];
const CLIENT_GROUP: Key = "messaging.rocketmq.client_group";
const OPERATION: Key = "messaging.operation";

impl Naming {
    /// The span's name.
    pub fn name(self, span: &Span) -> String {
        match self {
            Naming::New | Naming::Dup => span.name(),
            Naming::Old => format!("{} {}", span.topic, old_word(span.operation)),
        }
    }

    /// Gives the span's attributes and kind this set of names.
    pub fn apply(self, span: &mut Span) {
        if self == Naming::New {
            return;
        }
        let mut old = vec![Attribute::new(OPERATION, old_operation(span.operation))];
        for attribute in &span.attributes {
            if let Some((_, Some(key))) = RENAMED.iter().find(|(new, _)| *new == attribute.key)
                && !old.iter().any(|a| a.key == *key)
            {
                old.push(Attribute {
                    key,
                    value: attribute.value.clone(),
                });
            }
        }
        if self == Naming::Old {
            let renamed = |key: Key| RENAMED.iter().any(|(new, _)| *new == key);
            span.attributes.retain(|attribute| !renamed(attribute.key));
            span.kind = old_kind(span);
        }
        span.attributes.extend(old);
    }
}

/// `messaging.operation`.
fn old_operation(operation: Operation) -> &'static str {
    match (operation, operation.kind()) {
        // the end of a transaction settles nothing in the old sense
        (Operation::Commit | Operation::Rollback, _) | (_, None) => operation.name(),
        (_, Some("settle")) => "acknowledge",
        (_, Some(kind)) => kind,
    }
}

/// The word in the span's name: what was done, where the operation is too coarse to say.
fn old_word(operation: Operation) -> &'static str {
    match old_operation(operation) {
        "acknowledge" => operation.name(),
        _ if operation == Operation::Reply => operation.name(),
        word => word,
    }
}

fn old_kind(span: &Span) -> SpanKind {
    match span.operation.kind() {
        Some("receive") => SpanKind::Consumer,
        Some("send" | "create") => SpanKind::Producer,
        _ => span.kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProcessId, SpanContext, SpanId, Status, Timestamp, TraceId};

    fn span(operation: Operation, kind: SpanKind, group: Key) -> Span {
        Span {
            context: SpanContext {
                trace_id: TraceId([1; 16]),
                span_id: SpanId([1; 8]),
                flags: None,
            },
            parent: None,
            trace_state: None,
            operation,
            kind,
            topic: "orders".into(),
            group: Some("g".into()),
            start: Timestamp(0),
            end: Timestamp(0),
            status: Status::Unset,
            attributes: vec![
                Attribute::new(MESSAGING_SYSTEM, "rocketmq"),
                Attribute::new(MESSAGING_OPERATION_NAME, operation.name()),
                Attribute::new(MESSAGING_OPERATION_TYPE, operation.kind().unwrap_or("none")),
                Attribute::new(MESSAGING_DESTINATION_NAME, "orders"),
                Attribute::new(MESSAGING_CLIENT_ID, "c"),
                Attribute::new(group, "g"),
            ],
            links: Vec::new(),
            process: ProcessId(1),
        }
    }

    fn written(naming: Naming, mut span: Span) -> String {
        let name = naming.name(&span);
        naming.apply(&mut span);
        let mut attributes: Vec<_> = span
            .attributes
            .iter()
            .map(|a| format!("{}={}", a.key, a.value.as_str().unwrap()))
            .collect();
        attributes.sort();
        format!("{name} {:?} {}", span.kind, attributes.join(" "))
    }

    #[test]
    fn sets() {
        let send = || {
            span(
                Operation::Send,
                SpanKind::Client,
                MESSAGING_ROCKETMQ_PRODUCER_GROUP,
            )
        };
        let process = || {
            span(
                Operation::Process,
                SpanKind::Consumer,
                MESSAGING_CONSUMER_GROUP_NAME,
            )
        };
        let commit = || {
            span(
                Operation::Commit,
                SpanKind::Client,
                MESSAGING_ROCKETMQ_PRODUCER_GROUP,
            )
        };
        let all = [Naming::New, Naming::Old, Naming::Dup];
        let lines: Vec<_> = all
            .iter()
            .flat_map(|naming| [send(), process(), commit()].map(|span| written(*naming, span)))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
