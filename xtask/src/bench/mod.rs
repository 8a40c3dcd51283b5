//! `cargo xtask bench`: what rmqtrace costs, beside what others cost, in one table; writes docs/performance.md.
//!
//! A bench is a file here with a function that gives rows, and a line in [`BENCHES`]. What is measured in Rust lies in
//! `tests/bench`; Java's decoder in `tests/testbed/java`.

mod calls;

mod daemon;
mod decode;
mod engine;
mod export;
pub(crate) mod instructions;
mod machine;
mod page;
mod paired;
mod pressure;
mod processors;
mod programs;
mod row;
mod saturated;
mod start;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use testbed::Artifacts;

use self::row::{Row, table};
use crate::setup::{self, Say};

/// A bench: its name, and what gives its rows.
type Bench = (&'static str, fn(&Artifacts) -> Result<Vec<Row>>);

/// All of them, in the order of the table.
const BENCHES: [Bench; 9] = [
    ("decode", decode::rows),
    ("engine", engine::rows),
    ("export", export::rows),
    ("calls", calls::rows),
    ("pressure", pressure::rows),
    ("saturated", saturated::rows),
    ("daemon", daemon::rows),
    ("start", start::rows),
    ("instructions", instructions::rows),
];

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only the benches whose name contains this; the page is left alone
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Take the instruction counts of the hot paths as they are now for those that `cargo xtask test` expects
    #[arg(long, conflicts_with = "only")]
    accept_instructions: bool,
}

/// The task.
pub(crate) fn bench(options: &Options) -> Result<()> {
    let artifacts = Artifacts::locate();
    setup::bench(Say::Changes)?;
    if options.accept_instructions {
        return instructions::accept(&artifacts);
    }
    let load = machine::load();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    let chosen = BENCHES
        .iter()
        .filter(|(name, _)| options.only.as_ref().is_none_or(|only| name.contains(only)));
    for (name, measure) in chosen {
        let started = Instant::now();
        match measure(&artifacts) {
            Ok(found) => rows.extend(found),
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                rows.push(Row::failed(name));
                failed.push(*name);
            }
        }
        println!("bench: {name} ({:.1} s)", started.elapsed().as_secs_f64());
    }
    print!("\n{}", table(&rows));
    if rows.is_empty() {
        bail!("no bench has this in its name");
    }
    if options.only.is_none() {
        page::write(&artifacts, load, &rows)?;
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}
