//! Ends and checks of transactions, recalls, and replies to requests.

use std::fmt::Debug;

use super::{CLOCK_TOLERANCE_NS, Check, Story, Unclaimed, Verdict, same};
use crate::{
    Span,
    client::{Decided, Recalled, Replied},
    spans::{STATUS_ERROR, kind},
};

pub(super) fn compare(
    story: &Story<'_>,
    of_topics: &dyn Fn(&str) -> bool,
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) {
    for witness in story.witnesses {
        for decided in witness.said.decided.iter().filter(|d| of_topics(&d.topic)) {
            // An end that says "unknown" is no outcome: only the check that it answers shows.
            let check = (decided.when == "check").then_some("check");
            let end = (decided.state != "unknown").then_some(decided.state.as_str());
            for operation in check.into_iter().chain(end) {
                let fits =
                    |span: &Span| span.operation() == operation && fits_decision(operation, decided, span);
                // Of several decisions each has the first span that comes after it.
                let earliest = unclaimed
                    .find(&decided.msg_id, fits)
                    .into_iter()
                    .min_by_key(|(_, span)| span.start_ns);
                let Some((index, span)) = earliest else {
                    verdict
                        .problems
                        .push(format!("no {operation} span of {decided:?}"));
                    continue;
                };
                unclaimed.claim(index);
                verdict.figures.other_spans += 1;
                let checked = decision(story, operation, decided, span);
                verdict.note(checked, || format!("{decided:?} and {span:?}"));
            }
        }
        for recalled in witness.said.recalled.iter().filter(|r| of_topics(&r.topic)) {
            let check = |span: &Span| recall(story, recalled, span);
            single("recall", &recalled.msg_id, recalled, check, unclaimed, verdict);
        }
        for replied in witness.said.replied.iter().filter(|r| of_topics(&r.topic)) {
            let check = |span: &Span| reply(story, replied, span);
            single("reply", &replied.msg_id, replied, check, unclaimed, verdict);
        }
    }
}

/// What was said has one span of this operation.
fn single(
    operation: &str,
    msg_id: &str,
    said: &impl Debug,
    check: impl Fn(&Span) -> Check,
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) {
    match unclaimed.claim_one(msg_id, |span| span.operation() == operation) {
        Ok(span) => {
            verdict.figures.other_spans += 1;
            verdict.note(check(span), || format!("{said:?} and {span:?}"));
        }
        Err(spans) => {
            let count = spans.len();
            verdict
                .problems
                .push(format!("{count} {operation} spans of {said:?}"));
        }
    }
}

/// A check encloses the decision, an end follows it.
fn fits_decision(operation: &str, decided: &Decided, span: &Span) -> bool {
    if operation == "check" {
        span.start_ns <= decided.start_ns + CLOCK_TOLERANCE_NS
            && decided.end_ns <= span.end_ns + CLOCK_TOLERANCE_NS
    } else {
        decided.end_ns <= span.start_ns + CLOCK_TOLERANCE_NS
    }
}

fn decision(story: &Story<'_>, operation: &str, decided: &Decided, span: &Span) -> Check {
    let place = story.place(&decided.msg_id);
    same!("name", &span.name, &format!("{operation} {}", decided.topic));
    same!("kind", span.kind, kind::CLIENT);
    same!("trace id", &span.trace_id, &place.trace);
    same!("parent", &span.parent_span_id, &place.send);
    same!(
        "state",
        span.text("rmqtrace.transaction.state"),
        decided.state.as_str()
    );
    // A check is none of the types that the conventions know.
    let kind = if operation == "check" { "" } else { "settle" };
    same!("operation type", span.text("messaging.operation.type"), kind);
    Ok(())
}

fn recall(story: &Story<'_>, recalled: &Recalled, span: &Span) -> Check {
    let place = story.place(&recalled.msg_id);
    same!("name", &span.name, &format!("recall {}", recalled.topic));
    same!("kind", span.kind, kind::CLIENT);
    same!("status", span.status, 0);
    same!("trace id", &span.trace_id, &place.trace);
    same!("parent", &span.parent_span_id, &place.send);
    if span.start_ns < recalled.start_ns || span.end_ns > recalled.end_ns {
        return Err("the span is not inside the call".to_owned());
    }
    Ok(())
}

fn reply(story: &Story<'_>, replied: &Replied, span: &Span) -> Check {
    // A context that the reply itself carries goes before its request's.
    let own = story.agent.and_then(|agent| agent.published(&replied.msg_id));
    let place = story.place(own.map_or(&replied.request_id, |_| &replied.msg_id));
    same!("name", &span.name, &format!("reply {}", replied.topic));
    let kind = if own.is_some() {
        kind::CLIENT
    } else {
        kind::PRODUCER
    };
    same!("kind", span.kind, kind);
    same!("trace id", &span.trace_id, &place.trace);
    same!("parent", &span.parent_span_id, &place.creation);
    same!("failed", span.status == STATUS_ERROR, replied.error.is_some());
    if span.start_ns < replied.start_ns || span.end_ns > replied.end_ns {
        return Err("the span is not inside the call".to_owned());
    }
    Ok(())
}
