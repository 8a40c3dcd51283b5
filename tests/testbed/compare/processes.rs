//! Calls of handlers, and the evidence of their ends.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{CLOCK_TOLERANCE_NS, Check, Story, Unclaimed, Verdict, Witness, same, sends};
use crate::{
    Span,
    client::{Consumed, Library, Sent},
    spans::{STATUS_ERROR, kind},
};

/// What tells deliveries apart: message, group, attempt, process, queue and offset.
type Identity = (String, String, i64, u32, String, i64);

/// One delivery as the handler saw it.
struct Handling<'a> {
    witness: &'a Witness,
    sent: &'a Sent,
    consumed: Consumed,
}

pub(super) fn compare(
    story: &Story<'_>,
    of_topics: &dyn Fn(&str) -> bool,
    sent: &HashMap<&str, &Sent>,
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) {
    let mut handlings: BTreeMap<Identity, Vec<Handling<'_>>> = BTreeMap::new();
    for witness in story.witnesses {
        // An orderly consumer gives a failed message to the handler again and again: one delivery.
        let mut orderly: BTreeMap<(String, i64, i64), Consumed> = BTreeMap::new();
        for consumed in witness.said.consumed.iter().filter(|c| of_topics(&c.topic)) {
            verdict.figures.handled += 1;
            if story.rules.orderly {
                let key = (consumed.key.clone(), consumed.queue, consumed.offset);
                let merged = orderly.entry(key).or_insert_with(|| consumed.clone());
                merged.result.clone_from(&consumed.result);
                merged.end_ns = consumed.end_ns;
                continue;
            }
            add(sent, witness, consumed.clone(), &mut handlings, verdict);
        }
        for consumed in orderly.into_values() {
            add(sent, witness, consumed, &mut handlings, verdict);
        }
    }
    for (identity, handlings) in &mut handlings {
        handlings.sort_by_key(|handling| handling.consumed.start_ns);
        let mut spans = unclaimed.find(&identity.0, |span| {
            span.operation() == "process" && self::identity(span) == *identity
        });
        spans.sort_by_key(|(_, span)| span.start_ns);
        // Deliveries that came to no handler know no end.
        while spans.len() > handlings.len() && story.rules.unhandled {
            let Some(unknown) = spans.iter().position(|(_, span)| evidence(span) == "none") else {
                break;
            };
            spans.remove(unknown);
        }
        if spans.len() != handlings.len() {
            verdict.problems.push(format!(
                "{} process spans for {} calls of the handler: {identity:?}, {spans:?}",
                spans.len(),
                handlings.len()
            ));
        }
        for (handling, (index, span)) in handlings.iter().zip(spans) {
            unclaimed.claim(index);
            verdict.figures.process_spans += 1;
            *verdict
                .figures
                .evidence
                .entry(evidence(span).to_owned())
                .or_default() += 1;
            if let Err(problem) =
                one(story, handling, span).and_then(|()| ends(story, handling, span, verdict))
            {
                verdict
                    .problems
                    .push(format!("{problem}: {:?} and {span:?}", handling.consumed));
            }
        }
    }
    if story.rules.unhandled {
        let unknown = |span: &Span| span.operation() == "process" && evidence(span) == "none";
        for (index, _) in sent
            .values()
            .flat_map(|sent| unclaimed.find(&sent.msg_id, unknown))
            .collect::<Vec<_>>()
        {
            unclaimed.claim(index);
            verdict.figures.unhandled += 1;
        }
    }
}

fn add<'a>(
    sent: &HashMap<&str, &'a Sent>,
    witness: &'a Witness,
    consumed: Consumed,
    handlings: &mut BTreeMap<Identity, Vec<Handling<'a>>>,
    verdict: &mut Verdict,
) {
    let found = match consumed.key.as_str() {
        "" => sent
            .get(consumed.msg_id.as_str())
            .or_else(|| sent.get(forwards(witness, &consumed.msg_id)?.as_str())),
        key => sent.get(key),
    };
    let Some(&sent) = found else {
        verdict
            .problems
            .push(format!("consumed, but not sent: {consumed:?}"));
        return;
    };
    let identity = (
        sent.msg_id.clone(),
        consumed.group.clone(),
        consumed.reconsume_times,
        witness.pid,
        consumed.queue.to_string(),
        consumed.offset,
    );
    let handling = Handling {
        witness,
        sent,
        consumed,
    };
    handlings.entry(identity).or_default().push(handling);
}

/// C++'s client shows a place in a store (§3.4) with the four bytes of the address backwards.
fn forwards(witness: &Witness, id: &str) -> Option<String> {
    let address = id.get(..8).filter(|_| witness.library == Library::Cpp)?;
    let bytes = [
        address.get(6..)?,
        address.get(4..6)?,
        address.get(2..4)?,
        address.get(..2)?,
    ];
    Some(bytes.concat() + id.get(8..)?)
}

