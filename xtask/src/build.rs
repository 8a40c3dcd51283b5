//! `cargo xtask build`: the eBPF object, and the rmqtrace binary with the object inside.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::Result;
use clap::Args;
use testbed::Artifacts;

use crate::{
    arch::Arch,
    console, ebpf,
    setup::{Say, cross},
};

/// What to build.
#[derive(Args)]
pub(crate) struct Options {
    /// A static binary for this architecture, in target/ARCH-unknown-linux-musl/release
    #[arg(long, value_enum)]
    arch: Option<Arch>,
}

/// cargo, as it runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Artifacts::locate().root);
    command
}

/// The task.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.arch {
        Some(arch) => build_static(arch, &[]).map(drop),
        None => build().map(drop),
    }
}

/// For this machine; gives the binary's path. cargo skips what is up to date.
pub(crate) fn build() -> Result<PathBuf> {
    let artifacts = Artifacts::locate();
    let object = object(&artifacts, Arch::HOST)?;
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--locked"]);
    compile(&mut cargo, &object, artifacts.rmqtrace())
}

/// A static binary for an architecture, and with it these packages; gives its path. Theirs are beside it.
pub(crate) fn build_static(arch: Arch, also: &[&str]) -> Result<PathBuf> {
    cross::ensure(arch, Say::Changes)?;
    let artifacts = Artifacts::locate();
    let object = object(&artifacts, arch)?;
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--locked", "--target", arch.static_target()]);
    also.iter().for_each(|package| {
        cargo.args(["--package", package]);
    });
    cross::environment(arch, &mut cargo);
    let binary = artifacts
        .target
        .join(arch.static_target())
        .join("release/rmqtrace");
    compile(&mut cargo, &object, binary)
}

fn object(artifacts: &Artifacts, arch: Arch) -> Result<PathBuf> {
    let started = Instant::now();
    let object = ebpf::build(artifacts, arch)?;
    say(&object, started);
    Ok(object)
}

fn compile(cargo: &mut Command, object: &Path, binary: PathBuf) -> Result<PathBuf> {
    let started = Instant::now();
    console::run_quietly(
        cargo
            .args(["--package", "tracer-user", "--features", "tracer-user/embed"])
            .env("RMQTRACE_EBPF_OBJECT", object),
        "rmqtrace",
    )?;
    say(&binary, started);
    Ok(binary)
}

fn say(what: &Path, started: Instant) {
    println!(
        "build: {} ({:.1} s)",
        what.display(),
        started.elapsed().as_secs_f64()
    );
}
