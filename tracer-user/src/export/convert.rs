//! Spans and resources in OpenTelemetry's types, as JSON has them; `otlp::encode` writes the same as protobuf.

use std::sync::{Arc, LazyLock};

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_proto::{
    tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::ResourceSpans},
    transform::{
        common::tonic::{Attributes, ResourceAttributesWithSchema},
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tracer_core::model;

use super::Finished;
use crate::enrich::Process;

/// The semantic conventions that names and values follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("rmqtrace")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
});

/// The old names are of no published schema.
static OLD_SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("rmqtrace")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
});

/// The spans of a batch by process, in the order of their first appearance.
pub(crate) fn by_process(batch: &[Arc<Finished>]) -> Vec<(&Process, Vec<&Finished>)> {
    let mut groups: Vec<(&Process, Vec<&Finished>)> = Vec::new();
    for finished in batch {
        let process: &Process = &finished.process;
        match groups.iter_mut().find(|(p, _)| std::ptr::eq(*p, process)) {
            Some((_, spans)) => spans.push(finished),
            None => groups.push((process, vec![finished])),
        }
    }
    groups
}

/// A batch as one request.
pub(crate) fn request(batch: &[Arc<Finished>]) -> ExportTraceServiceRequest {
    let resource_spans = by_process(batch)
        .into_iter()
        .flat_map(|(process, spans)| resource_spans(process, &spans));
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

fn resource_spans(process: &Process, spans: &[&Finished]) -> Vec<ResourceSpans> {
    let attributes: Attributes = resource_attributes(process).collect::<Vec<_>>().into();
    let resource = ResourceAttributesWithSchema {
        attributes,
        schema_url: Some(SCHEMA_URL.to_owned()),
    };
    group_spans_by_resource_and_scope(spans.iter().map(|f| span_data(f)).collect(), &resource)
}

fn resource_attributes(process: &Process) -> impl Iterator<Item = KeyValue> {
    process
        .resource
        .attributes
        .iter()
        .map(|(key, v)| KeyValue::new(key.clone(), value(v)))
}

/// One span.
fn span_data(finished: &Finished) -> SpanData {
    let span = &finished.span;
    let mut links = SpanLinks::default();
    links.links = span.links.iter().map(link).collect();
    links.dropped_count = finished.cut.links;
    SpanData {
        span_context: context(span.context, false, span.trace_state.as_deref()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |id| SpanId::from_bytes(id.0)),
        // a message's consumer is another process than its producer
        parent_span_is_remote: span.parent.is_some() && span.kind == model::SpanKind::Consumer,
        span_kind: match span.kind {
            model::SpanKind::Producer => SpanKind::Producer,
            model::SpanKind::Consumer => SpanKind::Consumer,
            model::SpanKind::Client => SpanKind::Client,
        },
        name: finished.naming.name(span).into(),
        start_time: finished.start.into(),
        end_time: finished.end.into(),
        attributes: span
            .attributes
            .iter()
            .map(|a| KeyValue::new(a.key, value(&a.value)))
            .collect(),
        dropped_attributes_count: finished.cut.attributes,
        events: SpanEvents::default(),
        links,
        status: match &span.status {
            model::Status::Unset => Status::Unset,
            model::Status::Error(description) => Status::Error {
                description: description.clone(),
            },
        },
        instrumentation_scope: match finished.naming {
            model::Naming::New | model::Naming::Dup => SCOPE.clone(),
            model::Naming::Old => OLD_SCOPE.clone(),
        },
    }
}

fn link(link: &model::Link) -> Link {
    let attributes = link
        .attributes
        .iter()
        .map(|a| KeyValue::new(a.key, value(&a.value)))
        .collect();
    Link::new(context(link.context, true, None), attributes, 0)
}

fn context(context: model::SpanContext, remote: bool, trace_state: Option<&str>) -> SpanContext {
    // a state that is not well-formed is left out, as W3C asks
    let state = trace_state
        .and_then(|s| s.parse::<TraceState>().ok())
        .unwrap_or_default();
    let (trace, span) = (
        TraceId::from_bytes(context.trace_id.0),
        SpanId::from_bytes(context.span_id.0),
    );
    let carried = context.flags.unwrap_or(model::TraceFlags::SAMPLED).0;
    // a span that is exported is sampled, whatever was said upstream; another process's is what it said it was
    let flags = if remote {
        TraceFlags::new(carried)
    } else {
        TraceFlags::new(carried) | TraceFlags::SAMPLED
    };
    SpanContext::new(trace, span, flags, remote, state)
}

fn value(value: &model::Value) -> opentelemetry::Value {
    match value {
        model::Value::Str(s) => match s {
            std::borrow::Cow::Borrowed(s) => (*s).into(),
            std::borrow::Cow::Owned(s) => s.clone().into(),
        },
        model::Value::Shared(s) => opentelemetry::Value::String(StringValue::from(s.clone())),
        model::Value::Int(n) => (*n).into(),
        model::Value::Float(x) => (*x).into(),
        model::Value::Bool(b) => (*b).into(),
        model::Value::Strings(list) => opentelemetry::Value::Array(Array::String(
            list.iter().map(|s| StringValue::from(s.clone())).collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::sample;

    /// The whole of what a receiver gets: ids in hexadecimal, 64-bit numbers as text, kinds as numbers.
    #[test]
    fn a_request_as_json() {
        let batch = [sample::finished("orders"), sample::failed("orders")];
        insta::assert_json_snapshot!(request(&batch));
    }

    /// Flags as they were carried, a count of what was cut, and old names without a schema.
    #[test]
    fn flags_cuts_and_old_names() {
        let mut finished = sample::owned("orders");
        let carried = |sampled| model::SpanContext {
            flags: Some(model::TraceFlags(u8::from(sampled) | model::TraceFlags::RANDOM.0)),
            ..finished.span.context
        };
        let link = |context| model::Link {
            context,
            attributes: Vec::new(),
        };
        finished.span.links = vec![link(carried(false)), link(carried(true))];
        finished.span.context = carried(false);
        finished.cut = model::Cut {
            attributes: 2,
            links: 3,
            values: 4,
        };
        finished.naming = model::Naming::Old;
        let request = request(&[Arc::new(finished)]);
        let scope = &request.resource_spans[0].scope_spans[0];
        let span = &scope.spans[0];
        assert_eq!(
            (scope.schema_url.as_str(), span.name.as_str()),
            ("", "orders send")
        );
        assert_eq!((span.dropped_attributes_count, span.dropped_links_count), (2, 3));
        // what is exported is sampled; a link is what was carried
        let flags: Vec<u32> = span.links.iter().map(|link| link.flags & 0xff).collect();
        assert_eq!((span.flags & 0xff, &flags[..]), (3, &[2, 3][..]));
    }

    #[test]
    fn a_batch_is_grouped_by_process() {
        let (a, b) = (sample::process("a"), sample::process("b"));
        let of = |process: &Arc<Process>| {
            Arc::new(Finished {
                process: process.clone(),
                ..sample::owned("t")
            })
        };
        let batch = [of(&a), of(&b), of(&a)];
        let groups: Vec<_> = by_process(&batch)
            .iter()
            .map(|(p, s)| (p.resource.service.to_string(), s.len()))
            .collect();
        assert_eq!(groups, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(request(&batch).resource_spans.len(), 2);
    }
}
