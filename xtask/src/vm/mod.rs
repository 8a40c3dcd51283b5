//! `cargo xtask vm`: the same recorded clients on every kernel, and the same spans of each.
//!
//! Each stock kernel is booted in an emulator with nothing but `rmqtrace` and `vm-guest` (tests/vm), which plays the clients
//! of some captures and traces them with each strategy. The spans must be those that the captures give when they are
//! replayed. This machine's own kernel does the same without an emulator. The page docs/kernels.md is made of it.

mod clock;
mod compare;
mod initramfs;
mod kernels;
mod machine;
mod outcome;
mod page;
mod verdict;
mod ways;

use std::{fs, path::PathBuf, process::Command, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use testbed::Artifacts;

use self::{
    clock::Steps,
    compare::Expected,
    kernels::{Kernel, LINES},
    outcome::Played,
    verdict::{Row, Wanted},
    ways::{Captures, Course},
};
use crate::{
    build::cargo,
    console, ebpf,
    setup::{Say, apt, part},
};

/// What to boot.
#[derive(Args)]
pub(crate) struct Options {
    /// Only kernels whose version begins with this, `host` for this machine's own; the page is left alone
    #[arg(long, value_name = "VERSION")]
    only: Option<String>,
}

/// The kernels that are booted are for x86-64.
pub(crate) const IS_POSSIBLE: bool = cfg!(target_arch = "x86_64");

/// What is linked statically.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The scenarios that are played, all at the same time; captures of Java's client (tests/captures). None in which a client
/// writes times into messages that matter: it is another day.
const SCENARIOS: [&str; 12] = [
    "a-carried-context-in-batches",
    "a-retry",
    "a-tag-filter",
    "async-sends",
    "batch-sends",
    "bodies-of-300-KB",
    "compressed-bodies",
    "one-way-sends",
    "pop",
    "push-orderly",
    "transactions-that-are-committed",
    "two-groups-on-one-topic",
];

/// The task.
pub(crate) fn vm(options: &Options) -> Result<()> {
    let only = options.only.as_deref();
    let found = try_on(|name| only.is_none_or(|only| name.starts_with(only)))?;
    if options.only.is_none() {
        page::write(&Artifacts::locate(), &found)?;
    }
    found.check()
}

/// As a step of `cargo xtask test`: one kernel of each strategy, and this machine's own; the page is left alone.
pub(crate) fn test() -> Result<()> {
    try_on(|name| ["6.1", "6.12", "host"].contains(&name))?.check()
}

/// What all runs came to.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    courses: Vec<Course>,
    steps: Vec<Steps>,
}

impl Found {
    fn check(&self) -> Result<()> {
        let rows = self.rows.iter().filter(|row| !row.is_good());
        let rows = rows.map(|row| format!("{} with {}", row.kernel, row.asked));
        let courses = self.courses.iter().filter(|course| !course.is_good());
        let courses = courses.map(|course| {
            format!(
                "ways of moving bytes on {} with {}",
                course.kernel, course.strategy
            )
        });
        let steps = self.steps.iter().filter(|steps| !steps.is_good());
        let steps = steps.map(|steps| format!("steps of the clock on {}", steps.kernel));
        let bad: Vec<String> = rows.chain(courses).chain(steps).collect();
        ensure!(bad.is_empty(), "not as it should be: {}", bad.join(", "));
        Ok(())
    }
}

/// What the machines need; each part is named where it is absent.
pub(crate) fn setup(say: Say) -> Result<()> {
    ensure!(
        IS_POSSIBLE,
        "the kernels that are booted are for x86-64, and this machine is not"
    );
    apt::program(
        "QEMU",
        Command::new(machine::QEMU).arg("--version"),
        "qemu-system-x86",
        say,
    )?;
    apt::program(
        "musl-gcc",
        Command::new("musl-gcc").arg("--version"),
        "musl-tools",
        say,
    )?;
    let installed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output();
    let installed = installed.context("rustup is needed, for a static rmqtrace")?;
    let present = String::from_utf8_lossy(&installed.stdout)
        .lines()
        .any(|line| line == TARGET);
    part(
        say,
        &format!("Rust's standard library for {TARGET}"),
        present,
        || {
            console::run_quietly(
                Command::new("rustup").args(["target", "add", TARGET]),
                "rustup-target",
            )
        },
    )?;
    let artifacts = Artifacts::locate();
    LINES
        .iter()
        .try_for_each(|line| line.ensure(&artifacts, say).map(drop))
}

