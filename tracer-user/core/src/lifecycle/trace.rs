//! Which trace a message belongs to.

use std::sync::Arc;

use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::Sink;
use crate::{
    context::{Carried, Lookup},
    engine::limits,
    model::{SpanContext, SpanId},
};

/// Where a trace id comes from: `rmqtrace.trace.origin`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Computed from the message id.
    MessageId,
    /// Carried by the message.
    Propagated,
    /// Drawn at random: nothing joins the trace.
    None,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Origin::MessageId => "message_id",
            Origin::Propagated => "propagated",
            Origin::None => "none",
        }
    }
}

/// A message's place in a trace.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Trace {
    /// The span that created the message, as everybody who sees the message computes or reads it.
    pub(crate) creation: Option<SpanContext>,
    /// The id of the first successful send span.
    pub(crate) send_span: Option<SpanId>,
    /// `tracestate` of a carried context.
    pub(crate) state: Option<Arc<str>>,
    pub(crate) origin: Origin,
}

impl Trace {
    /// The trace of the message with this id, whose properties say this.
    pub(crate) fn of(sink: &Sink, key: Option<&str>, lookup: Lookup) -> Trace {
        let derived = key.and_then(|key| sink.derived(key)).map(|context| SpanContext {
            flags: lookup.flags,
            ..context
        });
        let send_span = derived.map(|context| context.span_id);
        match (lookup.carried, derived) {
            (Some(Carried { context, state }), _) => Trace {
                creation: Some(context),
                send_span,
                state,
                origin: Origin::Propagated,
            },
            (None, Some(_)) => Trace {
                creation: derived,
                send_span,
                state: None,
                origin: Origin::MessageId,
            },
            (None, None) => Trace {
                creation: None,
                send_span,
                state: None,
                origin: Origin::None,
            },
        }
    }

    /// A new span within the trace.
    pub(crate) fn child(&self, sink: &mut Sink) -> SpanContext {
        match self.creation {
            Some(creation) => SpanContext {
                span_id: sink.ids.span_id(),
                ..creation
            },
            None => sink.random_context(),
        }
    }
}

/// The attempts to send a message, by its id. Bounded; the message used longest ago is forgotten.
#[derive(Debug)]
pub(crate) struct Attempts(LruCache<u128, Attempt>);

#[derive(Clone, Copy, Default, Debug)]
struct Attempt {
    /// Since the last success.
    count: u32,
    succeeded: bool,
}

impl Attempts {
    pub(crate) fn new() -> Attempts {
        Attempts(LruCache::new(limits::ATTEMPTS))
    }

    /// The number, from 1, of the attempt that begins. A message sent again after a success begins anew.
    pub(crate) fn begin(&mut self, key: &str) -> u32 {
        let attempt = self.entry(key);
        attempt.count = attempt.count.saturating_add(1);
        attempt.count
    }

    /// Notes a success; whether it is the message's first.
    pub(crate) fn succeed(&mut self, key: &str) -> bool {
        let attempt = self.entry(key);
        attempt.count = 0;
        !std::mem::replace(&mut attempt.succeeded, true)
    }

    fn entry(&mut self, key: &str) -> &mut Attempt {
        self.0
            .entry(xxh3_128(key.as_bytes()))
            .or_insert_with(Attempt::default)
    }
}
