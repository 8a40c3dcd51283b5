//! `cargo xtask truth`: every kind of message from every client, compared message by message with what the clients logged.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;
use testbed::Artifacts;

use crate::{
    build::{self, cargo},
    setup,
};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// The newest clients and servers only, and a short main scenario
    #[arg(long)]
    quick: bool,
    /// Run only the scenarios whose name contains this; the page is left alone
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Make the captures under tests/captures anew instead
    #[arg(long)]
    record: bool,
    /// Take the spans that the captures give now for right; review the difference
    #[arg(long, conflicts_with = "record")]
    accept: bool,
    /// How long the main scenario lasts, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    seconds: u32,
}

/// The task.
pub(crate) fn run(options: &Options) -> ExitCode {
    match compare(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<()> {
    if options.accept {
        build::build()?;
        let accepted = scenarios(Some("capture ")).env("TRUTH_ACCEPT", "1").status()?;
        return if accepted.success() {
            Ok(())
        } else {
            bail!("some captures cannot be replayed")
        };
    }
    setup::testbed(setup::Say::Changes)?;
    build::build()?;
    let seconds = if options.quick { 30 } else { options.seconds };
    let mut command = scenarios(options.only.as_deref());
    command
        .env("TRUTH_FORM", if options.quick { "quick" } else { "full" })
        .env("TRUTH_SECONDS", seconds.to_string());
    if options.record {
        command.env("TRUTH_RECORD", "1");
    } else if options.only.is_none() {
        let page = Artifacts::locate().root.join("docs/accuracy.md");
        let words = if options.quick { " --quick" } else { "" };
        command
            .env("TRUTH_COMMAND", format!("cargo xtask truth{words}"))
            .env("TRUTH_PAGE", page);
    }
    if !command.status()?.success() {
        bail!("some scenarios are not right");
    }
    Ok(())
}

/// The program with the scenarios. Without further words it runs the form that belongs to the tests.
pub(crate) fn scenarios(only: Option<&str>) -> Command {
    test_program("truth", only)
}

/// One of the programs that need real servers and clients, all of it or the tests whose name contains `only`.
pub(crate) fn test_program(name: &str, only: Option<&str>) -> Command {
    let mut command = cargo();
    command
        .args([
            "test",
            "--quiet",
            "--locked",
            "--package",
            "tests",
            "--features",
            "e2e",
        ])
        .args(["--test", name, "--", "--test-threads", "1"])
        .args(only);
    command
}
