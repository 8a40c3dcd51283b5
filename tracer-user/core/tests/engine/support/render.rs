//! Spans as text. Ids are shown by what they are: `T(k)` and `S(k)` are the computed trace and send span of
//! message k, carried ones stand as they are, and random ones are numbered in the order in which they appear.

use std::collections::BTreeMap;

use tracer_core::{
    ids,
    model::{Span, SpanContext, SpanKind, Status, Value, attribute::*},
};

use super::{K1, K2, K3, PARENT};

/// What every span of an operation has, by test.
const CONSTANT: [&str; 3] = [
    MESSAGING_SYSTEM,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
];

/// One line for each span: what most cases are about.
pub(crate) fn brief(spans: &[Span]) -> String {
    let keys = [
        RMQTRACE_SEND_ATTEMPT,
        RMQTRACE_SEND_ONE_WAY,
        MESSAGING_ROCKETMQ_SEND_STATUS,
        MESSAGING_BATCH_MESSAGE_COUNT,
        MESSAGING_CONSUMER_GROUP_NAME,
        MESSAGING_ROCKETMQ_QUEUE_OFFSET,
        MESSAGING_ROCKETMQ_RECONSUME_TIMES,
        RMQTRACE_TRANSACTION_STATE,
        RMQTRACE_PROCESS_EVIDENCE,
        RMQTRACE_PROCESS_END_UNCERTAINTY_MS,
        RMQTRACE_PROCESS_EXPIRED,
        ERROR_TYPE,
        RMQTRACE_INCOMPLETE,
    ];
    text(spans, |span, out| {
        for key in keys {
            if let Some(value) = span.attribute(key) {
                let (_, name) = key.rsplit_once('.').expect("a name of several parts");
                *out += &format!(" {name}={}", show(value));
            }
        }
    })
}

/// Everything.
pub(crate) fn full(spans: &[Span]) -> String {
    text(spans, |span, out| {
        let mut shown = BTreeMap::new();
        for attribute in &span.attributes {
            let again = shown.insert(attribute.key, show(&attribute.value));
            assert_eq!(again, None, "{} is set twice", attribute.key);
        }
        assert_eq!(shown.remove(CONSTANT[0]).as_deref(), Some("rocketmq"));
        assert_eq!(shown.remove(CONSTANT[1]).as_deref(), Some(span.operation.name()));
        assert_eq!(shown.remove(CONSTANT[2]).as_deref(), span.operation.kind());
        for (key, value) in shown {
            *out += &format!("\n    {key} = {value}");
        }
    })
}

fn text(spans: &[Span], rest: impl Fn(&Span, &mut String)) -> String {
    let mut names = Names::new(spans);
    let mut out = String::new();
    for span in spans {
        let kind = match span.kind {
            SpanKind::Producer => "PRODUCER",
            SpanKind::Consumer => "CONSUMER",
            SpanKind::Client => "CLIENT",
        };
        let status = if let Status::Error(_) = span.status {
            " ERROR"
        } else {
            ""
        };
        let ms = |ns: u64| ns as f64 / 1e6;
        let (start, end) = (ms(span.start.0), ms(span.end.0));
        let context = names.context(span.context);
        out += &format!("{} {kind} {start}..{end}{status} {context}", span.name());
        if let Some(parent) = span.parent {
            out += &format!(" parent={}", names.name(parent.to_string()));
        }
        if let Some(state) = &span.trace_state {
            out += &format!(" tracestate={state}");
        }
        for link in &span.links {
            out += &format!(" link={}", names.context(link.context));
            for attribute in &link.attributes {
                out += &format!("[{}={}]", attribute.key, show(&attribute.value));
            }
        }
        rest(span, &mut out);
        out.push('\n');
    }
    out
}

fn show(value: &Value) -> String {
    match value {
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Strings(v) => v.join(","),
        text => match text.as_str().expect("a text") {
            K1 => "k1".to_owned(),
            K2 => "k2".to_owned(),
            K3 => "k3".to_owned(),
            text if text.is_empty() || text.contains(' ') => format!("{text:?}"),
            text => text.to_owned(),
        },
    }
}

/// Names of ids.
struct Names {
    known: BTreeMap<String, String>,
    random: usize,
}

impl Names {
    fn new(spans: &[Span]) -> Names {
        let mut known = BTreeMap::new();
        let mut add = |key: &str, name: &str| {
            known.insert(ids::trace_id(key.as_bytes()).to_string(), format!("T({name})"));
            known.insert(
                ids::send_span_id(key.as_bytes()).to_string(),
                format!("S({name})"),
            );
        };
        let ids = spans
            .iter()
            .filter_map(|span| span.attribute(MESSAGING_MESSAGE_ID)?.as_str());
        ids.for_each(|id| add(id, id));
        [(K1, "k1"), (K2, "k2"), (K3, "k3")]
            .into_iter()
            .for_each(|(key, name)| add(key, name));
        for part in PARENT.split('-') {
            known.insert(part.to_owned(), part.chars().take(4).collect::<String>() + "…");
        }
        Names { known, random: 0 }
    }

    fn context(&mut self, context: SpanContext) -> String {
        let trace = self.name(context.trace_id.to_string());
        format!("{trace}/{}", self.name(context.span_id.to_string()))
    }

    fn name(&mut self, id: String) -> String {
        let random = &mut self.random;
        let name = self.known.entry(id).or_insert_with(|| {
            *random += 1;
            format!("#{random}")
        });
        name.clone()
    }
}
