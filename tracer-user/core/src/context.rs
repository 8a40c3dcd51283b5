//! Trace contexts that a message carries in its properties (§3.2).
//!
//! In order of preference, by property name without regard to case, since propagators differ:
//!
//! | property | form |
//! |---|---|
//! | `traceparent`, with `tracestate` | W3C Trace Context |
//! | `TRACE_CONTEXT` | the same text as `traceparent` |
//! | `sw8` | SkyWalking: ids of text, from which ids of 16 and 8 bytes are computed |
//! | `b3` | B3 in one property |
//! | `X-B3-TraceId`, `X-B3-SpanId` | B3 in several |
//! | `uber-trace-id` | Jaeger |
//!
//! The first of several properties of one name counts: brokers up to 5.3.3 append a batch's own properties to
//! those of each message, and the message's own stand nearer to the application (§3.4). A property that only
//! says whether to sample carries no context, and is not malformed.

mod other;

use std::sync::Arc;

use crate::{
    model::{SpanContext, SpanId, TraceId},
    wire::Properties,
};

/// Longest `tracestate` that is passed on; W3C asks for at least this much.
const TRACE_STATE_MAX: usize = 512;

/// A context that came with a message.
#[derive(Clone, PartialEq, Debug)]
pub struct Carried {
    /// The span that the application says created the message.
    pub context: SpanContext,
    /// `tracestate`, unread.
    pub state: Option<Arc<str>>,
}

/// What a message's properties say about its trace.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lookup {
    /// The preferred context.
    pub carried: Option<Carried>,
    /// Contexts that were there but not readable.
    pub malformed: u32,
}

/// The properties that may carry a context; the first of each name.
#[derive(Clone, Copy, Default)]
struct Raw<'a> {
    parent: Option<&'a str>,
    state: Option<&'a str>,
    context: Option<&'a str>,
    sw8: Option<&'a str>,
    b3: Option<&'a str>,
    b3_trace: Option<&'a str>,
    b3_span: Option<&'a str>,
    uber: Option<&'a str>,
}

impl<'a> Raw<'a> {
    fn read(properties: &'a Properties) -> Raw<'a> {
        let mut raw = Raw::default();
        for (name, value) in properties.iter() {
            // most names of most messages are told apart by their length
            let (expected, slot) = match name.len() {
                2 => ("b3", &mut raw.b3),
                3 => ("sw8", &mut raw.sw8),
                10 => ("tracestate", &mut raw.state),
                11 if name.starts_with(['t', 'T']) => ("traceparent", &mut raw.parent),
                11 => ("X-B3-SpanId", &mut raw.b3_span),
                12 => ("X-B3-TraceId", &mut raw.b3_trace),
                13 if name.starts_with(['u', 'U']) => ("uber-trace-id", &mut raw.uber),
                13 => ("TRACE_CONTEXT", &mut raw.context),
                _ => continue,
            };
            if name.eq_ignore_ascii_case(expected) {
                slot.get_or_insert(value);
            }
        }
        raw
    }
}

/// What one form has to say.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// A context.
    Context(SpanContext),
    /// It is there, and carries no context.
    Nothing,
    /// It is there, and not readable.
    Malformed,
}

impl Form {
    fn of(context: Option<SpanContext>) -> Form {
        context.map_or(Form::Malformed, Form::Context)
    }
}

/// Looks for a carried context.
pub fn look_up(properties: &Properties) -> Lookup {
    let raw = Raw::read(properties);
    let w3c = |text| Form::of(parse_traceparent(text));
    let b3_multi = || match (raw.b3_trace, raw.b3_span) {
        (None, None) => None,
        (trace, span) => Some(other::b3_multi(trace, span)),
    };
    let forms = [
        raw.parent.map(w3c),
        raw.context.map(w3c),
        raw.sw8.map(other::sw8),
        raw.b3.map(other::b3),
        b3_multi(),
        raw.uber.map(other::jaeger),
    ];
    let mut found = Lookup::default();
    let mut preferred = None;
    for (index, form) in forms.into_iter().enumerate() {
        match form {
            Some(Form::Context(context)) => preferred = preferred.or(Some((index, context))),
            Some(Form::Malformed) => found.malformed += 1,
            Some(Form::Nothing) | None => {}
        }
    }
    found.carried = preferred.map(|(index, context)| {
        let state = raw.state.filter(|s| index == 0 && s.len() <= TRACE_STATE_MAX);
        Carried {
            context,
            state: state.map(Arc::from),
        }
    });
    found
}

