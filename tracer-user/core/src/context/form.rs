//! What the value of one property says, W3C's form of it, and which form a property of configured name has.

use std::{fmt, str::FromStr};

use super::other;
use crate::{
    hex,
    model::{SpanContext, SpanId, TraceFlags, TraceId},
};

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
    let mut rest = text.trim().as_bytes();
    let [version] = field(&mut rest)?;
    let trace_id = field::<16>(&mut rest)?;
    let span_id = field::<8>(&mut rest)?;
    let (flags, behind) = rest.split_first_chunk::<2>()?;
    let [flags] = hex_bytes(flags)?;
    match behind {
        [] if version == 0 => {}
        [] | [b'-', ..] if version != 0 && version != 0xff => {}
        _ => return None,
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

/// The next `N` bytes in lower-case hex, and the hyphen behind them.
fn field<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (digits, behind) = rest.split_at_checked(2 * N)?;
    *rest = behind.strip_prefix(b"-")?;
    hex_bytes(digits)
}

/// Exactly `N` bytes in lower-case hex.
pub(super) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex_bytes(text.as_bytes())
}

#[inline(always)]
fn hex_bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    let ((words, digits), (fours, ones)) = (text.as_chunks(), out.as_chunks_mut());
    for (four, word) in fours.iter_mut().zip(words) {
        *four = hex::of_lower_case_word(*word)?;
    }
    for (one, [high, low]) in ones.iter_mut().zip(digits.as_chunks().0) {
        let (high, low) = (hex::of_lower_case(*high), hex::of_lower_case(*low));
        if (high | low) > 15 {
            return None;
        }
        *one = high << 4 | low;
    }
    Some(out)
}
