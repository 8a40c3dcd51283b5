//! Spans against what the client programs themselves logged, message by message. Pure: accounts and spans in, a verdict out.
//!
//! A scenario's topics are its own, so each of their spans must belong to something that a client logged, and
//! everything that a client logged must have its span:
//!
//! | Logged | Span | Module |
//! |---|---|---|
//! | a message sent, or refused | `send`; of a batch one `send` and a `create` for each message | [`sends`] |
//! | a handler's call | `process` | [`processes`] |
//! | a decision about a half message, a recall, a reply | `commit`, `rollback`, `check`; `recall`; `reply` | [`others`] |
//!
//! A message that was delivered, but never came to a handler (its client was killed, its queue went to somebody else), may have a
//! `process` span only if that says that it does not know the end.

mod agent;
mod figures;
mod others;
mod processes;
mod sends;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::{HashMap, HashSet};

pub use self::{
    agent::{Agent, is_agent},
    figures::{Figures, Quantiles},
};
use crate::{
    Span,
    client::{Library, Said, Sent},
    ids,
};

/// A client reads its clock with `clock_gettime`, the tracer maps the kernel's boot-time clock to it: the two may disagree by
/// this many nanoseconds.
pub const CLOCK_TOLERANCE_NS: u64 = 200_000;

/// Ends a check with a message unless a condition holds.
macro_rules! same {
    ($what:expr, $found:expr, $wanted:expr) => {{
        let (found, wanted) = ($found, $wanted);
        if found != wanted {
            return Err(format!("{}: found {found:?}, wanted {wanted:?}", $what));
        }
    }};
}
pub(crate) use same;

/// What one check of one span came to.
pub(crate) type Check = Result<(), String>;

/// A client program and what it said.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its process.
    pub pid: u32,
    /// What it is built on.
    pub library: Library,
    /// Its account.
    pub said: Said,
}

/// Where a message's spans belong.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Context {
    /// Ids are computed from the message's key.
    #[default]
    Derived,
    /// The message carries a context of this trace id and span id, in lower-case hex.
    Carried(&'static str, &'static str),
}

/// What is right in a scenario.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// Where its messages belong.
    pub context: Context,
    /// Evidence that the end of a success may have.
    pub success: &'static [&'static str],
    /// Evidence that the end of a failure may have.
    pub failure: &'static [&'static str],
    /// A failed message is handled again without a new delivery.
    pub orderly: bool,
    /// The broker stores the message elsewhere first: the answer's queue and offset are not those of the delivery.
    pub deferred: bool,
    /// Messages may be delivered that no handler sees.
    pub unhandled: bool,
    /// The client may pull before its first heartbeat tells how it consumes.
    pub unannounced: bool,
    /// `messaging.rocketmq.message.type` of the sends.
    pub kind: &'static str,
    /// `messaging.rocketmq.consumption_model`.
    pub model: &'static str,
}

impl Rules {
    /// Whether the clients trace themselves.
    pub fn is_traced(&self) -> bool {
        self.success.contains(&"client_trace")
    }

    /// What is right where nothing is special.
    pub const fn usual() -> Rules {
        Rules {
            context: Context::Derived,
            success: &["offset_commit"],
            failure: &["send_back"],
            orderly: false,
            deferred: false,
            unhandled: false,
            unannounced: false,
            kind: "normal",
            model: "clustering",
        }
    }
}

/// One scenario: the topics that nobody else uses, what was said and what is right.
#[derive(Debug)]
pub struct Story<'a> {
    /// As spans name them.
    pub topics: &'a [String],
    /// All clients of the run.
    pub witnesses: &'a [Witness],
    /// What is right.
    pub rules: Rules,
    /// What the OpenTelemetry agent in the clients said, where there was one.
    pub agent: Option<&'a Agent<'a>>,
    /// Process of the proxy between clients and broker: it sends each message once more.
    pub proxy: Option<u32>,
}

impl Story<'_> {
    /// Where the spans of the message with this id belong.
    pub(crate) fn place(&self, msg_id: &str) -> Place {
        let send = ids::send_span_id(msg_id);
        let carried = |trace: &str, parent: &str| Place {
            trace: trace.to_owned(),
            creation: parent.to_owned(),
            above: parent.to_owned(),
            origin: "propagated",
            send: send.clone(),
        };
        // Around a batch the agent puts its context, into each message of it the application puts its own, which is nearer;
        // a broker that appends the one to the other makes both known to the consumer (§3.4).
        let has_own = self.rules.context != Context::Derived;
        let nearest = |agent: &&Agent<'_>| !(has_own && agent.batched(msg_id).is_some());
        let agent = self.agent.filter(nearest);
        if let Some(publish) = agent.and_then(|agent| agent.published(msg_id)) {
            return carried(&publish.trace_id, &publish.span_id);
        }
        match self.rules.context {
            Context::Derived => Place {
                trace: ids::trace_id(msg_id),
                creation: send.clone(),
                above: String::new(),
                origin: "message_id",
                send,
            },
            Context::Carried(trace, parent) => carried(trace, parent),
        }
    }
}

/// What a comparison came to.
#[derive(Clone, Default, Debug)]
pub struct Verdict {
    /// Counts and times.
    pub figures: Figures,
    /// Everything that is wrong, in words.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Notes what a check found wrong about this.
    pub(crate) fn note(&mut self, check: Check, about: impl FnOnce() -> String) {
        if let Err(problem) = check {
            self.problems.push(format!("{problem}: {}", about()));
        }
    }
}

