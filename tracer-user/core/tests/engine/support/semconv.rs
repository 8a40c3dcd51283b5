//! Every span against the tables of the semantic conventions, which stand as data in `tests/semconv`: names, types,
//! enumerations, what is required, span name and kind. Whatever the table does not know is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::Deserialize;
use tracer_core::model::{Attribute, Span, SpanKind, Status, Value};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../semconv/rocketmq-1.44.json")).expect("the table is JSON")
});

#[derive(Deserialize)]
struct Table {
    /// Operation name → kind of operation.
    operations: BTreeMap<String, String>,
    /// Kind of operation → span kinds.
    kinds: BTreeMap<String, Vec<String>>,
    attributes: BTreeMap<String, Entry>,
    /// Names and types beyond the conventions.
    own: BTreeMap<String, String>,
    own_values: BTreeMap<String, Vec<String>>,
    /// Attributes of links.
    link: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    type_name: String,
    values: Option<Vec<String>>,
    /// Kind of operation → requirement level.
    #[serde(flatten)]
    levels: BTreeMap<String, String>,
}

/// Panics on the first span that is not as the tables say.
#[track_caller]
pub(crate) fn check(spans: &[Span]) {
    for span in spans {
        let problems = problems(span);
        assert!(
            problems.is_empty(),
            "{}: {}\n{span:#?}",
            span.name(),
            problems.join("; ")
        );
    }
}

/// Every name that the tables have, with its type.
pub(crate) fn known_attributes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let standard = TABLE
        .attributes
        .iter()
        .map(|(key, entry)| (key, &entry.type_name));
    let all = standard.chain(&TABLE.own);
    all.map(|(key, type_name)| (key.as_str(), type_name.as_str()))
}

/// What is wrong with a span.
pub(crate) fn problems(span: &Span) -> Vec<String> {
    let mut problems = Vec::new();
    let name = span.operation.name();
    let Some(kind) = TABLE.operations.get(name) else {
        return vec![format!("no operation {name}")];
    };
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            problems.push(what.to_owned());
        }
    };

    demand(span.name() == format!("{name} {}", span.topic), "the span's name");
    let span_kind = match span.kind {
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
        SpanKind::Client => "CLIENT",
    };
    demand(TABLE.kinds[kind].iter().any(|k| k == span_kind), span_kind);
    demand(span.end >= span.start, "it ends before it starts");
    let zero = span.context.trace_id.0 == [0; 16] || span.context.span_id.0 == [0; 8];
    demand(!zero, "an id is zero");

    let mut seen = BTreeSet::new();
    for attribute in &span.attributes {
        let key = attribute.key;
        demand(seen.insert(key), &format!("{key} is there twice"));
        let (type_name, values) = match TABLE.attributes.get(key) {
            Some(entry) => {
                demand(
                    entry.levels.contains_key(kind),
                    &format!("{key} is not for {kind}"),
                );
                (entry.type_name.as_str(), entry.values.as_ref())
            }
            None => match TABLE.own.get(key) {
                Some(type_name) => (type_name.as_str(), TABLE.own_values.get(key)),
                None if key.starts_with("messaging.rocketmq.property.") => ("string", None),
                None => ("no such attribute", None),
            },
        };
        demand(type_of(attribute) == type_name, &format!("{key} is {type_name}"));
        if let (Some(values), Some(text)) = (values, attribute.value.as_str()) {
            demand(values.iter().any(|v| v == text), &format!("{key} is {text}"));
        }
    }
    for (key, entry) in &TABLE.attributes {
        let required = entry.levels.get(kind).is_some_and(|level| level == "r");
        let has = seen.contains(key.as_str());
        // which consumer it is can be lost with the request
        let unknown = key == "messaging.consumer.group.name" && span.group.is_none();
        demand(has || !required || unknown, &format!("{key} is required"));
    }
    for link in &span.links {
        for attribute in &link.attributes {
            let type_name = TABLE.link.get(attribute.key).map(String::as_str);
            demand(
                type_name == Some(type_of(attribute)),
                &format!("{} of a link", attribute.key),
            );
        }
    }

    let text = |key: &str| {
        let found = span.attributes.iter().find(|a| a.key == key);
        found.and_then(|a| a.value.as_str())
    };
    let has = |key: &str| seen.contains(key);
    demand(
        text("messaging.operation.name") == Some(name),
        "messaging.operation.name",
    );
    let type_name = Some(kind.as_str()).filter(|kind| *kind != "other");
    demand(
        text("messaging.operation.type") == type_name,
        "messaging.operation.type",
    );
    demand(
        text("messaging.destination.name") == Some(&*span.topic),
        "messaging.destination.name",
    );
    demand(
        has("error.type") == matches!(span.status, Status::Error(_)),
        "error.type",
    );
    for side in ["server", "network.peer"] {
        let together = has(&format!("{side}.address")) == has(&format!("{side}.port"));
        demand(together, &format!("{side}.address and .port go together"));
    }
    let batch = has("messaging.batch.message_count");
    demand(
        !(batch && has("messaging.message.id")),
        "the id of one of several messages",
    );
    let missing = has("rmqtrace.incomplete");
    demand(
        batch || missing || kind != "receive",
        "the number of received messages",
    );
    let message_type = text("messaging.rocketmq.message.type");
    if message_type == Some("fifo") {
        demand(
            has("messaging.rocketmq.message.group"),
            "the group of a fifo message",
        );
    }
    let delays = ["delay_time_level", "delivery_timestamp"]
        .map(|key| has(&format!("messaging.rocketmq.message.{key}")));
    demand(delays != [true, true], "a level and a time");
    if name == "send" && message_type == Some("delay") {
        demand(delays.contains(&true), "a delayed message without its delay");
    }
    problems
}

fn type_of(attribute: &Attribute) -> &'static str {
    match attribute.value {
        Value::Str(_) | Value::Shared(_) => "string",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Bool(_) => "bool",
        Value::Strings(_) => "string[]",
    }
}
