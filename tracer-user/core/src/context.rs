//! Trace contexts that a message carries in its properties (§3.2).
//!
//! In order of preference, by property name without regard to case, since propagators differ:
//!
//! | property | form |
//! |---|---|
//! | `traceparent`, with `tracestate` | W3C Trace Context |
//! | `TRACE_CONTEXT` | the same text as `traceparent` |
//!
//! The first of several properties of one name counts: brokers up to 5.3.3 append a batch's own properties to
//! those of each message, and the message's own stand nearer to the application (§3.4). Not read: `sw8`, whose
//! trace ids are no 16 bytes, and the propagators b3 and jaeger.

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

/// Looks for a carried context.
pub fn look_up(properties: &Properties) -> Lookup {
    let (mut parent, mut state, mut context) = (None, None, None);
    for (name, value) in properties.iter() {
        let slot = match name.len() {
            11 if name.eq_ignore_ascii_case("traceparent") => &mut parent,
            10 if name.eq_ignore_ascii_case("tracestate") => &mut state,
            13 if name.eq_ignore_ascii_case("TRACE_CONTEXT") => &mut context,
            _ => continue,
        };
        slot.get_or_insert(value);
    }
    let mut found = Lookup::default();
    for (text, state) in [(parent, state), (context, None)] {
        let Some(text) = text else { continue };
        match parse_traceparent(text) {
            None => found.malformed += 1,
            Some(_) if found.carried.is_some() => {}
            Some(context) => {
                let state = state.filter(|s| s.len() <= TRACE_STATE_MAX).map(Arc::from);
                found.carried = Some(Carried { context, state });
            }
        }
    }
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
    let valid = version != 0xff && !(version == 0 && more) && trace_id != [0; 16] && span_id != [0; 8];
    valid.then_some(SpanContext {
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
    fn trace_context_stands_in_for_a_malformed_parent() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let found = look_up(&properties(&[("traceparent", "junk"), ("TRACE_CONTEXT", &good)]));
        assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
        assert_eq!(found.malformed, 1);
        assert_eq!(look_up(&properties(&[("TAGS", "a")])), Lookup::default());
    }
}
