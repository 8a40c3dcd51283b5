//! What the OpenTelemetry Java agent says about the same messages.
//!
//! The agent makes a `T publish` span for each send, writes its context into the message as `traceparent`, and makes a
//! `T process` span for each message that a push listener gets. So with it our spans stand below its `publish` spans.
//!
//! Where it is silent or wrong, the clients' own accounts are the truth: it makes no consumer spans for pull consumers, tells
//! attempts of a message not apart, names no message on one-way sends, gives a 5.x client's batch a
//! context and its messages none, and joins the ids of a batch with commas.

use std::collections::{HashMap, HashSet};

use crate::Span;

/// The agent's spans, by what they are about.
#[derive(Debug, Default)]
pub struct Agent<'a> {
    /// `publish` spans by the ids of messages that carry their context.
    published: HashMap<String, &'a Span>,
    /// `publish` spans of batches by the ids of their messages.
    batched: HashMap<&'a str, &'a Span>,
    /// `process` spans by message id.
    processed: HashMap<&'a str, Vec<&'a Span>>,
}

/// Whether a span is the agent's.
pub fn is_agent(span: &Span) -> bool {
    span.resource
        .get("telemetry.sdk.name")
        .is_some_and(|name| name == "opentelemetry")
}

impl<'a> Agent<'a> {
    /// Takes the agent's spans out of a run's.
    pub fn new(spans: &'a [Span]) -> Agent<'a> {
        let mut agent = Agent::default();
        let mut nameless: HashMap<(&str, &str), &Span> = HashMap::new();
        for span in spans.iter().filter(|span| is_agent(span)) {
            match span.text("messaging.operation") {
                "publish" if span.message_id().is_empty() => {
                    nameless.insert((&span.trace_id, &span.span_id), span);
                }
                "publish" if span.message_id().contains(',') => {
                    let ids = span.message_id().split(',');
                    agent.batched.extend(ids.map(|id| (id, span)));
                }
                "publish" => {
                    agent.published.insert(span.message_id().to_owned(), span);
                }
                "process" => agent.processed.entry(span.message_id()).or_default().push(span),
                _ => {}
            }
        }
        // The frame of a 5.x client's batch carries a context and its messages carry none, so that they are of no trace where
        // the agent meets them again; those of a 4.x client carry the frame's.
        for (&id, &publish) in &agent.batched {
            let processed = agent.processed.get(id).into_iter().flatten();
            if processed.into_iter().any(|process| is_below(process, publish)) {
                agent.published.insert(id.to_owned(), publish);
            }
        }
        // A span without a message is that of the message whose send stands below it, on the same topic.
        for span in spans
            .iter()
            .filter(|span| span.operation() == "send" && !is_agent(span))
        {
            let above = nameless.get(&(span.trace_id.as_str(), span.parent_span_id.as_str()));
            if let Some(publish) = above.filter(|publish| publish.topic() == span.topic()) {
                agent.published.insert(span.message_id().to_owned(), publish);
            }
        }
        agent
    }

    /// The `publish` span of the batch that a message is in.
    pub fn batched(&self, msg_id: &str) -> Option<&'a Span> {
        self.batched.get(msg_id).copied()
    }

    /// The `publish` span whose context a message carries.
    pub fn published(&self, msg_id: &str) -> Option<&'a Span> {
        self.published.get(msg_id).copied()
    }

    /// The `process` span of a message that ends nearest to a moment: attempts look alike.
    pub fn processed(&self, msg_id: &str, end_ns: u64) -> Option<&'a Span> {
        let spans = self.processed.get(msg_id)?;
        spans
            .iter()
            .copied()
            .min_by_key(|span| span.end_ns.abs_diff(end_ns))
    }

    /// How many `publish` spans there are.
    pub fn publishes(&self) -> usize {
        let spans: HashSet<&str> = (self.published.values())
            .chain(self.batched.values())
            .map(|span| span.span_id.as_str())
            .collect();
        spans.len()
    }
}

/// Whether the agent joined a `process` span to a `publish` span, as its child or by a link.
fn is_below(process: &Span, publish: &Span) -> bool {
    process.parent_span_id == publish.span_id || process.links_to(&publish.trace_id, &publish.span_id)
}
