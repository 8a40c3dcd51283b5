//! `cargo xtask test`: everything that can fail, in the order of how long it takes, and one closing line.

use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use testbed::Artifacts;

use crate::{
    arch::Arch,
    bench::instructions,
    build::{self, cargo},
    fuzz, lint, setup, truth, vm,
};

/// Seconds for each fuzz target; `cargo xtask fuzz` gives them more.
const FUZZ_SECONDS: u32 = 5;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the end-to-end tests, which need root
    #[arg(long)]
    no_e2e: bool,
    /// Run only the end-to-end tests whose name contains this
    #[arg(long, value_name = "NAME", conflicts_with = "no_e2e")]
    only_e2e: Option<String>,
}

/// Checks and tests that passed and failed.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Counts a step that passes or fails as a whole.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        println!("== {name}");
        let started = Instant::now();
        let result = work();
        if let Err(error) = &result {
            println!("FAILED {name}: {error:#}");
        }
        self.count(result.is_ok());
        println!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
        result.is_ok()
    }

    /// Runs a test program and adds up the summaries that it prints, one for each test binary.
    fn tests(&mut self, name: &str, command: &mut Command) {
        println!("== {name}");
        let started = Instant::now();
        let failed_before = self.failed;
        let ok = self.read_summaries(command).unwrap_or_else(|error| {
            println!("FAILED {name}: {error:#}");
            false
        });
        if !ok && self.failed == failed_before {
            // It failed without a summary: it did not compile, or it crashed.
            self.failed += 1;
        }
        println!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
    }

    fn read_summaries(&mut self, command: &mut Command) -> Result<bool> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting cargo test")?;
        let output = child.stdout.take().context("no standard output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            if let Some((passed, failed)) = summary(&line) {
                self.passed += passed;
                self.failed += failed;
            }
        }
        Ok(child.wait()?.success())
    }

    fn count(&mut self, ok: bool) {
        *(if ok { &mut self.passed } else { &mut self.failed }) += 1;
    }
}

/// The task.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut tally = Tally::default();
    if options.only_e2e.is_none() {
        tally.step("format", lint::format);
        tally.step("clippy", lint::clippy);
        tally.tests(
            "unit, property and snapshot tests",
            cargo()
                .args(["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"])
                .env("INSTA_UPDATE", "no"),
        );
        tally.step("build for other architectures", || {
            Arch::others().try_for_each(|arch| build::build_static(arch, &[]).map(drop))
        });
        tally.step("fuzzing, a short run of each target", || {
            if !fuzz::fuzz(&[], FUZZ_SECONDS)? {
                bail!("a finding; see above");
            }
            Ok(())
        });
        tally.step("instructions of the hot paths", || {
            setup::instructions(setup::Say::Changes)?;
            instructions::check(&Artifacts::locate())
        });
    }
    if !options.no_e2e && options.only_e2e.is_none() {
        tally.step("kernels, in virtual machines", vm::test);
    }
    if !options.no_e2e {
        end_to_end(&mut tally, options.only_e2e.as_deref());
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Real servers, real clients, a real collector and the release binary.
fn end_to_end(tally: &mut Tally, only: Option<&str>) {
    let ready = tally.step("setup", || setup::testbed(setup::Say::Changes))
        && tally.step("build", || build::build().map(drop));
    if ready {
        tally.tests("end-to-end tests", &mut truth::test_program("e2e", only));
        tally.tests("scenarios", &mut truth::scenarios(only));
    }
}

/// `test result: ok. 12 passed; 0 failed; …` → (12, 0).
fn summary(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line
        .strip_prefix("test result: ")?
        .split(['.', ';'])
        .filter_map(|part| part.trim().split_once(' '))
        .filter_map(|(number, word)| Some((number.parse::<u64>().ok()?, word)));
    let passed = numbers.find(|(_, word)| *word == "passed")?.0;
    let failed = numbers.find(|(_, word)| *word == "failed")?.0;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn summaries_of_test_programs() {
        let line =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s";
        assert_eq!(summary(line), Some((12, 0)));
        assert_eq!(
            summary("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"),
            Some((3, 2))
        );
        assert_eq!(summary("running 3 tests"), None);
    }
}
