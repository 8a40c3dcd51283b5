//! The propagators other than W3C's.
//!
//! ```text
//! b3              trace-id "-" span-id ["-" sampled ["-" parent-id]], or sampled alone
//! X-B3-…          the same fields, a property each
//! uber-trace-id   trace-id ":" span-id ":" parent-id ":" flags; leading zeros and ":" (as %3A) vary
//! sw8             sample "-" trace-id "-" segment-id "-" span-id "-" four more; texts in base64
//! ```
//!
//! B3 and Jaeger allow trace ids of 8 bytes, which are the last 8 of the 16.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{Form, context, hex};
use crate::{ids, model::SpanContext};

/// Longest id of a SkyWalking trace or segment, in base64. Agents write some 70 characters.
const SW8_ID_MAX: usize = 512;

/// B3 in one property.
pub(super) fn b3(text: &str) -> Form {
    match text.trim() {
        "0" | "1" | "d" => Form::Nothing,
        text => {
            let mut parts = text.split('-');
            let context = b3_ids(parts.next(), parts.next());
            // sampled, parent-id
            Form::of(context.filter(|_| parts.count() <= 2))
        }
    }
}

/// B3 in several properties.
pub(super) fn b3_multi(trace: Option<&str>, span: Option<&str>) -> Form {
    Form::of(b3_ids(trace.map(str::trim), span.map(str::trim)))
}

fn b3_ids(trace: Option<&str>, span: Option<&str>) -> Option<SpanContext> {
    let trace = trace.filter(|text| matches!(text.len(), 16 | 32))?;
    context(padded_hex(trace)?, hex(span?)?)
}

/// Jaeger.
pub(super) fn jaeger(text: &str) -> Form {
    let text = text.trim().replace("%3A", ":").replace("%3a", ":");
    let mut parts = text.split(':');
    let (trace, span) = (parts.next(), parts.next());
    let context = trace
        .zip(span)
        .and_then(|(trace, span)| context(padded_hex(trace)?, padded_hex(span)?));
    // parent-id, flags
    Form::of(context.filter(|_| parts.count() == 2))
}

/// SkyWalking.
pub(super) fn sw8(text: &str) -> Form {
    Form::of(sw8_ids(text))
}

fn sw8_ids(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let sample = parts.next()?;
    let (trace, segment) = (base64(parts.next()?)?, base64(parts.next()?)?);
    let span: u32 = parts.next()?.parse().ok()?;
    // service, instance, endpoint, address
    let valid = matches!(sample, "0" | "1") && parts.count() == 4;
    valid.then(|| ids::skywalking_context(&trace, &segment, span))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let id = BASE64_STANDARD
        .decode(Some(text).filter(|text| text.len() <= SW8_ID_MAX)?)
        .ok()?;
    (!id.is_empty()).then_some(id)
}

/// Lower-case hex that may lack leading zeros.
fn padded_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.is_empty() || text.len() > 2 * N {
        return None;
    }
    hex(&format!("{text:0>width$}", width = 2 * N))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SHORT: &str = "a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[track_caller]
    fn check(form: Form, trace: Option<&str>, text: &str) {
        let expected = trace.map(|trace| (format!("{trace:0>32}"), SPAN.to_owned()));
        let found = match form {
            Form::Context(context) => Some((context.trace_id.to_string(), context.span_id.to_string())),
            Form::Nothing => panic!("{text}"),
            Form::Malformed => None,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn b3_single() {
        for (text, trace) in [
            (format!("{TRACE}-{SPAN}"), Some(TRACE)),
            (format!("{SHORT}-{SPAN}-1"), Some(SHORT)),
            (format!("{TRACE}-{SPAN}-d-{SPAN}"), Some(TRACE)),
            (format!("{TRACE}-{SPAN}-1-{SPAN}-1"), None),
            (TRACE.to_owned(), None),
            (format!("{}-{SPAN}", &TRACE[1..]), None),
            (format!("{}-{SPAN}", TRACE.to_uppercase()), None),
            (format!("{}-{SPAN}", "0".repeat(16)), None),
            (format!("{TRACE}-{}", &SPAN[1..]), None),
            ("2".to_owned(), None),
            ("é".repeat(8) + "-", None),
        ] {
            check(b3(&text), trace, &text);
        }
        for text in ["0", "1", "d"] {
            assert_eq!(b3(text), Form::Nothing, "{text}");
        }
    }

    #[test]
    fn b3_in_several() {
        for (trace, span, expected) in [
            (Some(TRACE), Some(SPAN), Some(TRACE)),
            (Some(SHORT), Some(SPAN), Some(SHORT)),
            (Some(TRACE), None, None),
            (None, Some(SPAN), None),
            (Some(TRACE), Some(""), None),
        ] {
            check(b3_multi(trace, span), expected, &format!("{trace:?} {span:?}"));
        }
    }

    #[test]
    fn jaegers() {
        for (text, trace) in [
            (format!("{TRACE}:{SPAN}:0:1"), Some(TRACE)),
            (format!("{TRACE}%3A{SPAN}%3a0%3A1"), Some(TRACE)),
            (
                format!("{}:{}:0:3", SHORT, SPAN.trim_start_matches('0')),
                Some(SHORT),
            ),
            (format!("5:{SPAN}:{SPAN}:0"), Some("5")),
            (format!("{TRACE}:{SPAN}:0"), None),
            (format!("{TRACE}:{SPAN}:0:1:2"), None),
            (format!("0{TRACE}:{SPAN}:0:1"), None),
            (format!(":{SPAN}:0:1"), None),
            (format!("0:{SPAN}:0:1"), None),
            (format!("{TRACE}:0:0:1"), None),
        ] {
            check(jaeger(&text), trace, &text);
        }
    }

    #[test]
    fn skywalking() {
        // trace "trace", segment "segment"
        let head = "1-dHJhY2U=-c2VnbWVudA==-3";
        let expected = Form::Context(ids::skywalking_context(b"trace", b"segment", 3));
        assert_eq!(sw8(&format!("{head}-cw==-aQ==-ZQ==-YQ==")), expected);
        assert_eq!(sw8(&format!("0{}-cw==-aQ==-ZQ==-", &head[1..])), expected);
        for text in [
            head.to_owned(),
            format!("{head}-cw==-aQ==-ZQ==-YQ==-more"),
            format!("2{}-cw==-aQ==-ZQ==-YQ==", &head[1..]),
            "1-?-c2VnbWVudA==-3-cw==-aQ==-ZQ==-YQ==".to_owned(),
            "1--c2VnbWVudA==-3-cw==-aQ==-ZQ==-YQ==".to_owned(),
            "1-dHJhY2U=-c2VnbWVudA==-x-cw==-aQ==-ZQ==-YQ==".to_owned(),
            format!("1-{}-c2VnbWVudA==-3-cw==-aQ==-ZQ==-YQ==", "YQ==".repeat(200)),
        ] {
            assert_eq!(sw8(&text), Form::Malformed, "{text}");
        }
    }
}
