//! `cargo xtask build`: the eBPF object, and the rmqtrace binary with the object inside.

use std::{env, path::PathBuf, process::Command, time::Instant};

use anyhow::Result;
use testbed::Artifacts;

use crate::{console, ebpf};

/// cargo, as it runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Artifacts::locate().root);
    command
}

/// The task; gives the binary's path. cargo skips what is up to date.
pub(crate) fn build() -> Result<PathBuf> {
    let artifacts = Artifacts::locate();
    let started = Instant::now();
    let object = ebpf::build(&artifacts)?;
    println!(
        "build: {} ({:.1} s)",
        object.display(),
        started.elapsed().as_secs_f64()
    );
    let started = Instant::now();
    console::run_quietly(
        cargo()
            .args([
                "build",
                "--release",
                "--locked",
                "--package",
                "tracer-user",
                "--features",
                "embed",
            ])
            .env("RMQTRACE_EBPF_OBJECT", &object),
        "rmqtrace",
    )?;
    let binary = artifacts.rmqtrace();
    println!(
        "build: {} ({:.1} s)",
        binary.display(),
        started.elapsed().as_secs_f64()
    );
    Ok(binary)
}
