//! Are the times of spans right while the wall clock is set?

use std::fmt;

use anyhow::{Context, Result};
use testbed::{Artifacts, Span};

use super::{compare, outcome::Run};

/// A span's times are of another clock than the guest's report: of the kernel's, and moved by when both were read.
const SLACK_NS: u64 = 50_000_000;

/// One kernel and strategy.
pub(super) struct Steps {
    /// The kernel's package.
    pub(super) kernel: String,
    /// The strategy that was taken.
    pub(super) strategy: String,
    /// Spans in each of the times between the steps.
    pub(super) spans: Vec<usize>,
    /// What is wrong; empty: nothing.
    pub(super) wrong: Vec<String>,
}

impl Steps {
    /// Looks at a run: sends happen between two steps, and have times between what the wall clock showed before and after.
    ///
    /// # Errors
    /// Its spans or its report cannot be read.
    pub(super) fn judge(kernel: &str, run: &Run, artifacts: &Artifacts) -> Result<Steps> {
        let mut wrong = run.wrong();
        let times = run.report.lines().map(|line| -> Result<(u64, u64)> {
            let (begun, ended) = line.split_once(' ').context("not two times")?;
            Ok((begun.parse()?, ended.parse()?))
        });
        let times: Vec<(u64, u64)> = times.collect::<Result<_>>()?;
        let mut spans = vec![0; times.len()];
        let sends = compare::spans(artifacts, &run.spans)?;
        for send in sends.iter().filter(|span| span.operation() == "send") {
            match times.iter().position(|time| is_within(send, *time)) {
                Some(turn) => spans[turn] += 1,
                None => wrong.push(format!(
                    "{} has the times {} to {}",
                    send.name, send.start_ns, send.end_ns
                )),
            }
        }
        // the same capture, each time
        if spans.len() != 3 || spans.contains(&0) || spans.iter().any(|count| *count != spans[0]) {
            wrong.push(format!("{spans:?} sends between the steps"));
        }
        Ok(Steps {
            kernel: kernel.to_owned(),
            strategy: run.log.strategy.clone().unwrap_or_default(),
            spans,
            wrong,
        })
    }

    /// Nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

fn is_within(span: &Span, (begun, ended): (u64, u64)) -> bool {
    begun.saturating_sub(SLACK_NS) <= span.start_ns && span.end_ns <= ended + SLACK_NS
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_good() { "ok" } else { "FAILED" };
        write!(
            f,
            "  {mark:<6} {:<48} {:<9} the wall clock set forth and back: {:?} sends between",
            self.kernel, self.strategy, self.spans
        )?;
        self.wrong
            .iter()
            .take(4)
            .try_for_each(|problem| write!(f, "\n         {problem}"))
    }
}
