//! Counts and times of a comparison.

use std::collections::BTreeMap;

/// Median, 99th percentile and maximum of nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Quantiles {
    /// Of a list in any order; `None` of an empty one.
    pub fn of(values: &[u64]) -> Option<Quantiles> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted
                .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
                .copied()
        };
        Some(Quantiles {
            p50: at(50)?,
            p99: at(99)?,
            max: *sorted.last()?,
        })
    }
}

/// Counts and times; times in nanoseconds.
#[derive(Clone, Default, Debug)]
pub struct Figures {
    /// Messages that clients say that they sent.
    pub sent: usize,
    /// Sends that failed, as clients say.
    pub failed: usize,
    /// Spans of those.
    pub failed_spans: usize,
    /// `send` spans of one message, and `create` spans.
    pub send_spans: usize,
    /// Calls of handlers.
    pub handled: usize,
    /// `process` spans that belong to them.
    pub process_spans: usize,
    /// Transactions' decisions and replies with their spans.
    pub other_spans: usize,
    /// `process` spans of deliveries that no handler saw; all say that they do not know the end.
    pub unhandled: usize,
    /// Spans that belong to nothing.
    pub false_spans: usize,
    /// `process` spans by evidence.
    pub evidence: BTreeMap<String, usize>,
    /// From the begin of a send call to the begin of its span.
    pub send_begin: Vec<u64>,
    /// From the end of a send span to the end of its call.
    pub send_end: Vec<u64>,
    /// From the begin of a process span to that of the handler: the wait in the client.
    pub wait: Vec<u64>,
    /// Between the end of a handler and that of its span, where the evidence is exact.
    pub exact_end: Vec<u64>,
    /// Between the begins of the agent's send span and ours.
    pub agent_send_begin: Vec<u64>,
    /// Between their ends.
    pub agent_send_end: Vec<u64>,
    /// Between the ends of the agent's process span and ours, where the evidence is exact.
    pub agent_process_end: Vec<u64>,
    /// Records of sends in the clients' own message traces that agree with our spans.
    pub traced_sends: usize,
    /// The same of calls of handlers.
    pub traced_calls: usize,
    /// Of those, calls whose record is also what our span's end is from.
    pub traced_as_evidence: usize,
    /// Intervals that hold the end of the handler.
    pub intervals: usize,
    /// Width of the intervals.
    pub width: Vec<u64>,
}

impl Figures {
    /// Which 99th percentiles of the distances from the agent's spans are over `limit` nanoseconds, in words.
    pub fn over(&self, limit: u64) -> Vec<String> {
        let distances = [
            ("begin of send", &self.agent_send_begin),
            ("end of send", &self.agent_send_end),
            ("end of process", &self.agent_process_end),
        ];
        let over = |(what, values): (&str, &Vec<u64>)| {
            let p99 = Quantiles::of(values)?.p99;
            (p99 > limit)
                .then(|| format!("{what}: 99 % are within {p99} ns of the agent's, not within {limit}"))
        };
        distances.into_iter().filter_map(over).collect()
    }
}
