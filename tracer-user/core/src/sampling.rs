//! Which spans are kept: OpenTelemetry's samplers, decided by the trace of the message.
//!
//! A tracer sees only a part of a message's spans; the others are seen by tracers on other hosts, or made by
//! instrumented processes. All of them must come to the same decision without talking. So it depends on nothing but
//! what everybody who sees the message sees: the trace id, computed or carried, and the carried sampled flag.
//!
//! - A span without links is decided by its own context: sends, creates, ends of transactions, replies.
//! - A process span is decided by its first link, its message's creation context: it may stand in the trace of a
//!   receive, and so may the attempt before it, which it links too.
//! - Any other span with links is kept when one of the linked contexts is: batch sends, receives and settlements,
//!   which stand in traces of their own and concern several messages.
//! - A span with links and a carried context of its own counts that among them.
//!
//! The rule of the ratio is that of OpenTelemetry's Java SDK, which RocketMQ's instrumented clients have
//! (`TraceIdRatioBasedSampler`): the low 64 bits of the trace id, as a signed number and without its sign, are below
//! `ratio · (2^63 − 1)`. SDKs of other languages shift or mask these bits and may differ on ids whose highest bit is
//! set; with them a parent-based sampler agrees, since the carried flag tells.

use crate::model::{Operation, Span, SpanContext, TraceId};

/// What is kept where nobody upstream has decided.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Everything.
    AlwaysOn,
    /// Nothing.
    AlwaysOff,
    /// This part of all traces, from 0 to 1.
    TraceIdRatio(f64),
}

impl Rule {
    /// Whether a trace is kept.
    pub fn keeps(self, trace: TraceId) -> bool {
        match self {
            Rule::AlwaysOn => true,
            Rule::AlwaysOff => false,
            Rule::TraceIdRatio(ratio) if ratio >= 1.0 => true,
            Rule::TraceIdRatio(ratio) if ratio > 0.0 => {
                let [.., a, b, c, d, e, f, g, h] = trace.0;
                let low = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
                // the smallest number stays negative, as it does in Java
                low.wrapping_abs() < (ratio * i64::MAX as f64) as i64
            }
            Rule::TraceIdRatio(_) => false,
        }
    }
}

/// A sampler.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampler {
    /// For traces on which nobody has decided.
    pub rule: Rule,
    /// A carried sampled flag decides before the rule does.
    pub parent_based: bool,
}

impl Sampler {
    /// Keeps everything.
    pub const ALL: Sampler = Sampler {
        rule: Rule::AlwaysOn,
        parent_based: false,
    };

    /// Whether a span is kept.
    pub fn keeps(&self, span: &Span) -> bool {
        // most runs keep most spans
        *self == Sampler::ALL || deciding(span).any(|context| self.decides(&context))
    }

    fn decides(&self, context: &SpanContext) -> bool {
        match context.flags.filter(|_| self.parent_based) {
            Some(flags) => flags.is_sampled(),
            None => self.rule.keeps(context.trace_id),
        }
    }
}

/// The contexts of the messages that a span is about, of which one that is kept is enough.
pub fn deciding(span: &Span) -> impl Iterator<Item = SpanContext> + '_ {
    let own = span.links.is_empty() || span.context.flags.is_some();
    let most = if span.operation == Operation::Process {
        1
    } else {
        usize::MAX
    };
    let links = span.links.iter().take(most).map(|link| link.context);
    own.then_some(span.context).into_iter().chain(links)
}

#[cfg(test)]
mod tests;
