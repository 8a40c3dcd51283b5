//! `cargo xtask vm`: the same recorded clients on every kernel, and the same spans of each.
//!
//! Each stock kernel, for x86-64 and for arm64, is booted in an emulator with nothing but `rmqtrace` and `vm-guest` (tests/vm), which
//! plays the clients of some captures and traces them with each strategy. The spans must be those that the captures give when they are
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
    kernels::{Kernel, LINES, Line},
    machine::Emulator,
    outcome::Played,
    verdict::{Row, Wanted},
    ways::{Captures, Course},
};
use crate::{
    arch::Arch,
    build::build_static,
    setup::{Say, apt, cross},
};

/// What to boot.
#[derive(Args)]
pub(crate) struct Options {
    /// Only kernels whose name begins with this (6.12, 6.12-arm64), `host` for this machine's own; the page is left alone
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// All of it has been tried on x86-64 only.
pub(crate) const IS_POSSIBLE: bool = cfg!(target_arch = "x86_64");

/// The package of the guest.
const GUEST: &str = "vm-guest";

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

/// As a step of `cargo xtask test`: one kernel of each strategy and one of each architecture, and this machine's own; the page is left
/// alone.
pub(crate) fn test() -> Result<()> {
    try_on(|name| ["6.1", "6.12", "6.12-arm64", "host"].contains(&name))?.check()
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
        "virtual machines are for hosts with an x86-64 processor, and this one has another"
    );
    for arch in Arch::ALL {
        let Emulator { program, package, .. } = Emulator::of(arch);
        let what = format!("QEMU for {}", arch.name());
        apt::program(&what, Command::new(program).arg("--version"), package, say)?;
        cross::ensure(arch, say)?;
    }
    let artifacts = Artifacts::locate();
    LINES
        .iter()
        .try_for_each(|line| line.ensure(&artifacts, say).map(drop))
}

/// Runs what is wanted and prints a line for each run.
fn try_on(is_wanted: impl Fn(&str) -> bool) -> Result<Found> {
    setup(Say::Changes)?;
    let artifacts = Artifacts::locate();
    let host = Programs::build(Arch::HOST)?;
    let captures = captures(&artifacts)?;
    fs::create_dir_all(artifacts.target.join("vm"))?;
    let expected = Expected::of(&artifacts, &host.rmqtrace, &captures)?;
    println!("vm: {} spans of {} captures", expected.count(), captures.len());
    let ways = Captures::make(&artifacts, &host.guest, &host.rmqtrace, &captures)?;

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
    for arch in Arch::ALL {
        let lines: Vec<Line> = LINES
            .iter()
            .copied()
            .filter(|line| line.arch == arch && is_wanted(&line.name()))
            .collect();
        if lines.is_empty() {
            continue;
        }
        let files = Programs::build(arch)?.pack(&artifacts, arch, &captures, &ways.files)?;
        for line in lines {
            let kernel = line.ensure(&artifacts, Say::Changes)?;
            let Kernel { package, .. } = &kernel;
            let started = Instant::now();
            let wanted = line.wanted();
            let outcome = machine::boot(&artifacts, &kernel, &files, wanted.strategies)
                .with_context(|| format!("Linux {}", line.name()))?;
            println!("vm: {package} ({:.0} s)", started.elapsed().as_secs_f64());
            judge(package, &outcome, &wanted, &mut found)?;
        }
    }
    if is_wanted("host") {
        let wanted = Wanted::HOST;
        let outcome = native(&artifacts, &host, &captures, &ways.files, &wanted)?;
        judge("this machine's own", &outcome, &wanted, &mut found)?;
    }
    ensure!(!found.rows.is_empty(), "no kernel's name begins so");
    Ok(found)
}

/// The static programs of an architecture.
struct Programs {
    guest: PathBuf,
    rmqtrace: PathBuf,
}

impl Programs {
    fn build(arch: Arch) -> Result<Programs> {
        let rmqtrace = build_static(arch, &[GUEST])?;
        Ok(Programs {
            guest: rmqtrace.with_file_name(GUEST),
            rmqtrace,
        })
    }

    /// The initial file system that has them.
    fn pack(
        &self,
        artifacts: &Artifacts,
        arch: Arch,
        captures: &[PathBuf],
        ways: &[PathBuf],
    ) -> Result<PathBuf> {
        machine::initial_files(artifacts, arch, &self.guest, &self.rmqtrace, captures, ways)
    }
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
    programs: &Programs,
    captures: &[PathBuf],
    ways: &[PathBuf],
    wanted: &Wanted,
) -> Result<Vec<u8>> {
    let Programs { guest, rmqtrace } = programs;
    let dir = artifacts.run_directory("vm-host")?;
    let output = Command::new(guest)
        .arg("run")
        .args([rmqtrace, &dir])
        .arg(wanted.strategies.join(","))
        .args(captures)
        .arg("--")
        .args(ways)
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
