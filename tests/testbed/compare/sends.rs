//! Messages that clients sent, or could not send.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Check, Story, Unclaimed, Verdict, Witness, has_key, same};
use crate::{
    Span,
    client::{Feature, Sent},
    spans::{STATUS_ERROR, kind},
};

pub(super) fn compare(
    story: &Story<'_>,
    of_topics: &dyn Fn(&str) -> bool,
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) {
    for witness in story.witnesses {
        let mut batches: BTreeMap<(u64, i64), Vec<&Sent>> = BTreeMap::new();
        for sent in witness.said.sent.iter().filter(|sent| of_topics(&sent.topic)) {
            verdict.figures.sent += 1;
            if let Some(batch) = sent.batch
                && witness.library.can(Feature::Batch)
            {
                batches.entry((sent.cmd, batch)).or_default().push(sent);
                continue;
            }
            if let Some((index, span)) = refused_unseen(story, sent, unclaimed) {
                unclaimed.claim(index);
                verdict.figures.failed_spans += 1;
                let checked = refused(story, sent, span);
                verdict.note(checked, || format!("{sent:?} and {span:?}"));
                continue;
            }
            let claimed = unclaimed.claim_one(&sent.msg_id, |span| {
                span.operation() == "send" && span.status != STATUS_ERROR && !is_forwarded(story, span)
            });
            let span = match claimed {
                Ok(span) => span,
                Err(spans) => {
                    let problem = format!("{} send spans of {sent:?}: {spans:?}", spans.len());
                    verdict.problems.push(problem);
                    continue;
                }
            };
            verdict.figures.send_spans += 1;
            let checked = one(story, witness, sent, span)
                .and_then(|()| times(story, sent, span, verdict))
                .and_then(|()| forwarded(story, sent, unclaimed, verdict));
            verdict.note(checked, || format!("{sent:?} and {span:?}"));
        }
        for batch in batches.values() {
            let checked = self::batch(story, witness, batch, unclaimed, verdict);
            verdict.note(checked, || format!("batch {batch:?}"));
        }
        let mut refused_batches: BTreeMap<(u64, i64), Vec<&Sent>> = BTreeMap::new();
        for failed in witness.said.failed.iter().filter(|sent| of_topics(&sent.topic)) {
            verdict.figures.failed += 1;
            if let Some(batch) = failed.batch {
                let key = (failed.cmd, batch);
                refused_batches.entry(key).or_default().push(failed);
                continue;
            }
            let claimed = unclaimed.claim_one(&failed.msg_id, |span| {
                let failed = span.status == STATUS_ERROR && has_key(span, &failed.key);
                span.operation() == "send" && failed && !is_forwarded(story, span)
            });
            let span = match claimed {
                Ok(span) => span,
                Err(spans) => {
                    let problem = format!("{} failed spans of {failed:?}", spans.len());
                    verdict.problems.push(problem);
                    continue;
                }
            };
            verdict.figures.failed_spans += 1;
            let checked = refused(story, failed, span)
                .and_then(|()| forwarded(story, failed, unclaimed, verdict))
                .and_then(|()| earlier(story, witness, failed, unclaimed));
            verdict.note(checked, || format!("{failed:?} and {span:?}"));
        }
        for batch in refused_batches.values() {
            let checked = refused_batch(story, witness, batch, unclaimed, verdict);
            verdict.note(checked, || format!("refused batch {batch:?}"));
        }
    }
}

/// A `send` span of one message.
fn one(story: &Story<'_>, witness: &Witness, sent: &Sent, span: &Span) -> Check {
    let place = story.place(&sent.msg_id);
    same!("name", &span.name, &format!("send {}", sent.topic));
    let kind = if place.above.is_empty() {
        kind::PRODUCER
    } else {
        kind::CLIENT
    };
    same!("kind", span.kind, kind);
    same!("status", span.status, 0);
    same!("trace id", &span.trace_id, &place.trace);
    same!("span id", &span.span_id, &place.send);
    same!("parent", &span.parent_span_id, &place.above);
    same!("origin", span.text("rmqtrace.trace.origin"), place.origin);
    same!(
        "message type",
        span.text("messaging.rocketmq.message.type"),
        story.rules.kind
    );
    common(witness, sent, span)?;
    if sent.mode == "oneway" || sent.mode == "request" || story.rules.deferred {
        // The client is not told where the message went, or not where it will be delivered from.
        return Ok(());
    }
    // Not every library tells everything.
    if let Some(queue) = sent.queue {
        let found = span.text("messaging.destination.partition.id");
        same!("queue", found, queue.to_string());
    }
    if sent.offset.is_some() {
        let found = span.number("messaging.rocketmq.queue_offset");
        same!("offset", found, sent.offset);
    }
    if let Some(id) = &sent.offset_msg_id {
        let found = span.text("messaging.rocketmq.offset_message_id");
        same!("offset message id", found, id.as_str());
    }
    same!(
        "send status",
        Some(span.text("messaging.rocketmq.send_status")),
        sent.status.as_deref()
    );
    Ok(())
}

