//! What the demo shows: lines, trees and totals.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::{self, Write},
};

use testbed::{
    Span,
    client::{Consumed, Sent},
    spans::STATUS_ERROR,
};

/// Copies the tracer's span lines to the terminal.
pub(super) fn live(lines: impl Iterator<Item = String>, mut out: impl Write) {
    for line in lines {
        let _ = writeln!(out, "{line}");
        let _ = out.flush();
    }
}

/// One tree per message: its send, below it what every consumer group did with it. Skips the first `skip` messages, which were
/// shown before; gives the number of messages shown.
pub(super) fn trees(spans: &[Span], skip: usize, mut out: impl Write) -> io::Result<usize> {
    let mut messages: Vec<(&str, Vec<&Span>)> = Vec::new();
    let mut index = BTreeMap::new();
    for span in spans {
        let at = *index.entry(span.trace_id.as_str()).or_insert_with(|| {
            messages.push((&span.trace_id, Vec::new()));
            messages.len() - 1
        });
        messages[at].1.push(span);
    }
    for (trace, spans) in messages.iter_mut().skip(skip) {
        spans.sort_by_key(|span| {
            (
                span.operation() != "send",
                span.text("messaging.consumer.group.name").to_owned(),
                span.start_ns,
            )
        });
        let Some(first) = spans.first() else { continue };
        writeln!(
            out,
            "\n{}  {}\n  trace {trace}",
            first.topic(),
            first.message_id()
        )?;
        for (i, span) in spans.iter().enumerate() {
            let last = i + 1 == spans.len();
            let branch = match (span.operation() == "send", last) {
                (true, _) => "   ",
                (false, false) => "├─ ",
                (false, true) => "└─ ",
            };
            writeln!(out, "  {branch}{}", line(span, first))?;
        }
    }
    Ok(messages.len().saturating_sub(skip))
}

/// One span of a tree: what, who, when and how long, how it ended, where the message is stored.
fn line(span: &Span, first: &Span) -> String {
    let who = format!("{} ({})", span.service(), span.text("rmqtrace.client.language"));
    let mut line = format!("{:<8} {who:<20}", span.operation());
    let took = milliseconds(span.end_ns.saturating_sub(span.start_ns));
    if span.operation() == "process" {
        let evidence = span.text("rmqtrace.process.evidence");
        // A committed offset only says that the message was done by then.
        let bound = if evidence == "offset_commit" { "≤" } else { " " };
        line += &format!(
            " {:<9} attempt {}  begins {:>11} later, takes {bound}{took:>12}  {evidence:<13}",
            span.text("messaging.consumer.group.name"),
            span.number("messaging.rocketmq.reconsume_times").unwrap_or(0),
            milliseconds(span.start_ns.saturating_sub(first.start_ns)),
        );
    } else {
        line += &format!(" takes {took}");
    }
    let queue = span.text("messaging.destination.partition.id");
    if let (false, Some(offset)) = (queue.is_empty(), span.number("messaging.rocketmq.queue_offset")) {
        line += &format!("  queue {queue} offset {offset}");
    }
    if span.status == STATUS_ERROR {
        line += &format!("  ERROR {}", span.text("error.type"));
    }
    line
}

fn milliseconds(ns: u64) -> String {
    format!("{}.{:03} ms", ns / 1_000_000, ns / 1000 % 1000)
}

/// What the clients say, and what was seen of it.
#[derive(Default)]
pub(super) struct Totals {
    /// Sends and deliveries of the clients, each with what identifies it.
    done: [HashSet<Event>; 2],
    /// The same, as spans.
    seen: [HashSet<Event>; 2],
    duplicates: usize,
}

/// A message id with the group and the attempt of a delivery.
type Event = (String, String, i64);

const SENDS: usize = 0;
const DELIVERIES: usize = 1;

impl Totals {
    pub(super) fn sent(&mut self, sent: &[Sent], failed: &[Sent]) {
        self.done[SENDS].extend(
            sent.iter()
                .chain(failed)
                .map(|sent| (sent.msg_id.clone(), String::new(), 0)),
        );
    }

    pub(super) fn consumed(&mut self, consumed: &[Consumed]) {
        self.done[DELIVERIES].extend(
            consumed
                .iter()
                .map(|c| (c.msg_id.clone(), c.group.clone(), c.reconsume_times)),
        );
    }

    pub(super) fn seen(&mut self, spans: &[Span]) {
        for span in spans {
            let id = span.message_id().to_owned();
            let (kind, event) = if span.operation() == "process" {
                let attempt = span.number("messaging.rocketmq.reconsume_times").unwrap_or(0);
                (
                    DELIVERIES,
                    (id, span.text("messaging.consumer.group.name").to_owned(), attempt),
                )
            } else {
                (SENDS, (id, String::new(), 0))
            };
            if !self.seen[kind].insert(event) {
                self.duplicates += 1;
            }
        }
    }

    /// Whether everything that the clients did was seen, once, and nothing else.
    pub(super) fn agree(&self) -> bool {
        self.done == self.seen && self.duplicates == 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "totals       by the clients    seen    lost")?;
        for (kind, name) in [(SENDS, "sends"), (DELIVERIES, "deliveries")] {
            let lost = self.done[kind].difference(&self.seen[kind]).count();
            writeln!(
                f,
                "{name:<12} {:>14} {:>7} {lost:>7}",
                self.done[kind].len(),
                self.seen[kind].len()
            )?;
        }
        let invented: usize = self
            .done
            .iter()
            .zip(&self.seen)
            .map(|(done, seen)| seen.difference(done).count())
            .sum();
        write!(f, "duplicates {}, seen but not done {invented}", self.duplicates)
    }
}
