//! Is a run as it should be?

use std::fmt;

use anyhow::Result;
use testbed::Artifacts;

use super::{
    compare::{self, Expected},
    kernels::Line,
    outcome::{Program, Run},
};
use crate::arch::Arch;

/// Instructions that the verifier walks through before it gives up.
pub(super) const VERIFIER_LIMIT: u64 = 1_000_000;
/// How much of it a program may need, in percent: other builds of the same version need more or less.
pub(super) const VERIFIER_PERCENT: u64 = 70;

/// Exit code of rmqtrace where the kernel cannot do it.
const NO_KERNEL: i32 = 4;

/// What is to come of a kernel.
pub(super) struct Wanted {
    /// Strategies to ask for.
    pub(super) strategies: &'static [&'static str],
    /// What `auto` must choose.
    chosen: &'static str,
    /// Those of them that must be refused.
    refused: &'static [&'static str],
    /// Those of them that may be.
    unsure: &'static [&'static str],
}

impl Wanted {
    /// Of a kernel that nobody knows but that is supported.
    pub(super) const HOST: Wanted = Wanted {
        strategies: &["auto", "fentry"],
        chosen: "",
        refused: &[],
        unsure: &["fentry"],
    };
}

impl Line {
    /// What is to come of it.
    pub(super) fn wanted(self) -> Wanted {
        match (self.arch, self.version) {
            (Arch::X86_64, "6.1") => Wanted {
                strategies: &["auto", "socktrace"],
                chosen: "fentry",
                refused: &["socktrace"],
                unsure: &[],
            },
            // programs at functions came with 6.4
            (Arch::Aarch64, "6.1") => Wanted {
                strategies: &["auto", "socktrace"],
                chosen: "",
                refused: &["auto", "socktrace"],
                unsure: &[],
            },
            _ => Wanted {
                strategies: &["auto", "fentry"],
                chosen: "socktrace",
                refused: &[],
                unsure: &[],
            },
        }
    }
}

/// A run and what is to be said of it.
pub(super) struct Row {
    /// The kernel's package.
    pub(super) kernel: String,
    /// `uname -r`.
    pub(super) release: String,
    /// The strategy that was asked for.
    pub(super) asked: String,
    /// The one that was taken.
    pub(super) strategy: Option<String>,
    /// In words.
    pub(super) result: String,
    /// What is wrong; empty: nothing.
    pub(super) wrong: Vec<String>,
    /// The kernel's programs.
    pub(super) programs: Vec<Program>,
    /// Runs of programs that the kernel skipped.
    pub(super) missed: u64,
    /// Bytes of connections that were declared lost.
    pub(super) lost: u64,
}

impl Row {
    /// Looks at a run.
    ///
    /// # Errors
    /// Its spans cannot be read.
    pub(super) fn judge(
        kernel: &str,
        run: Run,
        wanted: &Wanted,
        expected: &Expected,
        artifacts: &Artifacts,
    ) -> Result<Row> {
        let asked = run.asked.as_str();
        let (missed, lost) = (run.log.total("recursion_misses"), run.log.total("bytes_lost"));
        let mut wrong: Vec<String> = run.problems.lines().map(str::to_owned).collect();
        let refused = run.code == Some(NO_KERNEL);
        let result = if refused {
            if !wanted.refused.contains(&asked) && !wanted.unsure.contains(&asked) {
                wrong.push("it should work here".into());
            }
            if run.log.refusal.is_empty() {
                wrong.push("it does not say why".into());
            }
            format!("refused: {}", run.log.refusal.trim_start_matches("rmqtrace: "))
        } else {
            if wanted.refused.contains(&asked) {
                wrong.push("it should be refused here".into());
            }
            if run.code != Some(0) {
                let code = run
                    .code
                    .map_or_else(|| "a signal".into(), |code| format!("code {code}"));
                wrong.push(format!("rmqtrace ended with {code}: {}", run.log.refusal));
            }
            let taken = run.log.strategy.as_deref().unwrap_or_default();
            let right = if asked == "auto" { wanted.chosen } else { asked };
            if !right.is_empty() && taken != right {
                wrong.push(format!("it took the strategy {taken:?}"));
            }
            let difference = expected.compare(&compare::spans(artifacts, &run.spans)?);
            let (missing, extra) = (difference.missing.len(), difference.extra.len());
            let count = expected.count();
            if difference.is_empty() {
                format!("the same {count} spans")
            } else if missed > 0 && lost > 0 && difference.wrong.is_empty() {
                // preempted programs: holes are allowed where they are declared, and nothing wrong may come of them
                format!(
                    "{} of {count} spans are the same; no other says anything wrong",
                    count - missing
                )
            } else {
                wrong.push(format!("{missing} spans are missing, {extra} are others"));
                wrong.extend(difference.examples());
                format!("{missing} of {count} spans differ")
            }
        };
        for program in &run.log.programs {
            if program.verified * 100 > VERIFIER_LIMIT * VERIFIER_PERCENT {
                wrong.push(format!(
                    "the verifier walks through {} instructions of `{}`: more than {VERIFIER_PERCENT} % of its limit",
                    program.verified, program.name
                ));
            }
        }
        Ok(Row {
            kernel: kernel.to_owned(),
            release: run.log.kernel,
            asked: run.asked,
            strategy: run.log.strategy.filter(|_| !refused),
            result,
            wrong,
            programs: run.log.programs,
            missed,
            lost,
        })
    }

    /// Nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Time that the kernel took for all programs, in milliseconds.
    pub(super) fn load_milliseconds(&self) -> u64 {
        self.programs.iter().map(|p| p.microseconds).sum::<u64>() / 1000
    }

    /// Most instructions of one program.
    pub(super) fn most_verified(&self) -> u64 {
        self.programs.iter().map(|p| p.verified).max().unwrap_or_default()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { asked, result, .. } = self;
        let mark = if self.is_good() { "ok" } else { "FAILED" };
        write!(f, "  {mark:<6} {:<48} {asked:<9}", self.kernel)?;
        if let Some(strategy) = &self.strategy {
            write!(
                f,
                " {strategy:<9} load {:>5} ms, verified {:>6}, missed {}, lost {}",
                self.load_milliseconds(),
                self.most_verified(),
                self.missed,
                self.lost
            )?;
        }
        write!(f, " {result}")?;
        for wrong in &self.wrong {
            write!(f, "\n         {wrong}")?;
        }
        Ok(())
    }
}
