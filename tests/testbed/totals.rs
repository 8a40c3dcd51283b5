//! The tracer's last line: what it saw, and what it lost.

use anyhow::{Context, Result, ensure};

/// Losses that are named even when there is none.
const ALWAYS: [&str; 3] = ["spans_lost", "bytes_lost", "ring_full"];

/// Beginnings of what is named only when there is some of it, and may have cost a span. Unpaired answers are left out: of a
/// connection that was open before the tracer, the first thing seen may be an answer.
const SOMETIMES: [&str; 8] = [
    "evicted_",
    "gaps=",
    "malformed=",
    "messages_unanswered=",
    "records_bad=",
    "recursion_misses=",
    "resyncs=",
    "spans_incomplete=",
];

/// The line with the totals in a tracer's log.
pub fn totals(log: &str) -> Result<&str> {
    log.lines()
        .rfind(|line| line.contains("totals"))
        .context("rmqtrace logged no totals")
}

/// One number of them (`name=7`).
pub fn total(log: &str, name: &str) -> Result<u64> {
    let totals = totals(log)?;
    let value = totals
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .with_context(|| format!("no {name} in {totals}"))?;
    Ok(value.parse()?)
}

/// They name no loss, and nothing else that may have cost a span.
pub fn no_loss(log: &str) -> Result<()> {
    no_loss_except(log, "")
}

/// The same, but for what is named so.
pub fn no_loss_except(log: &str, allowed: &str) -> Result<()> {
    for cause in ALWAYS {
        ensure!(total(log, cause)? == 0, "{log}");
    }
    let totals = totals(log)?;
    for cause in SOMETIMES.into_iter().filter(|cause| *cause != allowed) {
        let named = totals.split_whitespace().find(|word| word.starts_with(cause));
        ensure!(named.is_none(), "{named:?} in {totals}");
    }
    Ok(())
}
