//! A span as one line for people.
//!
//! ```text
//! 22:13:20.123Z  shop     send    orders   broker-a:3@1234     1.234 ms  SEND_OK     7F00…0000  trace abab…abab
//! ```
//!
//! Start (UTC), service, operation, topic, queue and offset, duration, how it went, message, trace. What is
//! longest and of varying length stands last, so that the rest is aligned.

use std::fmt::{self, Write};

use tracer_core::model::{Operation, Span, Status, Value, attribute as key};

use crate::export::Finished;

/// The line, without an end.
pub(super) fn text(finished: &Finished) -> String {
    let span = &finished.span;
    let line = format!(
        "{}  {:<16} {:<7} {:<24} {:<22} {:>9} ms  {:<22} {}  trace {}",
        time_of_day(finished.start.0),
        finished.process.resource.service,
        span.operation.name(),
        span.topic,
        place(span),
        Milliseconds(finished.end.0.saturating_sub(finished.start.0)).to_string(),
        outcome(span),
        message(span),
        span.context.trace_id,
    );
    printable(line)
}

fn value<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|a| a.key == key).map(|a| &a.value)
}

fn string<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    value(span, key)?.as_str()
}

fn flag(span: &Span, key: &str) -> bool {
    value(span, key) == Some(&Value::Bool(true))
}

/// `broker:queue@offset`, as far as it is known.
fn place(span: &Span) -> String {
    let Some(queue) = string(span, key::MESSAGING_DESTINATION_PARTITION_ID) else {
        return String::new();
    };
    let broker = string(span, key::MESSAGING_ROCKETMQ_BROKER_NAME).unwrap_or("?");
    match value(span, key::MESSAGING_ROCKETMQ_QUEUE_OFFSET) {
        Some(Value::Int(offset)) => format!("{broker}:{queue}@{offset}"),
        _ => format!("{broker}:{queue}"),
    }
}

fn message(span: &Span) -> String {
    let id = string(span, key::MESSAGING_MESSAGE_ID);
    match (id, value(span, key::MESSAGING_BATCH_MESSAGE_COUNT)) {
        (Some(id), _) => id.to_owned(),
        (None, Some(Value::Int(n))) => format!("({n} messages)"),
        _ => "-".to_owned(),
    }
}

/// How it went, in a word or two.
fn outcome(span: &Span) -> String {
    let mut words = match span.operation {
        Operation::Process => string(span, key::RMQTRACE_PROCESS_EVIDENCE).unwrap_or("-"),
        Operation::Check => string(span, key::RMQTRACE_TRANSACTION_STATE).unwrap_or("-"),
        _ if flag(span, key::RMQTRACE_SEND_ONE_WAY) => "one-way",
        _ => string(span, key::MESSAGING_ROCKETMQ_SEND_STATUS).unwrap_or_default(),
    }
    .to_owned();
    if matches!(span.status, Status::Error(_)) {
        let gap = if words.is_empty() { "" } else { " " };
        let _ = write!(words, "{gap}{}", string(span, key::ERROR_TYPE).unwrap_or("error"));
    }
    if flag(span, key::RMQTRACE_INCOMPLETE) {
        words.push_str(" incomplete");
    }
    words
}

/// UTC time of day with milliseconds.
fn time_of_day(wall_ns: u64) -> String {
    let (seconds, milliseconds) = (wall_ns / 1_000_000_000, wall_ns / 1_000_000 % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{milliseconds:03}Z", seconds % 60)
}

/// Nanoseconds as milliseconds, with the digits that matter.
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0 / 1_000_000, self.0 / 1_000 % 1_000);
        if whole < 1_000 {
            write!(f, "{whole}.{micro:03}")
        } else {
            write!(f, "{whole}")
        }
    }
}

/// Names come from the wire: control characters must not reach a terminal.
fn printable(line: String) -> String {
    if !line.contains(char::is_control) {
        return line;
    }
    let mut clean = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::sample;

    #[test]
    fn lines() {
        let mut wild = sample::owned("orders\u{1b}[2J\n");
        wild.span.attributes.clear();
        wild.end.0 += 5_000_000_000;
        let lines = [
            text(&sample::finished("orders")),
            text(&sample::failed("orders")),
            text(&wild),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
