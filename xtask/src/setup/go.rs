//! Go and the programs in it: the test client, the OpenTelemetry Collector and Jaeger.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use testbed::Artifacts;

use super::{Say, into_place, part, python};
use crate::console;

/// Oldest Go that the modules accept (`go` line of Jaeger's `go.mod`).
const MINIMUM: (u32, u32) = (1, 26);

/// Package of Jaeger's program; `tests/testbed/jaeger` has no source, only the versions of its modules.
const JAEGER: &str = "github.com/jaegertracing/jaeger/cmd/jaeger";

/// The test client.
pub(crate) fn client(artifacts: &Artifacts, say: Say) -> Result<()> {
    compiler(artifacts, say)?;
    let client = artifacts.go_client();
    part(say, "Go test client", client.exists(), || {
        build(artifacts, &artifacts.go_source(), ".", &client, "go-client")
    })
}

/// The OpenTelemetry Collector.
pub(crate) fn collector(artifacts: &Artifacts, say: Say) -> Result<()> {
    compiler(artifacts, Say::Changes)?;
    let collector = artifacts.otelcol();
    let what = "OpenTelemetry Collector (compiled once, two to five minutes)";
    part(say, what, collector.exists(), || {
        build(artifacts, &artifacts.otelcol_source(), ".", &collector, "otelcol")
    })
}

/// Jaeger.
pub(crate) fn jaeger(artifacts: &Artifacts, say: Say) -> Result<()> {
    compiler(artifacts, Say::Changes)?;
    let jaeger = artifacts.jaeger();
    let what = "Jaeger (compiled once, four to ten minutes)";
    part(say, what, jaeger.exists(), || {
        build(artifacts, &artifacts.jaeger_source(), JAEGER, &jaeger, "jaeger")
    })
}

/// Go itself. Distributions often have only an older one; then it comes from the Python index.
fn compiler(artifacts: &Artifacts, say: Say) -> Result<()> {
    let version = || {
        let version = console::first_line(Command::new(artifacts.go()).args(["env", "GOVERSION"]));
        version.unwrap_or_default()
    };
    if parse(&version()).is_none_or(|found| found < MINIMUM) {
        python::packages(artifacts, "go", "Go", say)?;
    }
    let version = version();
    ensure!(
        parse(&version).is_some_and(|found| found >= MINIMUM),
        "Go {}.{} or newer is needed, {} is {version:?}",
        MINIMUM.0,
        MINIMUM.1,
        artifacts.go().display()
    );
    part(say, &format!("Go ({version})"), true, || Ok(()))
}

fn build(artifacts: &Artifacts, source: &Path, package: &str, program: &Path, log: &str) -> Result<()> {
    into_place(program, |partial| {
        console::run_quietly(
            Command::new(artifacts.go())
                .args([
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-mod=readonly",
                    "-ldflags=-s -w",
                    "-o",
                ])
                .arg(partial)
                .arg(package)
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
