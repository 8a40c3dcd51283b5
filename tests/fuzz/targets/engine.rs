//! The whole engine, over scripts of records on several connections.
//!
//! Whatever comes: times are in order, ids are those of the message, and where nothing is missing it does not
//! matter how the bytes were cut.
#![no_main]

use fuzz::{Script, run, split};
use libfuzzer_sys::fuzz_target;
use tracer_core::{
    Config, ids,
    model::{Span, Status, Value, attribute::*},
};

fn text(span: &Span, key: Key) -> Option<&str> {
    span.attribute(key).and_then(Value::as_str)
}

fn check(span: &Span) {
    assert!(span.start <= span.end, "ends before it starts: {span:?}");
    assert_ne!(span.context.trace_id.0, [0; 16]);
    assert_ne!(span.context.span_id.0, [0; 8]);
    assert_ne!(
        Some(span.context.span_id),
        span.parent,
        "its own parent: {span:?}"
    );
    let failed = matches!(span.status, Status::Error(_));
    assert_eq!(failed, span.attribute(ERROR_TYPE).is_some(), "{span:?}");
    // a reply stands in the trace of the request, whose id it does not have
    if text(span, RMQTRACE_TRACE_ORIGIN) == Some("message_id")
        && text(span, MESSAGING_OPERATION_NAME) != Some("reply")
        && let Some(id) = text(span, MESSAGING_MESSAGE_ID)
    {
        assert_eq!(span.context.trace_id, ids::trace_id(id.as_bytes()), "{span:?}");
        let root = ids::send_span_id(id.as_bytes());
        assert!(
            span.context.span_id == root || span.parent.is_none_or(|parent| parent == root),
            "{span:?}"
        );
    }
}

fuzz_target!(|bytes: &[u8]| {
    let config = Config::default();
    let script = Script::read(bytes);
    let (spans, totals) = run(&config, &script.events, script.end);
    spans.iter().for_each(check);
    assert_eq!(totals.spans, spans.len() as u64);
    // what a search finds depends on what was there when it looked: see target `stream`
    if script.complete && totals.resyncs == 0 {
        let (pieces, cut) = run(&config, &split(&script.events), script.end);
        assert_eq!(spans, pieces, "cuts matter");
        assert_eq!(
            (totals.frames, totals.messages_delivered),
            (cut.frames, cut.messages_delivered)
        );
    }
});
