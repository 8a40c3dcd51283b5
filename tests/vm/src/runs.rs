//! The runs, two or three for each strategy, and how their outcome is written.
//!
//! gzip of, for each run, a line of words — what was played, the strategy, the exit code or `killed`, four lengths — and as many
//! bytes of log, of spans, of problems and of what [`course`] reports. What is played is all captures at the same time (`run`), and
//! where that worked, all ways of moving bytes (`ways`), and with the first strategy that works one capture while the clock is set
//! (`clock`). `xtask` reads it.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

use crate::{
    clock, course,
    trace::{Outcome, Trace},
};

/// What is played.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// All at the same time.
    pub(crate) captures: &'a [PathBuf],
    /// One for each way of moving bytes.
    pub(crate) ways: &'a [PathBuf],
    /// While the wall clock is set, where it may be.
    pub(crate) clock: Option<&'a [PathBuf]>,
}

/// Runs with each strategy; what a run comes to is written before the next begins.
///
/// # Errors
/// The outcome cannot be written.
pub(crate) fn all(
    rmqtrace: &Path,
    dir: &Path,
    strategies: &[String],
    files: Files<'_>,
    into: &mut dyn Write,
) -> Result<()> {
    let Files {
        captures,
        ways,
        mut clock,
    } = files;
    let guest = env::current_exe()?;
    let mut gzip = GzEncoder::new(into, Compression::fast());
    for strategy in strategies {
        let trace = Trace {
            guest: &guest,
            rmqtrace,
            dir,
            captures,
        };
        let outcome = trace.run(strategy).unwrap_or_else(failed);
        let works = outcome.code == Some(0);
        write(&mut gzip, "run", strategy, outcome, "")?;
        if works {
            let (outcome, report) =
                course::run(&trace, ways, strategy).unwrap_or_else(|error| (failed(error), String::new()));
            write(&mut gzip, "ways", strategy, outcome, &report)?;
            if let Some(captures) = clock.take() {
                let trace = Trace { captures, ..trace };
                let (outcome, report) =
                    clock::run(&trace, strategy).unwrap_or_else(|error| (failed(error), String::new()));
                write(&mut gzip, "clock", strategy, outcome, &report)?;
            }
        }
    }
    gzip.finish()?;
    Ok(())
}

fn failed(error: anyhow::Error) -> Outcome {
    Outcome {
        problems: vec![format!("{error:#}")],
        ..Outcome::default()
    }
}

fn write(into: &mut dyn Write, played: &str, strategy: &str, outcome: Outcome, report: &str) -> Result<()> {
    let Outcome {
        code,
        log,
        spans,
        problems,
    } = outcome;
    let code = code.map_or_else(|| "killed".into(), |code| code.to_string());
    let problems = problems.join("\n");
    let parts = [&log[..], &spans, problems.as_bytes(), report.as_bytes()];
    let lengths = parts.map(|part| part.len().to_string());
    writeln!(into, "{played} {strategy} {code} {}", lengths.join(" "))?;
    for part in parts {
        into.write_all(part)?;
    }
    Ok(into.flush()?)
}
