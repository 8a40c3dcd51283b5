//! `cargo xtask lint`: formatting and clippy, of everything.

use anyhow::Result;

use crate::{build::cargo, console};

/// The task.
pub(crate) fn lint() -> Result<()> {
    format()?;
    clippy()
}

/// `cargo fmt --check`.
pub(crate) fn format() -> Result<()> {
    console::run(cargo().args(["fmt", "--all", "--check"]))
}

/// clippy on every target. The kernel side is an empty program on this machine's target, but all its code is checked.
pub(crate) fn clippy() -> Result<()> {
    console::run(
        cargo()
            .args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--locked",
                "--features",
                "tests/e2e",
            ])
            .args(["--", "-D", "warnings"]),
    )
}
