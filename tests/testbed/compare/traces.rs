//! What RocketMQ's own message trace says about the same messages: records that clients send to a topic, read back from there
//! with the client library's own decoder.
//!
//! Records have whole milliseconds, rounded down. A `Pub` is begun before the request is written and ended after the answer
//! was read, and has the time of its begin (Java) or of its end (Go); a `SubBefore` is begun before the handler and a
//! `SubAfter` after it. A client drops records when it has too many, so a message without one proves nothing.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    CLOCK_TOLERANCE_NS, Story, Verdict,
    figures::Figures,
    processes::{evidence, uncertainty_ns},
};
use crate::{
    Span,
    client::{Consumed, Library, Traced},
};

const MILLISECOND: u64 = 1_000_000;

/// Group and message.
type Call<'a> = (&'a str, &'a str);

/// Compares the records of a scenario's messages with its spans.
pub(super) fn compare(
    story: &Story<'_>,
    of_topics: &impl Fn(&str) -> bool,
    ours: &[&Span],
    verdict: &mut Verdict,
) {
    let said = || story.witnesses.iter().map(|witness| &witness.said);
    let mut sends: HashMap<&str, Vec<&Span>> = HashMap::new();
    let mut processes: HashMap<Call<'_>, Vec<&Span>> = HashMap::new();
    for span in ours.iter().copied() {
        match span.operation() {
            "send" => sends.entry(span.message_id()).or_default().push(span),
            "process" => {
                let call = (span.text("messaging.consumer.group.name"), span.message_id());
                processes.entry(call).or_default().push(span);
            }
            _ => {}
        }
    }
    let is_ours = |consumed: &&Consumed| of_topics(&consumed.topic);
    let consumed = said().flat_map(|said| &said.consumed).filter(is_ours);
    let calls: HashSet<Call<'_>> = consumed
        .map(|consumed| (consumed.group.as_str(), consumed.msg_id.as_str()))
        .collect();
    let mut found = 0;
    let is_go = story
        .witnesses
        .iter()
        .any(|witness| witness.library == Library::Go);
    for record in said().flat_map(|said| &said.traced) {
        let call = (record.group.as_str(), record.msg_id.as_str());
        let result = match record.kind.as_str() {
            "Pub" if of_topics(&record.topic) => {
                let spans = sends.get(record.msg_id.as_str());
                let call = call_of(record, is_go);
                send(
                    record,
                    call,
                    spans.map_or(&[], Vec::as_slice),
                    &mut verdict.figures,
                )
            }
            "SubAfter" if calls.contains(&call) => {
                let spans = processes.get(&call);
                process(record, spans.map_or(&[], Vec::as_slice), &mut verdict.figures)
            }
            _ => continue,
        };
        found += 1;
        verdict.note(result, || format!("{record:?}"));
    }
    if found == 0 && story.rules.is_traced() {
        let problem = "the clients trace themselves, and the trace topic has no record of it";
        verdict.problems.push(problem.to_owned());
    }
}

/// The time within which a `Pub`'s call must lie: Java's client writes when the call began, Go's when it ended.
pub(super) fn call_of(record: &Traced, is_go: bool) -> Range<u64> {
    let (time, cost) = (record.time_ms * MILLISECOND, (record.cost_ms + 1) * MILLISECOND);
    if is_go {
        time.saturating_sub(cost)..time + MILLISECOND
    } else {
        time..time + cost + MILLISECOND
    }
}

/// The call encloses the span.
fn send(record: &Traced, call: Range<u64>, spans: &[&Span], figures: &mut Figures) -> Result<(), String> {
    if record.success != "true" {
        return Ok(());
    }
    let inside = |span: &&&Span| {
        span.start_ns + CLOCK_TOLERANCE_NS >= call.start && span.end_ns <= call.end + CLOCK_TOLERANCE_NS
    };
    match spans.iter().find(inside) {
        Some(_) => figures.traced_sends += 1,
        None if spans.is_empty() => return Err("no send span of what the client traced".to_owned()),
        None => return Err(format!("no send span inside the traced call, but {spans:?}")),
    }
    Ok(())
}

/// One of the message's spans ends when the record says.
fn process(record: &Traced, spans: &[&Span], figures: &mut Figures) -> Result<(), String> {
    let (earliest, latest) = (record.time_ms * MILLISECOND, (record.time_ms + 1) * MILLISECOND);
    let agrees = |span: &&&Span| {
        let not_before = earliest <= span.end_ns + CLOCK_TOLERANCE_NS;
        let uncertainty = uncertainty_ns(span).unwrap_or(0);
        let not_after = span.end_ns <= latest + uncertainty + CLOCK_TOLERANCE_NS;
        match evidence(span) {
            "none" => true,
            "client_trace" | "offset_commit" => not_before && not_after,
            // a frame that is written some time after the handler
            _ => not_before,
        }
    };
    match spans.iter().find(agrees) {
        Some(span) => {
            figures.traced_calls += 1;
            if evidence(span) == "client_trace" {
                figures.traced_as_evidence += 1;
            }
        }
        None if spans.is_empty() => return Err("no process span of what the client traced".to_owned()),
        None => {
            return Err(format!(
                "no process span ends with the traced call, but {spans:?}"
            ));
        }
    }
    Ok(())
}