fn identity(span: &Span) -> Identity {
    (
        span.message_id().to_owned(),
        span.text("messaging.consumer.group.name").to_owned(),
        span.number("messaging.rocketmq.reconsume_times").unwrap_or(0),
        span.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        span.text("messaging.destination.partition.id").to_owned(),
        span.number("messaging.rocketmq.queue_offset").unwrap_or(-1),
    )
}

/// How a span knows its end.
pub(super) fn evidence(span: &Span) -> &str {
    span.text("rmqtrace.process.evidence")
}

fn one(story: &Story<'_>, handling: &Handling<'_>, span: &Span) -> Check {
    let Handling {
        witness,
        sent,
        consumed,
    } = handling;
    let place = story.place(&sent.msg_id);
    same!("name", &span.name, &format!("process {}", consumed.topic));
    same!("kind", span.kind, kind::CONSUMER);
    same!("trace id", &span.trace_id, &place.trace);
    same!("parent", &span.parent_span_id, &place.creation);
    if !span.links_to(&place.trace, &place.creation) {
        return Err("no link to the creation context".to_owned());
    }
    if span.span_id == place.send || span.span_id == place.creation {
        return Err("a span id that is taken".to_owned());
    }
    same!("origin", span.text("rmqtrace.trace.origin"), place.origin);
    same!("operation type", span.text("messaging.operation.type"), "process");
    same!(
        "tag",
        span.text("messaging.rocketmq.message.tag"),
        sent.tag.as_str()
    );
    let model = span.text("messaging.rocketmq.consumption_model");
    if !(model.is_empty() && story.rules.unannounced) {
        same!("model", model, story.rules.model);
    }
    sends::by(witness, span)?;
    if span.start_ns > consumed.start_ns + tolerance(span) {
        return Err(format!(
            "delivered {} ns after the handler began",
            span.start_ns - consumed.start_ns
        ));
    }
    Ok(())
}

/// How far a time of the span may lie on the wrong side of the handler's: of a client's own record, with whole milliseconds,
/// a span has the middle; frames are read before the handler and written after it.
fn tolerance(span: &Span) -> u64 {
    match evidence(span) {
        "client_trace" => 500_000 + CLOCK_TOLERANCE_NS,
        _ => CLOCK_TOLERANCE_NS,
    }
}

/// What the span says about the end.
fn ends(story: &Story<'_>, handling: &Handling<'_>, span: &Span, verdict: &mut Verdict) -> Check {
    let consumed = &handling.consumed;
    let failed = consumed.result != "CONSUME_SUCCESS";
    let evidence = evidence(span);
    let allowed = if failed {
        story.rules.failure
    } else {
        story.rules.success
    };
    if !allowed.contains(&evidence) {
        return Err(format!("evidence {evidence:?}, wanted one of {allowed:?}"));
    }
    verdict
        .figures
        .wait
        .push(consumed.start_ns.saturating_sub(span.start_ns));
    match evidence {
        "none" => {
            same!("end of unknown", span.end_ns, span.start_ns);
            return Ok(());
        }
        "offset_commit" => return interval(consumed, span, verdict),
        _ => {}
    }
    same!("status", span.status, if failed { STATUS_ERROR } else { 0 });
    verdict
        .figures
        .exact_end
        .push(span.end_ns.abs_diff(consumed.end_ns));
    if let Some(theirs) = story
        .agent
        .and_then(|agent| agent.processed(&handling.sent.msg_id, consumed.end_ns))
    {
        let end = span.end_ns.abs_diff(theirs.end_ns);
        verdict.figures.agent_process_end.push(end);
    }
    if span.end_ns + tolerance(span) < consumed.end_ns {
        return Err(format!(
            "ends {} ns before the handler",
            consumed.end_ns - span.end_ns
        ));
    }
    Ok(())
}

/// How much earlier than the span's the true end may lie, as the span says.
pub(super) fn uncertainty_ns(span: &Span) -> Option<u64> {
    let uncertainty = span.attributes.get("rmqtrace.process.end_uncertainty_ms");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "milliseconds of a test"
    )]
    uncertainty
        .and_then(Value::as_f64)
        .map(|ms| (ms.max(0.0) * 1e6) as u64)
}

/// The handler's end lies in the interval that the span states.
fn interval(consumed: &Consumed, span: &Span, verdict: &mut Verdict) -> Check {
    same!("status", span.status, 0);
    let width = uncertainty_ns(span).ok_or("no end_uncertainty_ms")?;
    let earliest = span.end_ns.saturating_sub(width);
    if consumed.end_ns + CLOCK_TOLERANCE_NS < earliest || consumed.end_ns > span.end_ns + CLOCK_TOLERANCE_NS {
        return Err(format!(
            "the handler ended at {}, not within [{earliest}, {}]",
            consumed.end_ns, span.end_ns
        ));
    }
    verdict.figures.intervals += 1;
    verdict.figures.width.push(width);
    Ok(())
}
