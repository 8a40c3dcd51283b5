//! The benches under `tests/bench`: running them, and reading what they print.

use std::{collections::HashMap, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use testbed::Artifacts;

use crate::{build, console};

/// A case of a bench whose cases take turns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Time {
    /// Of its quick turns, nanoseconds.
    pub(super) ns: f64,
    /// Half of what passes differ by, as a fraction of it.
    pub(super) noise: f64,
    /// What it takes for each that the first case of its group takes in the same round.
    pub(super) ratio: f64,
    /// Half of what passes differ by in that.
    pub(super) ratio_noise: f64,
}

/// cargo, on the package of the benches, which is a workspace of its own.
pub(super) fn cargo(artifacts: &Artifacts, subcommand: &str) -> Command {
    let mut command = build::cargo();
    command
        .args([subcommand, "--locked", "--quiet"])
        .current_dir(artifacts.root.join("tests/bench"))
        .env("CARGO_TARGET_DIR", target(artifacts))
        .env_remove("RUSTFLAGS");
    command
}

/// Where they are built, and what they need is written.
pub(super) fn target(artifacts: &Artifacts) -> PathBuf {
    artifacts.target.join("bench")
}

/// The program of the hot paths, built.
pub(super) fn hot_paths(artifacts: &Artifacts) -> Result<PathBuf> {
    console::run_quietly(
        cargo(artifacts, "build").args(["--release", "--bin", "hot-paths"]),
        "bench-hot-paths",
    )?;
    Ok(target(artifacts).join("release/hot-paths"))
}

/// The directory with the frames that are decoded, written.
pub(super) fn frames(artifacts: &Artifacts) -> Result<PathBuf> {
    let frames = target(artifacts).join("frames");
    fs::create_dir_all(&frames)?;
    let written = Command::new(hot_paths(artifacts)?)
        .arg("frames")
        .arg(&frames)
        .status()?;
    if !written.success() {
        bail!("the frames cannot be written");
    }
    Ok(frames)
}

/// What a bench program prints.
pub(super) fn output(artifacts: &Artifacts, bench: &str) -> Result<String> {
    let output = cargo(artifacts, "bench").args(["--bench", bench]).output()?;
    if !output.status.success() {
        bail!("{bench}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a bench whose cases take turns; gives each as `group/case`.
pub(super) fn times(artifacts: &Artifacts, bench: &str) -> Result<HashMap<String, Time>> {
    output(artifacts, bench)?
        .lines()
        .map(|line| time(line).with_context(|| format!("{bench} says {line:?}")))
        .collect()
}

/// `group/case ns noise ratio noise`
fn time(line: &str) -> Option<(String, Time)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let mut number = || words.next()?.parse::<f64>().ok();
    let ns = number()?;
    let time = Time {
        ns,
        noise: number()? / ns,
        ratio: number()?,
        ratio_noise: number()?,
    };
    words.next().is_none().then_some((name, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_bench() {
        let wanted = Time {
            ns: 200.0,
            noise: 0.05,
            ratio: 1.5,
            ratio_noise: 0.01,
        };
        assert_eq!(
            time("engine-send/topics 200.00 10.00 1.50000 0.01000"),
            Some(("engine-send/topics".to_owned(), wanted))
        );
        assert_eq!(time("engine-send/topics 200.00"), None);
    }
}
