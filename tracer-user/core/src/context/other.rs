//! The propagators other than W3C's.
//!
//! ```text
//! b3              trace-id "-" span-id ["-" sampled ["-" parent-id]], or sampled alone
//! X-B3-…          the same fields, a property each
//! uber-trace-id   trace-id ":" span-id ":" parent-id ":" flags; leading zeros and ":" (as %3A) vary
//! sw8             sample "-" trace-id "-" segment-id "-" span-id "-" four more; texts in base64
//! ```
//!
//! B3 and Jaeger allow trace ids of 8 bytes, which are the last 8 of the 16. B3's `d` and `X-B3-Flags: 1`, and
//! Jaeger's second flag, ask for debugging, which implies sampling. B3 without a sampled field leaves the decision
//! to whoever comes next.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::form::{Form, context, hex};
use crate::{
    ids,
    model::{SpanContext, TraceFlags},
};

/// Longest id of a SkyWalking trace or segment, in base64. Agents write some 70 characters.
const SW8_ID_MAX: usize = 512;

/// B3 in one property.
pub(super) fn b3(text: &str) -> Form {
    let text = text.trim();
    if let Some(sampled) = b3_sampled(text) {
        return Form::Flags(Some(sampled));
    }
    let mut parts = text.split('-');
    let (trace, span) = (parts.next(), parts.next());
    let sampled = match parts.next().map(b3_sampled) {
        Some(None) => return Form::Malformed,
        sampled => sampled.flatten(),
    };
    let parent_is_good = parts.next().is_none_or(|parent| hex::<8>(parent).is_some());
    let context = b3_ids(trace, span, sampled);
    Form::of(context.filter(|_| parent_is_good && parts.next().is_none()))
}

/// B3 in several properties.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Parts<'a> {
    pub(super) trace: Option<&'a str>,
    pub(super) span: Option<&'a str>,
    pub(super) sampled: Option<&'a str>,
    pub(super) flags: Option<&'a str>,
}

impl Parts<'_> {
    pub(super) fn is_empty(self) -> bool {
        [self.trace, self.span, self.sampled, self.flags]
            .iter()
            .all(Option::is_none)
    }

    /// What they say together; `None` where there are none.
    pub(super) fn form(self) -> Option<Form> {
        let debug = self.flags.is_some_and(|flags| flags.trim() == "1");
        let sampled = match self.sampled.map(|text| b3_sampled(text.trim())) {
            _ if debug => Some(TraceFlags::SAMPLED),
            Some(None) => return Some(Form::Malformed),
            sampled => sampled.flatten(),
        };
        match (self.trace, self.span) {
            (None, None) if self.sampled.is_none() && self.flags.is_none() => None,
            (None, None) => Some(Form::Flags(sampled)),
            (trace, span) => Some(Form::of(b3_ids(
                trace.map(str::trim),
                span.map(str::trim),
                sampled,
            ))),
        }
    }
}

/// Old writers have words for digits.
fn b3_sampled(text: &str) -> Option<TraceFlags> {
    match text {
        "1" | "d" | "true" => Some(TraceFlags::of(true)),
        "0" | "false" => Some(TraceFlags::of(false)),
        _ => None,
    }
}

fn b3_ids(trace: Option<&str>, span: Option<&str>, flags: Option<TraceFlags>) -> Option<SpanContext> {
    let trace = trace.filter(|text| matches!(text.len(), 16 | 32))?;
    context(padded_hex(trace)?, hex(span?)?, flags)
}

/// Jaeger.
pub(super) fn jaeger(text: &str) -> Form {
    let text = text.trim().replace("%3A", ":").replace("%3a", ":");
    let mut parts = text.split(':');
    let mut next = || parts.next();
    let (trace, span, parent, flags) = (next(), next(), next(), next());
    // the parent is of the past, and some writers leave it empty
    let whole = parent.is_some() && next().is_none();
    let context = || {
        let [flags] = padded_hex(flags?)?;
        let sampled = TraceFlags::of(flags & 3 != 0);
        context(padded_hex(trace?)?, padded_hex(span?)?, Some(sampled))
    };
    Form::of(whole.then(context).flatten())
}

/// SkyWalking.
pub(super) fn sw8(text: &str) -> Form {
    Form::of(sw8_ids(text))
}