fn is_forwarded(story: &Story<'_>, span: &Span) -> bool {
    story.proxy.is_some() && span.pid() == story.proxy.map(i64::from)
}

/// What a proxy passes on is below the send that it passes on.
fn forwarded(story: &Story<'_>, sent: &Sent, unclaimed: &mut Unclaimed<'_>, verdict: &mut Verdict) -> Check {
    if story.proxy.is_none() {
        return Ok(());
    }
    let place = story.place(&sent.msg_id);
    let claimed = unclaimed.claim_one(&sent.msg_id, |span| {
        span.operation() == "send" && is_forwarded(story, span)
    });
    let span = claimed.map_err(|spans| format!("{} spans of the proxy", spans.len()))?;
    verdict.figures.other_spans += 1;
    same!("kind of what is forwarded", span.kind, kind::CLIENT);
    same!(
        "failure of what is forwarded",
        span.status == STATUS_ERROR,
        sent.error.is_some()
    );
    same!("trace of what is forwarded", &span.trace_id, &place.trace);
    same!("parent of what is forwarded", &span.parent_span_id, &place.send);
    Ok(())
}

/// What all send spans of single messages have.
fn common(witness: &Witness, sent: &Sent, span: &Span) -> Check {
    same!("system", span.text("messaging.system"), "rocketmq");
    same!("operation type", span.text("messaging.operation.type"), "send");
    same!(
        "tag",
        span.text("messaging.rocketmq.message.tag"),
        sent.tag.as_str()
    );
    let keys = (!sent.key.is_empty()).then(|| json!([sent.key]));
    same!(
        "keys",
        span.attributes.get("messaging.rocketmq.message.keys"),
        keys.as_ref()
    );
    by(witness, span)
}

/// Which process and client library.
pub(super) fn by(witness: &Witness, span: &Span) -> Check {
    same!("process", span.pid(), Some(i64::from(witness.pid)));
    same!(
        "language",
        span.text("rmqtrace.client.language"),
        witness.library.language()
    );
    Ok(())
}

/// A span lies inside the call that made it; a one-way call may return before its bytes are written.
fn times(story: &Story<'_>, sent: &Sent, span: &Span, verdict: &mut Verdict) -> Check {
    if span.start_ns < sent.start_ns {
        return Err(format!(
            "begins {} ns before the call",
            sent.start_ns - span.start_ns
        ));
    }
    let publish = story.agent.and_then(|agent| agent.published(&sent.msg_id));
    if let Some(publish) = publish {
        let begin = span.start_ns.abs_diff(publish.start_ns);
        verdict.figures.agent_send_begin.push(begin);
        if sent.mode != "oneway" {
            let end = span.end_ns.abs_diff(publish.end_ns);
            verdict.figures.agent_send_end.push(end);
        }
    }
    // A reply may come before the broker's answer to the request.
    if sent.mode == "oneway" || sent.mode == "request" {
        return Ok(());
    }
    if span.end_ns > sent.end_ns {
        return Err(format!("ends {} ns after the call", span.end_ns - sent.end_ns));
    }
    if sent.mode != "transaction" {
        verdict.figures.send_begin.push(span.start_ns - sent.start_ns);
        verdict.figures.send_end.push(sent.end_ns - span.end_ns);
    }
    Ok(())
}

/// One `send` span for the batch, which links the `create` spans of its messages.
fn batch(
    story: &Story<'_>,
    witness: &Witness,
    sent: &[&Sent],
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) -> Check {
    let places: Vec<_> = sent.iter().map(|sent| story.place(&sent.msg_id)).collect();
    let first = places.first().ok_or("no messages")?;
    let spans = unclaimed.find("", |span| {
        span.operation() == "send"
            && span.attributes.contains_key("messaging.batch.message_count")
            && span.links_to(&first.trace, &first.creation)
    });
    // Batches with one carried context all link the same: the time tells.
    let inside = |span: &Span| {
        sent.first()
            .is_some_and(|sent| sent.start_ns <= span.start_ns && span.end_ns <= sent.end_ns)
    };
    let spans = spans.into_iter().filter(|(_, span)| inside(span));
    let (passed_on, spans): (Vec<_>, Vec<_>) = spans.partition(|(_, span)| is_forwarded(story, span));
    let [(index, span)] = spans.as_slice() else {
        return Err(format!("{} send spans", spans.len()));
    };
    unclaimed.claim(*index);
    same!(
        "spans of the proxy",
        passed_on.len(),
        usize::from(story.proxy.is_some())
    );
    for (index, copy) in passed_on {
        unclaimed.claim(index);
        verdict.figures.other_spans += 1;
        same!("kind of what is forwarded", copy.kind, kind::CLIENT);
        same!("links of what is forwarded", copy.links.len(), span.links.len());
        for place in &places {
            if !copy.links_to(&place.trace, &place.creation) {
                return Err(format!("what is forwarded does not link {place:?}: {copy:?}"));
            }
        }
    }
    same!("kind", span.kind, kind::CLIENT);
    same!(
        "count",
        span.number("messaging.batch.message_count"),
        i64::try_from(sent.len()).ok()
    );
    same!(
        "message id",
        span.attributes.get("messaging.message.id"),
        None::<&serde_json::Value>
    );
    by(witness, span)?;
    let publish = story
        .agent
        .zip(sent.first())
        .and_then(|(agent, sent)| agent.batched(&sent.msg_id));
    if let Some(publish) = publish {
        same!("trace of the batch", &span.trace_id, &publish.trace_id);
        same!("parent of the batch", &span.parent_span_id, &publish.span_id);
    }
    for (sent, place) in sent.iter().zip(&places) {
        if !span.links_to(&place.trace, &place.creation) {
            return Err(format!("no link to {sent:?} in {span:?}"));
        }
        if !place.above.is_empty() {
            // The carried context is the message's creation.
            verdict.figures.send_spans += 1;
            continue;
        }
        let claimed = unclaimed.claim_one(&sent.msg_id, |span| span.operation() == "create");
        let create = claimed.map_err(|spans| format!("{} create spans of {sent:?}", spans.len()))?;
        verdict.figures.send_spans += 1;
        same!("name", &create.name, &format!("create {}", sent.topic));
        same!("kind", create.kind, kind::PRODUCER);
        same!("trace id", &create.trace_id, &place.trace);
        same!("span id", &create.span_id, &place.send);
    }
    Ok(())
}

