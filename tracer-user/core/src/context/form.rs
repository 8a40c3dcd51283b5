//! What the value of one property says, W3C's form of it, and which form a property of configured name has.

use std::{fmt, str::FromStr};

use super::other;
use crate::model::{SpanContext, SpanId, TraceFlags, TraceId};

/// What one property has to say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Form {
    /// A context.
    Context(SpanContext),
    /// It carries no ids, at most a word on whether to sample.
    Flags(Option<TraceFlags>),
    /// It is there, and not readable.
    Malformed,
}

impl Form {
    pub(super) fn of(context: Option<SpanContext>) -> Form {
        context.map_or(Form::Malformed, Form::Context)
    }
}

/// How a property's value is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Whichever of the others fits.
    #[default]
    Auto,
    /// W3C `traceparent`.
    W3c,
    /// B3 in one property.
    B3,
    /// Jaeger's `uber-trace-id`.
    Jaeger,
    /// SkyWalking's `sw8`.
    Skywalking,
}

impl Format {
    /// Every format with its name in settings.
    pub const ALL: [(&'static str, Format); 5] = [
        ("auto", Format::Auto),
        ("w3c", Format::W3c),
        ("b3", Format::B3),
        ("jaeger", Format::Jaeger),
        ("sw8", Format::Skywalking),
    ];

    pub(super) fn read(self, text: &str) -> Form {
        match self {
            Format::W3c => w3c(text),
            Format::B3 => other::b3(text),
            Format::Jaeger => other::jaeger(text),
            Format::Skywalking => other::sw8(text),
            // no text is of two of the forms
            Format::Auto => [w3c, other::sw8, other::b3, other::jaeger]
                .into_iter()
                .map(|read| read(text))
                .find(|form| *form != Form::Malformed)
                .unwrap_or(Form::Malformed),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Format::ALL.iter().find(|(_, format)| format == self);
        f.write_str(name.map_or("auto", |(name, _)| name))
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Format, ()> {
        let found = Format::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or(())
    }
}

/// `version "-" trace-id "-" parent-id "-" flags`, in lower-case hex. Later versions may append more; `ff` and
/// all-zero ids are invalid.
pub(super) fn w3c(text: &str) -> Form {
    Form::of(traceparent(text))
}

fn traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().splitn(5, '-');
    let [version] = hex::<1>(parts.next()?)?;
    let trace_id = hex::<16>(parts.next()?)?;
    let span_id = hex::<8>(parts.next()?)?;
    let [flags] = hex::<1>(parts.next()?)?;
    let more = parts.next().is_some();
    if version == 0xff || version == 0 && more {
        return None;
    }
    // the other bits have no meaning yet, and are not to be passed on
    let flags = TraceFlags(flags & (TraceFlags::SAMPLED.0 | TraceFlags::RANDOM.0));
    context(trace_id, span_id, Some(flags))
}

/// Ids that are not zero.
pub(super) fn context(
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: Option<TraceFlags>,
) -> Option<SpanContext> {
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(SpanContext {
        trace_id: TraceId(trace_id),
        span_id: SpanId(span_id),
        flags,
    })
}

/// Exactly `N` bytes in lower-case hex.
pub(super) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
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
