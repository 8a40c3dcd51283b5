//! `cargo xtask soak`: as much as the broker here takes, for minutes; no message may be without its spans.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use testbed::{Artifacts, Server, artifacts::FASTEST_SERVER, soak::soak};

use crate::{
    build,
    setup::{self, Say},
};

/// How long.
#[derive(Args)]
pub(crate) struct Options {
    /// How long messages are sent and consumed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    seconds: u64,
}

/// The task.
pub(crate) fn run(options: &Options) -> Result<()> {
    let artifacts = Artifacts::locate();
    setup::testbed(Say::Changes)?;
    build::build()?;
    let dir = artifacts.run_directory("soak")?;
    let server = Server::start(&artifacts, FASTEST_SERVER, &dir)?;
    let length = Duration::from_secs(options.seconds);
    let found = soak(&artifacts, &server, &dir, "soak", length)?;
    println!(
        "soak: {} messages sent and consumed in {} s ({:.0} a second), 0 lost; rmqtrace took {:.2} of a core and {:.0} MiB at most",
        found.messages, options.seconds, found.rate, found.cores, found.resident
    );
    Ok(())
}
