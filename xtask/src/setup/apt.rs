//! Debian packages, where there is apt and we are root.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};

use super::{Say, part};
use crate::console;

/// Whether packages can be installed at all.
pub(crate) fn is_available() -> bool {
    let root = console::first_line(Command::new("id").arg("-u")).as_deref() == Some("0");
    root && console::first_line(Command::new("apt-get").arg("--version")).is_some()
}

/// A program of a package.
pub(crate) fn program(what: &str, probe: &mut Command, package: &str, say: Say) -> Result<()> {
    part(say, what, console::first_line(probe).is_some(), || {
        if !is_available() {
            bail!(
                "{what} is missing and cannot be installed here: not root, or no apt. Debian's package is {package}"
            );
        }
        install(&[package])
    })
}

/// Installs packages; waits for another installation that holds the lock.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    update()?;
    console::run_quietly(
        apt_get()
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages),
        &format!("apt-{}", packages[0]),
    )
}

/// Downloads packages, and what they need that is not installed, into a directory; installs nothing.
pub(crate) fn download(packages: &[&str], into: &Path) -> Result<()> {
    update()?;
    console::run_quietly(
        apt_get()
            .args(["install", "-y", "--no-install-recommends", "--download-only"])
            .arg("-o")
            .arg(format!("Dir::Cache::Archives={}", into.display()))
            .args(["-o", "APT::Sandbox::User=root"])
            .args(packages),
        &format!("apt-download-{}", packages[0]),
    )
}

/// Whether the package lists know a package.
pub(crate) fn knows(package: &str) -> Result<bool> {
    update()?;
    Ok(console::first_line(Command::new("apt-cache").args(["show", package])).is_some())
}

/// Package lists of a fresh machine are empty or old; once per run is enough.
fn update() -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    console::run_quietly(apt_get().arg("update"), "apt-update")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
