//! One span against what the client itself said about the message.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{
    Span,
    client::{Consumed, Library, Mode, Sent},
    ids,
    server::Server,
    spans::{STATUS_ERROR, kind},
};

/// The client reads its clock with `clock_gettime`, the tracer maps the kernel's boot-time clock to it: the two may disagree
/// by this much.
const CLOCK_TOLERANCE_NS: u64 = 200_000;

macro_rules! same {
    ($span:expr, $what:expr, $found:expr, $wanted:expr) => {{
        let (found, wanted) = ($found, $wanted);
        ensure!(
            found == wanted,
            "{}: found {found:?}, wanted {wanted:?} in {:#?}",
            $what,
            $span
        );
    }};
}

/// Who sent it.
pub(crate) struct Sender<'a> {
    pub(crate) library: Library,
    pub(crate) pid: u32,
    pub(crate) server: &'a Server,
}

/// A `send` span of one message.
pub(crate) fn send(span: &Span, sent: &Sent, mode: Mode, sender: &Sender<'_>) -> Result<()> {
    let check = || -> Result<()> {
        same!(span, "name", &span.name, &format!("send {}", sent.topic));
        same!(span, "kind", span.kind, kind::PRODUCER);
        same!(span, "status", span.status, 0);
        same!(span, "trace id", &span.trace_id, &ids::trace_id(&sent.msg_id));
        same!(span, "span id", &span.span_id, &ids::send_span_id(&sent.msg_id));
        same!(span, "parent", span.parent_span_id.as_str(), "");
        same!(span, "system", span.text("messaging.system"), "rocketmq");
        same!(
            span,
            "operation type",
            span.text("messaging.operation.type"),
            "send"
        );
        same!(span, "origin", span.text("rmqtrace.trace.origin"), "message_id");
        same!(
            span,
            "tag",
            span.text("messaging.rocketmq.message.tag"),
            sent.tag.as_str()
        );
        same!(
            span,
            "keys",
            span.attributes.get("messaging.rocketmq.message.keys"),
            Some(&serde_json::json!([sent.key]))
        );
        broker(span, sender)?;
        // The client itself is not told by a one-way send where the message went.
        if mode != Mode::OneWay {
            same!(
                span,
                "queue",
                span.text("messaging.destination.partition.id"),
                sent.queue.unwrap_or(-1).to_string()
            );
            same!(
                span,
                "offset",
                span.number("messaging.rocketmq.queue_offset"),
                sent.offset
            );
            same!(
                span,
                "offset id",
                Some(span.text("messaging.rocketmq.offset_message_id")),
                sent.offset_msg_id.as_deref()
            );
            same!(
                span,
                "send status",
                Some(span.text("messaging.rocketmq.send_status")),
                sent.status.as_deref()
            );
        }
        Ok(())
    };
    check().with_context(|| format!("send span of {sent:?}"))
}

/// Where it went and who sent it.
pub(crate) fn broker(span: &Span, sender: &Sender<'_>) -> Result<()> {
    same!(span, "process", span.pid(), Some(i64::from(sender.pid)));
    same!(
        span,
        "server",
        span.text("server.address"),
        sender.server.broker.ip().to_string()
    );
    same!(
        span,
        "port",
        span.number("server.port"),
        Some(i64::from(sender.server.broker.port()))
    );
    same!(
        span,
        "language",
        span.text("rmqtrace.client.language"),
        sender.library.language()
    );
    Ok(())
}

/// A `send` span that the broker or the network refused.
pub(crate) fn failed_send(span: &Span, sent: &Sent, error_type: &str) -> Result<()> {
    let check = || -> Result<()> {
        same!(span, "status", span.status, STATUS_ERROR);
        same!(span, "error type", span.text("error.type"), error_type);
        same!(span, "trace id", &span.trace_id, &ids::trace_id(&sent.msg_id));
        // The derived id belongs to the attempt that succeeds.
        ensure!(
            span.span_id != ids::send_span_id(&sent.msg_id),
            "a failed send has the derived span id: {span:#?}"
        );
        Ok(())
    };
    check().with_context(|| format!("failed send span of {sent:?}"))
}

/// The `send` span of a batch, and the `create` spans of its messages.
pub(crate) fn batch(span: &Span, creates: &[&Span], sent: &[&Sent], sender: &Sender<'_>) -> Result<()> {
    let check = || -> Result<()> {
        // The messages' own `create` spans are the producers.
        same!(span, "kind", span.kind, kind::CLIENT);
        same!(
            span,
            "count",
            span.number("messaging.batch.message_count"),
            Some(i64::try_from(sent.len())?)
        );
        same!(span, "links", span.links.len(), sent.len());
        ensure!(
            !span.attributes.contains_key("messaging.message.id"),
            "a message id on a batch: {span:#?}"
        );
        broker(span, sender)?;
        for message in sent {
            let (trace, id) = (ids::trace_id(&message.msg_id), ids::send_span_id(&message.msg_id));
            ensure!(span.links_to(&trace, &id), "no link to {message:?} in {span:#?}");
            let create = creates
                .iter()
                .find(|create| create.trace_id == trace)
                .with_context(|| format!("no create span in trace {trace}"))?;
            same!(create, "name", &create.name, &format!("create {}", message.topic));
            same!(create, "kind", create.kind, kind::PRODUCER);
            same!(create, "span id", &create.span_id, &id);
            same!(create, "message id", create.message_id(), message.msg_id.as_str());
        }
        Ok(())
    };
    check().with_context(|| format!("batch of {} that begins with {:?}", sent.len(), sent.first()))
}

