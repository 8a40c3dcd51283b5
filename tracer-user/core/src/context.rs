//! Trace contexts that a message carries in its properties (§3.2).
//!
//! In order of preference, by property name without regard to case, since propagators differ:
//!
//! | property | form |
//! |---|---|
//! | those that the configuration names, in its order | as it says, or whichever of these forms fits |
//! | `traceparent`, with `tracestate` | W3C Trace Context |
//! | `TRACE_CONTEXT` | the same text as `traceparent` |
//! | `sw8` | SkyWalking: ids of text, from which ids of 16 and 8 bytes are computed |
//! | `b3` | B3 in one property |
//! | `X-B3-TraceId`, `X-B3-SpanId`, `X-B3-Sampled`, `X-B3-Flags` | B3 in several |
//! | `uber-trace-id` | Jaeger |
//!
//! The first of several properties of one name counts: brokers up to 5.3.3 append a batch's own properties to
//! those of each message, and the message's own stand nearer to the application (§3.4). A property that only
//! says whether to sample carries no context, and is not malformed; where no form carries ids, the first such word
//! goes with the ids that are computed.

mod form;
mod other;

use std::sync::Arc;

use self::form::Form;
pub use self::form::Format;
use crate::{
    model::{SpanContext, TraceFlags},
    wire::Properties,
};

/// Longest `tracestate` that is passed on; W3C asks for at least this much.
const TRACE_STATE_MAX: usize = 512;

/// A user property that carries a context, by configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextProperty {
    /// Its name, compared without regard to case.
    pub name: Box<str>,
    /// How its value is to be read.
    pub format: Format,
}

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
    /// Where no context came: whether the trace is to be sampled, if that was said.
    pub flags: Option<TraceFlags>,
    /// Contexts that were there but not readable.
    pub malformed: u32,
}

impl Lookup {
    /// This, or `other` where nothing was carried here.
    pub(crate) fn or(self, other: impl FnOnce() -> Lookup) -> Lookup {
        if self.carried.is_some() || self.flags.is_some() {
            self
        } else {
            other()
        }
    }

    /// Takes in what the next property says, in order of preference. `state` came with it.
    fn take(&mut self, form: Form, state: Option<&str>) {
        match form {
            Form::Context(context) => {
                self.carried.get_or_insert_with(|| Carried {
                    context,
                    state: state
                        .filter(|state| state.len() <= TRACE_STATE_MAX)
                        .map(Arc::from),
                });
            }
            Form::Flags(said) => self.flags = self.flags.or(said),
            Form::Malformed => self.malformed += 1,
        }
    }
}

/// The properties that may carry a context; the first of each name.
#[derive(Clone, Copy, Default, Debug)]
pub struct Carriers<'a> {
    parent: Option<&'a str>,
    state: Option<&'a str>,
    context: Option<&'a str>,
    sw8: Option<&'a str>,
    b3: Option<&'a str>,
    b3_parts: other::Parts<'a>,
    uber: Option<&'a str>,
}

impl<'a> Carriers<'a> {
    fn read(properties: &'a Properties) -> Carriers<'a> {
        let mut carriers = Carriers::default();
        for (name, value) in properties.entries().texts() {
            carriers.note(name, value);
        }
        carriers
    }

    /// Whether no property carries a context. A state by itself says nothing.
    fn is_empty(&self) -> bool {
        let texts = [self.parent, self.context, self.sw8, self.b3, self.uber];
        texts.iter().all(Option::is_none) && self.b3_parts.is_empty()
    }

    /// Takes in a property, if it is one of them; its value is `None` where it is not UTF-8.
    #[inline]
    pub fn note(&mut self, name: &[u8], value: Option<&'a str>) {
        // nearly all names of nearly all messages are told apart by their length and a letter
        let (expected, slot): (&[u8], _) = match *name {
            [b'b' | b'B', _] => (b"b3", &mut self.b3),
            [b's' | b'S', _, _] => (b"sw8", &mut self.sw8),
            [b't' | b'T', ..] => match name.len() {
                10 => (b"tracestate", &mut self.state),
                11 => (b"traceparent", &mut self.parent),
                13 => (b"TRACE_CONTEXT", &mut self.context),
                _ => return,
            },
            [b'u' | b'U', ..] if name.len() == 13 => (b"uber-trace-id", &mut self.uber),
            [b'x' | b'X', b'-', ..] => match name.len() {
                10 => (b"X-B3-Flags", &mut self.b3_parts.flags),
                11 => (b"X-B3-SpanId", &mut self.b3_parts.span),
                12 if matches!(name, [_, _, _, _, _, b't' | b'T', ..]) => {
                    (b"X-B3-TraceId", &mut self.b3_parts.trace)
                }
                12 => (b"X-B3-Sampled", &mut self.b3_parts.sampled),
                _ => return,
            },
            _ => return,
        };
        if (name == expected || name.eq_ignore_ascii_case(expected))
            && let Some(value) = value
        {
            slot.get_or_insert(value);
        }
    }
}

/// Looks for a carried context, `named` before the usual places.
pub fn look_up(properties: &Properties, named: &[ContextProperty]) -> Lookup {
    look_up_in(&Carriers::read(properties), properties, named)
}

/// [`look_up`], where the properties have been read before and these were noted.
pub fn look_up_in(carriers: &Carriers<'_>, properties: &Properties, named: &[ContextProperty]) -> Lookup {
    if carriers.is_empty() && named.is_empty() {
        return Lookup::default();
    }
    let mut found = Lookup::default();
    for property in named {
        let same = |name: &str| name.eq_ignore_ascii_case(&property.name);
        if let Some((_, value)) = properties.iter().find(|(name, _)| same(name)) {
            found.take(property.format.read(value), None);
        }
    }
    if let Some(text) = carriers.parent {
        found.take(form::w3c(text), carriers.state);
    }
    if let Some(text) = carriers.context {
        found.take(form::w3c(text), None);
    }
    if let Some(text) = carriers.sw8 {
        found.take(other::sw8(text), None);
    }
    if let Some(text) = carriers.b3 {
        found.take(other::b3(text), None);
    }
    if let Some(form) = carriers.b3_parts.form() {
        found.take(form, None);
    }
    if let Some(text) = carriers.uber {
        found.take(other::jaeger(text), None);
    }
    found.flags = found.flags.filter(|_| found.carried.is_none());
    found
}

#[cfg(test)]
mod tests;