/// The spans that a comparison has not accounted for yet, by their place in the list.
pub(crate) struct Unclaimed<'a> {
    spans: Vec<&'a Span>,
    /// Places by message id; empty for spans of several messages.
    by_message: HashMap<&'a str, Vec<usize>>,
    claimed: HashSet<usize>,
}

impl<'a> Unclaimed<'a> {
    fn new(spans: Vec<&'a Span>) -> Unclaimed<'a> {
        let mut by_message: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, span) in spans.iter().enumerate() {
            by_message.entry(span.message_id()).or_default().push(index);
        }
        Unclaimed {
            spans,
            by_message,
            claimed: HashSet::new(),
        }
    }

    /// The spans of a message that satisfy `wanted`, with their places.
    pub(crate) fn find(&self, msg_id: &str, wanted: impl Fn(&Span) -> bool) -> Vec<(usize, &'a Span)> {
        let places = self.by_message.get(msg_id).into_iter().flatten();
        let spans = places.filter_map(|&index| Some((index, *self.spans.get(index)?)));
        spans
            .filter(|(index, span)| !self.claimed.contains(index) && wanted(span))
            .collect()
    }

    /// Claims the one span of a message that satisfies `wanted`; where there is none or several, those.
    pub(crate) fn claim_one(
        &mut self,
        msg_id: &str,
        wanted: impl Fn(&Span) -> bool,
    ) -> Result<&'a Span, Vec<(usize, &'a Span)>> {
        let spans = self.find(msg_id, wanted);
        let &[(index, span)] = spans.as_slice() else {
            return Err(spans);
        };
        self.claim(index);
        Ok(span)
    }

    /// All that are left, with their places.
    pub(crate) fn rest(&self) -> Vec<(usize, &'a Span)> {
        let spans = self.spans.iter().copied().enumerate();
        spans.filter(|(index, _)| !self.claimed.contains(index)).collect()
    }

    /// The span at this place belongs to something that was logged.
    pub(crate) fn claim(&mut self, index: usize) {
        self.claimed.insert(index);
    }
}

/// A message's place in a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) trace: String,
    /// Id of the send (or create) span of its success.
    pub(crate) send: String,
    /// Parent of the send span; empty for none.
    pub(crate) above: String,
    /// Parent of the consumers' spans.
    pub(crate) creation: String,
    pub(crate) origin: &'static str,
}

/// Some libraries send messages without a UNIQ_KEY: a 5.x broker makes one, which neither end's application is shown. Both know
/// the message's own key, so the id is taken from the send span with that; that the consumers' spans have the same id is
/// still to be shown. Of C++'s batches the sender knows nothing but the time of the call, and the consumer the id.
pub fn learn_keys(witnesses: &mut [Witness], spans: &[Span]) {
    for witness in witnesses {
        let makes_keys = witness.library.makes_keys();
        for sent in &mut witness.said.sent {
            if makes_keys && !sent.msg_id.is_empty() {
                continue;
            }
            let is_its = |span: &&Span| {
                let said = match sent.key.as_str() {
                    "" => sent.start_ns <= span.start_ns && span.end_ns <= sent.end_ns,
                    key => has_key(span, key),
                };
                span.operation() == "send" && span.topic() == sent.topic && said
            };
            if let Some(span) = spans.iter().find(is_its) {
                span.message_id().clone_into(&mut sent.msg_id);
            }
        }
    }
}

/// Whether a span's message has this key.
pub(crate) fn has_key(span: &Span, key: &str) -> bool {
    let keys = span.attributes.get("messaging.rocketmq.message.keys");
    keys.and_then(|keys| keys.get(0))
        .is_some_and(|first| first == key)
}

/// Compares a scenario's spans with its story. `spans` may hold those of other topics.
pub fn compare(story: &Story<'_>, spans: &[Span]) -> Verdict {
    let of_topics = |topic: &str| story.topics.iter().any(|other| other == topic);
    let ours = spans
        .iter()
        .filter(|span| of_topics(span.topic()) && !is_agent(span));
    let ours: Vec<&Span> = ours.collect();
    let mut verdict = Verdict::default();
    traces::compare(story, &of_topics, &ours, &mut verdict);
    let mut unclaimed = Unclaimed::new(ours);
    // A message's key names it everywhere; what a consumer shows as its id does not always (§3.4). Where there is no
    // key, the id must do.
    let mut sent: HashMap<&str, &Sent> = HashMap::new();
    for witness in story.witnesses {
        let said = witness.said.sent.iter().filter(|sent| of_topics(&sent.topic));
        sent.extend(said.map(|sent| match sent.key.as_str() {
            "" => (sent.msg_id.as_str(), sent),
            key => (key, sent),
        }));
    }
    sends::compare(story, &of_topics, &mut unclaimed, &mut verdict);
    others::compare(story, &of_topics, &mut unclaimed, &mut verdict);
    processes::compare(story, &of_topics, &sent, &mut unclaimed, &mut verdict);
    for (_, span) in unclaimed.rest() {
        verdict.figures.false_spans += 1;
        verdict
            .problems
            .push(format!("a span of nothing that was logged: {span:?}"));
    }
    verdict
}