/// The span of a one-way send that the broker refused. Go's client asks for an answer to such a send and does not look at it,
/// so the application is told nothing; but then nobody gets the message.
fn refused_unseen<'a>(
    story: &Story<'_>,
    sent: &Sent,
    unclaimed: &Unclaimed<'a>,
) -> Option<(usize, &'a Span)> {
    let mut consumed = (story.witnesses.iter()).flat_map(|witness| &witness.said.consumed);
    if sent.mode != "oneway" || consumed.any(|c| c.topic == sent.topic && c.key == sent.key) {
        return None;
    }
    let spans = unclaimed.find(&sent.msg_id, |span| {
        span.operation() == "send" && span.status == STATUS_ERROR && !is_forwarded(story, span)
    });
    match spans.as_slice() {
        [span] => Some(*span),
        _ => None,
    }
}

/// One failed `send` span for a batch that was refused as a whole, and nothing for its messages.
fn refused_batch(
    story: &Story<'_>,
    witness: &Witness,
    failed: &[&Sent],
    unclaimed: &mut Unclaimed<'_>,
    verdict: &mut Verdict,
) -> Check {
    let first = failed.first().ok_or("no messages")?;
    let claimed = unclaimed.claim_one("", |span| {
        let inside = first.start_ns <= span.start_ns && span.end_ns <= first.end_ns;
        span.operation() == "send" && span.status == STATUS_ERROR && inside
    });
    let span = claimed.map_err(|spans| format!("{} failed send spans", spans.len()))?;
    verdict.figures.failed_spans += failed.len();
    same!(
        "count",
        span.number("messaging.batch.message_count"),
        i64::try_from(failed.len()).ok()
    );
    by(witness, span)?;
    for failed in failed {
        let place = story.place(&failed.msg_id);
        let has_id = !failed.msg_id.is_empty();
        if has_id && !span.links_to(&place.trace, &place.creation) {
            return Err(format!("no link to {failed:?} in {span:?}"));
        }
    }
    if span.text("error.type").is_empty() {
        return Err("no error.type".to_owned());
    }
    Ok(())
}

/// The spans of the attempts before the last, where the library sends again by itself.
fn earlier(story: &Story<'_>, witness: &Witness, failed: &Sent, unclaimed: &mut Unclaimed<'_>) -> Check {
    let rest = unclaimed.rest().into_iter();
    let attempts: Vec<_> = rest
        .filter(|(_, span)| {
            span.operation() == "send"
                && span.status == STATUS_ERROR
                && has_key(span, &failed.key)
                && failed.start_ns <= span.start_ns
                && span.end_ns <= failed.end_ns
        })
        .collect();
    same!("attempts", attempts.len() + 1, witness.library.attempts());
    for (index, span) in attempts {
        unclaimed.claim(index);
        let attempt = Sent {
            msg_id: span.message_id().to_owned(),
            ..failed.clone()
        };
        refused(story, &attempt, span)?;
    }
    Ok(())
}

/// A `send` span that the broker or the network refused.
fn refused(story: &Story<'_>, failed: &Sent, span: &Span) -> Check {
    let place = story.place(&failed.msg_id);
    // What was refused before a broker gave it an id belongs nowhere.
    if !failed.msg_id.is_empty() {
        same!("trace id", &span.trace_id, &place.trace);
    }
    if span.span_id == place.send {
        return Err("a failed send has the span id of a success".to_owned());
    }
    if span.text("error.type").is_empty() {
        return Err("no error.type".to_owned());
    }
    Ok(())
}