fn sw8_ids(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let sampled = match parts.next()? {
        "0" => TraceFlags::of(false),
        "1" => TraceFlags::of(true),
        _ => return None,
    };
    let (trace, segment) = (base64(parts.next()?)?, base64(parts.next()?)?);
    let span: u32 = parts.next()?.parse().ok()?;
    // service, instance, endpoint, address
    (parts.count() == 4).then(|| SpanContext {
        flags: Some(sampled),
        ..ids::skywalking_context(&trace, &segment, span)
    })
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

    /// Trace, and whether it is sampled.
    #[track_caller]
    fn check(form: Form, expected: Option<(&str, Option<bool>)>, text: &str) {
        let expected = expected.map(|(trace, sampled)| (format!("{trace:0>32}"), SPAN.to_owned(), sampled));
        let found = match form {
            Form::Context(context) => Some((
                context.trace_id.to_string(),
                context.span_id.to_string(),
                context.flags.map(TraceFlags::is_sampled),
            )),
            Form::Flags(_) => panic!("{text}"),
            Form::Malformed => None,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn b3_single() {
        for (text, expected) in [
            (format!("{TRACE}-{SPAN}"), Some((TRACE, None))),
            (format!("{SHORT}-{SPAN}-1"), Some((SHORT, Some(true)))),
            (format!("{TRACE}-{SPAN}-0"), Some((TRACE, Some(false)))),
            (format!("{TRACE}-{SPAN}-d-{SPAN}"), Some((TRACE, Some(true)))),
            (format!("{TRACE}-{SPAN}-1-{SPAN}-1"), None),
            (format!("{TRACE}-{SPAN}-x"), None),
            (format!("{TRACE}-{SPAN}-1-{TRACE}"), None),
            (TRACE.to_owned(), None),
            (format!("{}-{SPAN}", &TRACE[1..]), None),
            (format!("{}-{SPAN}", TRACE.to_uppercase()), None),
            (format!("{}-{SPAN}", "0".repeat(16)), None),
            (format!("{TRACE}-{}", "0".repeat(16)), None),
            (format!("{TRACE}-{}", &SPAN[1..]), None),
            ("2".to_owned(), None),
            (String::new(), None),
            ("é".repeat(8) + "-", None),
        ] {
            check(b3(&text), expected, &text);
        }
        for (text, sampled) in [("0", false), ("1", true), ("d", true)] {
            assert_eq!(b3(text), Form::Flags(Some(TraceFlags::of(sampled))), "{text}");
        }
    }

    #[test]
    fn b3_in_several() {
        for (trace, span, sampled, flags, expected) in [
            (Some(TRACE), Some(SPAN), None, None, Some((TRACE, None))),
            (
                Some(SHORT),
                Some(SPAN),
                Some("0"),
                None,
                Some((SHORT, Some(false))),
            ),
            (
                Some(TRACE),
                Some(SPAN),
                Some("true"),
                None,
                Some((TRACE, Some(true))),
            ),
            (
                Some(TRACE),
                Some(SPAN),
                None,
                Some("1"),
                Some((TRACE, Some(true))),
            ),
            (
                Some(TRACE),
                Some(SPAN),
                Some("0"),
                Some("1"),
                Some((TRACE, Some(true))),
            ),
            (Some(TRACE), Some(SPAN), Some("maybe"), None, None),
            (Some(TRACE), None, None, None, None),
            (None, Some(SPAN), None, None, None),
            (Some(TRACE), Some(""), None, None, None),
        ] {
            let parts = Parts {
                trace,
                span,
                sampled,
                flags,
            };
            let text = format!("{trace:?} {span:?} {sampled:?} {flags:?}");
            check(parts.form().unwrap(), expected, &text);
        }
        let sampled = |sampled| {
            Parts {
                sampled,
                ..Parts::default()
            }
            .form()
        };
        assert_eq!(sampled(None), None);
        assert_eq!(sampled(Some("0")), Some(Form::Flags(Some(TraceFlags::of(false)))));
    }

    #[test]
    fn jaegers() {
        let short = SPAN.trim_start_matches('0');
        for (text, expected) in [
            (format!("{TRACE}:{SPAN}:0:1"), Some((TRACE, Some(true)))),
            (format!("{TRACE}%3A{SPAN}%3a0%3A1"), Some((TRACE, Some(true)))),
            (format!("{SHORT}:{short}:0:2"), Some((SHORT, Some(true)))),
            (format!("5:{SPAN}:{SPAN}:0"), Some(("5", Some(false)))),
            (
                format!("{}:{SPAN}::00", &TRACE[1..]),
                Some((&TRACE[1..], Some(false))),
            ),
            (format!("{TRACE}:{SPAN}:0"), None),
            (format!("{TRACE}:{SPAN}:0:x"), None),
            (format!("{TRACE}:{SPAN}:0:1:2"), None),
            (format!("0{TRACE}:{SPAN}:0:1"), None),
            (format!("{TRACE}:0{SPAN}:0:1"), None),
            (format!(":{SPAN}:0:1"), None),
            (format!("0:{SPAN}:0:1"), None),
            (format!("{TRACE}:0:0:1"), None),
        ] {
            check(jaeger(&text), expected, &text);
        }
    }

    #[test]
    fn skywalking() {
        // trace "trace", segment "segment"
        let head = "1-dHJhY2U=-c2VnbWVudA==-3";
        let expected = |sampled| {
            Form::Context(SpanContext {
                flags: Some(TraceFlags::of(sampled)),
                ..ids::skywalking_context(b"trace", b"segment", 3)
            })
        };
        assert_eq!(sw8(&format!("{head}-cw==-aQ==-ZQ==-YQ==")), expected(true));
        assert_eq!(sw8(&format!("0{}-cw==-aQ==-ZQ==-", &head[1..])), expected(false));
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
