//! The runs, one for each strategy, and how their outcome is written.
//!
//! gzip of, for each run, a line of words — `run`, the strategy, the exit code or `killed`, three lengths — and as many bytes of
//! log, of spans and of problems. `xtask` reads it.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

use crate::trace::{Outcome, Trace};

/// Runs with each strategy; what a run comes to is written before the next begins.
///
/// # Errors
/// The outcome cannot be written.
pub(crate) fn all(
    rmqtrace: &Path,
    dir: &Path,
    strategies: &[String],
    captures: &[PathBuf],
    into: &mut dyn Write,
) -> Result<()> {
    let guest = env::current_exe()?;
    let mut gzip = GzEncoder::new(into, Compression::fast());
    for strategy in strategies {
        let trace = Trace {
            guest: &guest,
            rmqtrace,
            dir,
            captures,
        };
        let outcome = trace.run(strategy).unwrap_or_else(|error| Outcome {
            problems: vec![format!("{error:#}")],
            ..Outcome::default()
        });
        let Outcome {
            code,
            log,
            spans,
            problems,
        } = outcome;
        let code = code.map_or_else(|| "killed".into(), |code| code.to_string());
        let problems = problems.join("\n");
        let lengths = [log.len(), spans.len(), problems.len()].map(|n| n.to_string());
        writeln!(gzip, "run {strategy} {code} {}", lengths.join(" "))?;
        gzip.write_all(&log)?;
        gzip.write_all(&spans)?;
        gzip.write_all(problems.as_bytes())?;
        gzip.flush()?;
    }
    gzip.finish()?;
    Ok(())
}
