//! The test client in Rust. Its libraries are many, so it is built once and kept.

use std::fs;

use anyhow::Result;
use testbed::Artifacts;

use super::{Say, into_place, part};
use crate::{build, console};

/// Builds it; without optimisation, which halves the time.
pub(crate) fn client(artifacts: &Artifacts, say: Say) -> Result<()> {
    let to = artifacts.rust_client();
    let what = "Rust test client (compiled once, two to five minutes)";
    part(say, what, to.exists(), || {
        let target = artifacts.target.join("testbed/rust-client");
        console::run_quietly(
            build::cargo()
                .args(["build", "--locked"])
                // Its settings, not those of this repository.
                .current_dir(artifacts.rust_source())
                .env("CARGO_TARGET_DIR", &target)
                .env_remove("RUSTFLAGS"),
            "rust-client",
        )?;
        into_place(&to, |partial| {
            fs::copy(target.join("debug/rust-client"), partial)?;
            Ok(())
        })
    })
}