/// A `process` span of the message that its producer knows as `key`.
pub(crate) fn process(span: &Span, consumed: &Consumed, key: &str, library: Library, pid: u32) -> Result<()> {
    let check = || -> Result<()> {
        same!(span, "name", &span.name, &format!("process {}", consumed.topic));
        same!(span, "kind", span.kind, kind::CONSUMER);
        same!(span, "trace id", &span.trace_id, &ids::trace_id(key));
        same!(span, "parent", &span.parent_span_id, &ids::send_span_id(key));
        ensure!(
            span.links_to(&ids::trace_id(key), &ids::send_span_id(key)),
            "no link to the send in {span:#?}"
        );
        ensure!(span.span_id != span.parent_span_id, "its own parent: {span:#?}");
        same!(span, "message id", span.message_id(), key);
        same!(
            span,
            "operation type",
            span.text("messaging.operation.type"),
            "process"
        );
        same!(
            span,
            "group",
            span.text("messaging.consumer.group.name"),
            consumed.group.as_str()
        );
        same!(
            span,
            "attempt",
            span.number("messaging.rocketmq.reconsume_times").unwrap_or(0),
            consumed.reconsume_times
        );
        same!(span, "process", span.pid(), Some(i64::from(pid)));
        same!(
            span,
            "language",
            span.text("rmqtrace.client.language"),
            library.language()
        );
        timing(span, consumed)
    };
    check().with_context(|| format!("process span of {consumed:?}"))
}

/// The span begins before the handler does, and the handler's end lies in the interval that the span states.
fn timing(span: &Span, consumed: &Consumed) -> Result<()> {
    ensure!(
        span.start_ns <= consumed.start_ns + CLOCK_TOLERANCE_NS,
        "delivered {} ns after the handler began: {span:#?}",
        span.start_ns.saturating_sub(consumed.start_ns)
    );
    let evidence = span.text("rmqtrace.process.evidence");
    match evidence {
        "send_back" => {
            same!(span, "status", span.status, STATUS_ERROR);
            same!(span, "error type", span.text("error.type"), "FAILURE");
            same!(span, "result", consumed.result.as_str(), "RECONSUME_LATER");
        }
        "offset_commit" => {
            same!(span, "status", span.status, 0);
            let uncertainty = span
                .attributes
                .get("rmqtrace.process.end_uncertainty_ms")
                .and_then(serde_json::Value::as_f64)
                .context("no end_uncertainty_ms")?;
            let earliest = span.end_ns.saturating_sub(u64::try_from(
                Duration::from_secs_f64(uncertainty / 1e3).as_nanos(),
            )?);
            ensure!(
                consumed.end_ns + CLOCK_TOLERANCE_NS >= earliest
                    && consumed.end_ns <= span.end_ns + CLOCK_TOLERANCE_NS,
                "the handler ended at {}, not within [{earliest}, {}]",
                consumed.end_ns,
                span.end_ns
            );
        }
        other => anyhow::bail!("evidence {other:?}: {span:#?}"),
    }
    Ok(())
}

/// How much of the client's own time around each synchronous call lies outside its span, nanoseconds, ascending. A span that is
/// not inside the call is an error.
pub(crate) fn outside(pairs: &[(&Span, &Sent)]) -> Result<Vec<u64>> {
    let mut outside = Vec::new();
    for (span, sent) in pairs {
        ensure!(
            sent.start_ns <= span.start_ns && span.end_ns <= sent.end_ns,
            "the span [{}, {}] is not inside the call [{}, {}] (begins {} ns before, ends {} ns after)",
            span.start_ns,
            span.end_ns,
            sent.start_ns,
            sent.end_ns,
            sent.start_ns.saturating_sub(span.start_ns),
            span.end_ns.saturating_sub(sent.end_ns),
        );
        outside.push((sent.end_ns - sent.start_ns) - (span.end_ns - span.start_ns));
    }
    outside.sort_unstable();
    Ok(outside)
}

/// Prints what lies outside of the spans.
pub(crate) fn report(what: &str, sorted: &[u64]) {
    let microseconds = |percent: usize| {
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default() / 1000
    };
    println!(
        "{what}: {} calls; outside the span: median {} µs, p99 {} µs",
        sorted.len(),
        microseconds(50),
        microseconds(99)
    );
}
