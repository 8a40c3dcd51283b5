//! `cargo xtask clean`: what the other tasks made.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::Args;
use testbed::Artifacts;

/// What to remove.
#[derive(Args)]
pub(crate) struct Options {
    /// Also remove the cache outside the repository: jars, the collector, bpf-linker
    #[arg(long)]
    cache: bool,
}

/// The task.
pub(crate) fn clean(options: &Options) -> Result<()> {
    let artifacts = Artifacts::locate();
    remove(&artifacts.target)?;
    if options.cache {
        remove(&artifacts.cache)?;
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        println!("clean: {}", dir.display());
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(())
}
