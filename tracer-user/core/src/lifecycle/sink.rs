//! What every part of the lifecycle writes to and draws from.

use std::{collections::VecDeque, sync::Arc};

use super::{conversation::Conversations, message::Known};
use crate::{
    context::{self, Lookup},
    engine::{Config, Output, Totals, names::Names},
    ids::{self, Generator},
    model::{Operation, Span, SpanContext, Value, attribute},
    stream::Event,
    wire::Properties,
};

/// Spans out, counters up, names and ids shared.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) config: Config,
    pub(crate) totals: Totals,
    pub(crate) outputs: VecDeque<Output>,
    /// Empty: room for what comes out of the stream that is at work.
    pub(crate) events: VecDeque<Event>,
    pub(crate) ids: Generator,
    pub(crate) conversations: Conversations,
    /// Wall-clock time minus the records' time, nanoseconds; unknown until it is told.
    pub(crate) wall_offset_ns: Option<i64>,
    names: Names,
}

impl Sink {
    pub(crate) fn new(config: Config) -> Sink {
        let ids = Generator::new(config.seed);
        Sink {
            config,
            totals: Totals::default(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            ids,
            conversations: Conversations::new(),
            wall_offset_ns: None,
            names: Names::default(),
        }
    }

    /// The shared form of a name.
    pub(crate) fn name(&mut self, text: &str) -> Arc<str> {
        self.names.get(text)
    }

    /// A span in a trace of its own.
    pub(crate) fn random_context(&mut self) -> SpanContext {
        SpanContext {
            trace_id: self.ids.trace_id(),
            span_id: self.ids.span_id(),
            flags: None,
        }
    }

    /// The computed creation context of a message, unless ids are not to be computed.
    pub(crate) fn derived(&self, key: &str) -> Option<SpanContext> {
        self.config
            .derive_ids
            .then(|| ids::creation_context(key.as_bytes()))
    }

    /// What a message's properties say about its trace; what is not readable is counted. `known` is what was read of
    /// them.
    pub(crate) fn look_up(&mut self, properties: &Properties, known: &Known<'_>) -> Lookup {
        let lookup = context::look_up_in(&known.carriers, properties, &self.config.context_properties);
        self.totals.malformed_contexts += u64::from(lookup.malformed);
        lookup
    }

    /// Puts out a span.
    pub(crate) fn emit(&mut self, span: Span) {
        let totals = &mut self.totals;
        totals.spans += 1;
        match span.operation {
            Operation::Create => totals.create_spans += 1,
            Operation::Send => totals.send_spans += 1,
            Operation::Reply => totals.reply_spans += 1,
            Operation::Recall => totals.recall_spans += 1,
            Operation::Process => totals.process_spans += 1,
            Operation::Receive => totals.receive_spans += 1,
            // counted where they are made: a commit is of either kind
            Operation::Ack | Operation::Nack | Operation::Extend => {}
            Operation::Commit | Operation::Rollback | Operation::Check => {}
        }
        if span.attribute(attribute::RMQTRACE_INCOMPLETE) == Some(&Value::Bool(true)) {
            totals.incomplete_spans += 1;
        }
        self.outputs.push_back(Output::Span(span));
    }
}
