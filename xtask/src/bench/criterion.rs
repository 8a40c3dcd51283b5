//! The benches under `tests/bench`: running them, and reading what criterion found.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testbed::Artifacts;

use crate::{build, console};

/// A time that criterion measured.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// Median of the samples, nanoseconds.
    pub(super) ns: f64,
    /// Median distance of the samples from it, as a fraction of it.
    pub(super) noise: f64,
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

/// Where they are built, and where criterion leaves what it finds.
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

/// Runs a bench program to its end.
pub(super) fn run(artifacts: &Artifacts, bench: &str) -> Result<()> {
    console::run_quietly(
        cargo(artifacts, "bench").args(["--bench", bench]),
        &format!("bench-{bench}"),
    )
}

/// What a bench program prints.
pub(super) fn output(artifacts: &Artifacts, bench: &str) -> Result<String> {
    let output = cargo(artifacts, "bench").args(["--bench", bench]).output()?;
    if !output.status.success() {
        bail!("{bench}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What criterion found last for a bench of a group.
pub(super) fn time(artifacts: &Artifacts, group: &str, bench: &str) -> Result<Time> {
    let path = target(artifacts).join(format!("criterion/{group}/{bench}/new/estimates.json"));
    read(&path).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> Result<Time> {
    let found: Value = serde_json::from_slice(&fs::read(path)?)?;
    let number = |name: &str| {
        found[name]["point_estimate"]
            .as_f64()
            .with_context(|| format!("no {name}"))
    };
    let ns = number("median")?;
    Ok(Time {
        ns,
        noise: number("median_abs_dev")? / ns,
    })
}