/// `version "-" trace-id "-" parent-id "-" flags`, in lower-case hex. Later versions may append more; `ff` and
/// all-zero ids are invalid.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().splitn(5, '-');
    let [version] = hex::<1>(parts.next()?)?;
    let trace_id = hex::<16>(parts.next()?)?;
    let span_id = hex::<8>(parts.next()?)?;
    hex::<1>(parts.next()?)?;
    let more = parts.next().is_some();
    if version == 0xff || version == 0 && more {
        return None;
    }
    context(trace_id, span_id)
}

/// Ids that are not zero.
fn context(trace_id: [u8; 16], span_id: [u8; 8]) -> Option<SpanContext> {
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(SpanContext {
        trace_id: TraceId(trace_id),
        span_id: SpanId(span_id),
    })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn properties(entries: &[(&str, &str)]) -> Properties {
        let text: String = entries
            .iter()
            .map(|(name, value)| format!("{name}\u{1}{value}\u{2}"))
            .collect();
        Properties(Bytes::from(text))
    }

    fn ids(lookup: &Lookup) -> Option<(String, String)> {
        let carried = lookup.carried.as_ref()?;
        Some((
            carried.context.trace_id.to_string(),
            carried.context.span_id.to_string(),
        ))
    }

    #[test]
    fn traceparents() {
        for (text, good) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), true),
            (format!("01-{TRACE}-{SPAN}-01-what-the-future-brings"), true),
            (format!("00-{TRACE}-{SPAN}-01-more"), false),
            (format!("ff-{TRACE}-{SPAN}-01"), false),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{TRACE}-{SPAN}"), false),
            (format!("00-{TRACE}-{SPAN}-é"), false),
            (String::from("00"), false),
        ] {
            let found = look_up(&properties(&[("traceparent", &text)]));
            let expected = good.then(|| (TRACE.to_owned(), SPAN.to_owned()));
            assert_eq!(ids(&found), expected, "{text}");
            assert_eq!(found.malformed, u32::from(!good), "{text}");
        }
    }

    #[test]
    fn names_in_any_case_and_order() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let other = format!("00-{}-{SPAN}-01", "1".repeat(32));
        let found = look_up(&properties(&[
            ("TAGS", "a"),
            ("TRACE_CONTEXT", &other),
            ("TraceState", "vendor=1"),
            ("TraceParent", &parent),
            ("traceparent", &other),
        ]));
        assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
        assert_eq!(found.carried.and_then(|c| c.state).as_deref(), Some("vendor=1"));
    }

    #[test]
    fn forms_in_order_of_preference() {
        let trace = |n: u8| format!("{n:032x}");
        let forms = [
            ("traceparent", format!("00-{}-{SPAN}-01", trace(1))),
            ("TRACE_CONTEXT", format!("00-{}-{SPAN}-01", trace(2))),
            ("sw8", "1-YQ==-Yg==-0-Yw==-ZA==-ZQ==-Zg==".to_owned()),
            ("b3", format!("{}-{SPAN}", trace(4))),
            ("X-B3-TraceId", trace(5)),
            ("uber-trace-id", format!("6:{SPAN}:0:1")),
        ];
        let sw8 = crate::ids::trace_id(b"a").to_string();
        let expected = [trace(1), trace(2), sw8, trace(4), trace(5), trace(6)];
        for (first, expected) in expected.into_iter().enumerate() {
            // the least preferred come first
            let mut entries: Vec<_> = forms[first..]
                .iter()
                .rev()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            entries.push(("x-b3-spanid", SPAN));
            if first > 4 {
                entries.pop();
            }
            let found = look_up(&properties(&entries));
            assert_eq!(ids(&found).unwrap().0, expected);
            assert_eq!(found.malformed, 0);
        }
    }

    #[test]
    fn the_state_goes_with_its_parent_only() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let found = look_up(&properties(&[
            ("TRACE_CONTEXT", &good),
            ("tracestate", "vendor=1"),
        ]));
        assert_eq!(found.carried.and_then(|c| c.state), None);
    }

    #[test]
    fn every_malformed_form_counts() {
        let names = [
            "traceparent",
            "TRACE_CONTEXT",
            "sw8",
            "b3",
            "X-B3-TraceId",
            "uber-trace-id",
        ];
        let found = look_up(&properties(&names.map(|name| (name, "junk"))));
        assert_eq!((found.carried, found.malformed), (None, 6));
    }

    #[test]
    fn trace_context_stands_in_for_a_malformed_parent() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let found = look_up(&properties(&[("traceparent", "junk"), ("TRACE_CONTEXT", &good)]));
        assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
        assert_eq!(found.malformed, 1);
        assert_eq!(look_up(&properties(&[("TAGS", "a")])), Lookup::default());
    }
}