/// Runs what is wanted and prints a line for each run.
fn try_on(is_wanted: impl Fn(&str) -> bool) -> Result<Found> {
    setup(Say::Changes)?;
    let artifacts = Artifacts::locate();
    let (guest, rmqtrace) = build(&artifacts)?;
    let captures = captures(&artifacts)?;
    fs::create_dir_all(artifacts.target.join("vm"))?;
    let expected = Expected::of(&artifacts, &rmqtrace, &captures)?;
    println!("vm: {} spans of {} captures", expected.count(), captures.len());
    let ways = Captures::make(&artifacts, &guest, &rmqtrace, &captures)?;
    let files = machine::initial_files(&artifacts, &guest, &rmqtrace, &captures, &ways.files)?;

    let mut found = Found::default();
    let judge = |name: &str, outcome: &[u8], wanted: &Wanted, found: &mut Found| -> Result<()> {
        let runs = outcome::read(outcome)?;
        let played = runs.iter().filter(|run| run.played == Played::Captures).count();
        ensure!(
            played == wanted.strategies.len(),
            "{name}: {played} runs, wanted {}",
            wanted.strategies.len()
        );
        for run in runs {
            match run.played {
                Played::Captures => {
                    let row = Row::judge(name, run, wanted, &expected, &artifacts)?;
                    println!("{row}");
                    found.rows.push(row);
                }
                Played::Ways => {
                    let course = Course::judge(name, &run, &ways, &artifacts)?;
                    println!("{course}");
                    found.courses.push(course);
                }
                Played::Clock => {
                    let steps = Steps::judge(name, &run, &artifacts)?;
                    println!("{steps}");
                    found.steps.push(steps);
                }
            }
        }
        Ok(())
    };
    for line in LINES.iter().filter(|line| is_wanted(line.version)) {
        let kernel = line.ensure(&artifacts, Say::Changes)?;
        let Kernel { package, .. } = &kernel;
        let started = Instant::now();
        let wanted = line.wanted();
        let outcome = machine::boot(&artifacts, &kernel, &files, wanted.strategies)
            .with_context(|| format!("Linux {}", line.version))?;
        println!("vm: {package} ({:.0} s)", started.elapsed().as_secs_f64());
        judge(package, &outcome, &wanted, &mut found)?;
    }
    if is_wanted("host") {
        let wanted = Wanted::HOST;
        let outcome = native(&artifacts, &guest, &rmqtrace, &captures, &ways.files, &wanted)?;
        judge("this machine's own", &outcome, &wanted, &mut found)?;
    }
    ensure!(!found.rows.is_empty(), "no kernel's version begins so");
    Ok(found)
}

/// The static programs: the guest, and rmqtrace, which gets the object beside it.
fn build(artifacts: &Artifacts) -> Result<(PathBuf, PathBuf)> {
    ebpf::build(artifacts)?;
    console::run_quietly(
        cargo()
            .args(["build", "--release", "--locked", "--target", TARGET])
            .args(["--package", "tracer-user", "--package", "vm-guest"]),
        "vm-programs",
    )?;
    let place = artifacts.target.join(TARGET).join("release");
    Ok((place.join("vm-guest"), place.join("rmqtrace")))
}

fn captures(artifacts: &Artifacts) -> Result<Vec<PathBuf>> {
    let [version, ..] = testbed::artifacts::CLIENT_VERSIONS;
    let [server, ..] = testbed::artifacts::SERVER_VERSIONS;
    let find = |scenario: &&str| {
        let name = format!("java-{version}-at-{server}-{scenario}.pcapng.gz");
        let path = artifacts.root.join("tests/captures").join(name);
        ensure!(path.exists(), "{} is missing", path.display());
        Ok(path)
    };
    SCENARIOS.iter().map(find).collect()
}

/// The same on this machine's own kernel.
fn native(
    artifacts: &Artifacts,
    guest: &PathBuf,
    rmqtrace: &PathBuf,
    captures: &[PathBuf],
    ways: &[PathBuf],
    wanted: &Wanted,
) -> Result<Vec<u8>> {
    let dir = artifacts.run_directory("vm-host")?;
    let output = Command::new(guest)
        .arg("run")
        .args([rmqtrace, &dir])
        .arg(wanted.strategies.join(","))
        .args(captures)
        .arg("--")
        .args(ways)
        .env("RMQTRACE_EBPF_OBJECT", artifacts.ebpf_object())
        .output()
        .with_context(|| format!("starting {}", guest.display()))?;
    if !output.status.success() {
        bail!(
            "vm-guest: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}
