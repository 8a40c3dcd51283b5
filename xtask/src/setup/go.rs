//! The programs in Go: the test client and the OpenTelemetry Collector.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use testbed::Artifacts;

use super::{Say, into_place, part};
use crate::console;

/// Oldest Go that the collector's modules accept (`go` line of its `go.mod`).
const MINIMUM: (u32, u32) = (1, 25);

/// The test client.
pub(crate) fn client(artifacts: &Artifacts, say: Say) -> Result<()> {
    compiler(say)?;
    let client = artifacts.go_client();
    part(say, "Go test client", client.exists(), || {
        build(&artifacts.go_source(), &client, "go-client")
    })
}

/// The OpenTelemetry Collector.
pub(crate) fn collector(artifacts: &Artifacts, say: Say) -> Result<()> {
    compiler(Say::Changes)?;
    let collector = artifacts.otelcol();
    let what = "OpenTelemetry Collector (compiled once, two to five minutes)";
    part(say, what, collector.exists(), || {
        build(&artifacts.otelcol_source(), &collector, "otelcol")
    })
}

/// Go itself is not installed: distributions often have only an older one.
fn compiler(say: Say) -> Result<()> {
    let version = console::first_line(Command::new("go").args(["env", "GOVERSION"])).unwrap_or_default();
    if parse(&version).is_none_or(|found| found < MINIMUM) {
        let found = if version.is_empty() {
            "none is in PATH".to_owned()
        } else {
            format!("{version} is in PATH")
        };
        bail!(
            "Go {}.{} or newer is needed, {found}; see https://go.dev/doc/install",
            MINIMUM.0,
            MINIMUM.1
        );
    }
    part(say, &format!("Go ({version})"), true, || Ok(()))
}

fn build(source: &Path, program: &Path, log: &str) -> Result<()> {
    into_place(program, |partial| {
        console::run_quietly(
            Command::new("go")
                .args([
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-mod=readonly",
                    "-ldflags=-s -w",
                    "-o",
                ])
                .arg(partial)
                .arg(".")
                .current_dir(source)
                .env("CGO_ENABLED", "0")
                .env_remove("GOFLAGS"),
            log,
        )
    })
}

/// `go1.26.8` → (1, 26).
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_of_go() {
        assert_eq!(parse("go1.26.8"), Some((1, 26)));
        assert_eq!(parse("go1.25rc1"), Some((1, 25)));
        assert_eq!(parse("devel"), None);
        assert_eq!(parse(""), None);
    }
}
