//! Spans as a backend gets them: OTLP in its JSON form, one `ExportTraceServiceRequest` a line (the file exporter's format).
//!
//! Ids are lower-case hex, times and 64-bit integers are strings, kinds and status codes are numbers.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// Attribute names and their values as plain JSON (integers as numbers).
pub type Attributes = BTreeMap<String, Value>;

/// Span kinds of OTLP.
pub mod kind {
    /// A request to somebody else.
    pub const CLIENT: u8 = 3;
    /// Makes a message.
    pub const PRODUCER: u8 = 4;
    /// Handles a message.
    pub const CONSUMER: u8 = 5;
}

/// `STATUS_CODE_ERROR`.
pub const STATUS_ERROR: u8 = 2;

/// One span with its resource.
#[derive(Clone, Debug)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or empty for a root.
    pub parent_span_id: String,
    /// Name.
    pub name: String,
    /// One of [`kind`].
    pub kind: u8,
    /// Start, nanoseconds since the epoch.
    pub start_ns: u64,
    /// End, nanoseconds since the epoch.
    pub end_ns: u64,
    /// 0 unset, 1 ok, 2 error.
    pub status: u8,
    /// The span's attributes.
    pub attributes: Attributes,
    /// Its links.
    pub links: Vec<Link>,
    /// Attributes of its resource.
    pub resource: Arc<Attributes>,
}

/// A link to another span.
#[derive(Clone, Debug)]
pub struct Link {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

impl Span {
    /// A text attribute, or "".
    pub fn text(&self, key: &str) -> &str {
        self.attributes
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A whole-number attribute.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.attributes.get(key).and_then(Value::as_i64)
    }

    /// `messaging.operation.name`: `send`, `process`, `create`, …
    pub fn operation(&self) -> &str {
        self.text("messaging.operation.name")
    }

    /// `messaging.destination.name`.
    pub fn topic(&self) -> &str {
        self.text("messaging.destination.name")
    }

    /// `messaging.message.id`.
    pub fn message_id(&self) -> &str {
        self.text("messaging.message.id")
    }

    /// `service.name` of the traced process.
    pub fn service(&self) -> &str {
        self.resource
            .get("service.name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `process.pid` of the traced process.
    pub fn pid(&self) -> Option<i64> {
        self.resource.get("process.pid").and_then(Value::as_i64)
    }

    /// Whether it has a link to this span.
    pub fn links_to(&self, trace_id: &str, span_id: &str) -> bool {
        self.links
            .iter()
            .any(|link| link.trace_id == trace_id && link.span_id == span_id)
    }
}

/// Reads a growing file of OTLP lines; what was read stays.
#[derive(Debug)]
pub struct SpanFile {
    path: PathBuf,
    offset: u64,
    spans: Vec<Span>,
}

impl SpanFile {
    /// A file that may not exist yet.
    pub fn new(path: &Path) -> SpanFile {
        SpanFile {
            path: path.to_owned(),
            offset: 0,
            spans: Vec::new(),
        }
    }

    /// Reads what has been added and gives all spans so far, in the order of the file.
    pub fn refresh(&mut self) -> Result<&[Span]> {
        if !self.path.exists() {
            return Ok(&self.spans);
        }
        let mut file = BufReader::new(File::open(&self.path)?);
        file.seek(SeekFrom::Start(self.offset))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Ok(&self.spans); // the end, or a line that is still being written
            }
            self.offset += u64::try_from(read)?;
            self.parse(&line)
                .with_context(|| format!("{}: a line that is not OTLP JSON", self.path.display()))?;
        }
    }

    /// What has been read.
    pub fn into_spans(self) -> Vec<Span> {
        self.spans
    }

    fn parse(&mut self, line: &[u8]) -> Result<()> {
        let request: wire::Request = serde_json::from_slice(line)?;
        for resource_spans in request.resource_spans {
            let resource = Arc::new(wire::plain(resource_spans.resource.attributes));
            for span in resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
            {
                self.spans.push(span.into_span(Arc::clone(&resource)));
            }
        }
        Ok(())
    }
}

/// The JSON shapes.
mod wire {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Request {
        #[serde(default)]
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ResourceSpans {
        #[serde(default)]
        pub(super) resource: Resource,
        #[serde(default)]
        pub(super) scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Deserialize, Default)]
    pub(super) struct Resource {
        #[serde(default)]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Deserialize)]
    pub(super) struct ScopeSpans {
        #[serde(default)]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Span {
        trace_id: String,
        span_id: String,
        #[serde(default)]
        parent_span_id: String,
        name: String,
        #[serde(default)]
        kind: u8,
        #[serde(deserialize_with = "number")]
        start_time_unix_nano: u64,
        #[serde(deserialize_with = "number")]
        end_time_unix_nano: u64,
        #[serde(default)]
        attributes: Vec<KeyValue>,
        #[serde(default)]
        links: Vec<Link>,
        #[serde(default)]
        status: Status,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Link {
        trace_id: String,
        span_id: String,
    }

    #[derive(Deserialize, Default)]
    struct Status {
        #[serde(default)]
        code: u8,
    }

    #[derive(Deserialize)]
    pub(super) struct KeyValue {
        key: String,
        #[serde(default)]
        value: Value,
    }

    impl Span {
        pub(super) fn into_span(self, resource: Arc<Attributes>) -> super::Span {
            super::Span {
                trace_id: self.trace_id,
                span_id: self.span_id,
                parent_span_id: self.parent_span_id,
                name: self.name,
                kind: self.kind,
                start_ns: self.start_time_unix_nano,
                end_ns: self.end_time_unix_nano,
                status: self.status.code,
                attributes: plain(self.attributes),
                links: self
                    .links
                    .into_iter()
                    .map(|link| super::Link {
                        trace_id: link.trace_id,
                        span_id: link.span_id,
                    })
                    .collect(),
                resource,
            }
        }
    }

    pub(super) fn plain(attributes: Vec<KeyValue>) -> Attributes {
        attributes
            .into_iter()
            .map(|KeyValue { key, value }| (key, plain_value(value)))
            .collect()
    }

    /// `{"stringValue": "x"}` → `"x"`, `{"intValue": "5"}` → `5`, `{"arrayValue": {"values": […]}}` → `[…]`.
    fn plain_value(value: Value) -> Value {
        let Value::Object(object) = value else {
            return value;
        };
        match object.into_iter().next() {
            Some((kind, Value::String(text))) if kind == "intValue" => {
                text.parse::<i64>().map_or(Value::String(text), Value::from)
            }
            Some((kind, Value::Object(mut array))) if kind == "arrayValue" => {
                let values = array
                    .remove("values")
                    .and_then(|v| v.as_array().cloned())
                    .unwrap_or_default();
                Value::Array(values.into_iter().map(plain_value).collect())
            }
            Some((_, value)) => value,
            None => Value::Null,
        }
    }

    fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(u64),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => text.parse().map_err(de::Error::custom),
            Either::Number(number) => Ok(number),
        }
    }
}
