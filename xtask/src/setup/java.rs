//! JDK and Maven, the jars of RocketMQ's servers and clients, and the Java test client.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};
use testbed::Artifacts;

use super::{Say, apt, into_place, part};
use crate::console;

/// JDK, Maven, and servers and clients of these versions.
pub(crate) fn ensure(artifacts: &Artifacts, servers: &[&str], clients: &[&str], say: Say) -> Result<()> {
    program(
        "JDK",
        Command::new("javac").arg("-version"),
        "default-jdk-headless",
        say,
    )?;
    program("Maven", Command::new("mvn").arg("-version"), "maven", say)?;
    for version in servers {
        jars(artifacts, "server", version, &artifacts.server_jars(version), say)?;
    }
    for version in clients {
        jars(artifacts, "client", version, &artifacts.client_jars(version), say)?;
        compile(artifacts, version, say)?;
    }
    Ok(())
}

fn program(what: &str, probe: &mut Command, package: &str, say: Say) -> Result<()> {
    part(say, what, console::first_line(probe).is_some(), || {
        if !apt::is_available() {
            bail!(
                "{what} is missing and cannot be installed here: not root, or no apt. Debian's package is {package}"
            );
        }
        apt::install(&[package])
    })
}

/// All jars that one artifact needs at run time. They appear in their place only when they are complete.
fn jars(artifacts: &Artifacts, kind: &str, version: &str, to: &Path, say: Say) -> Result<()> {
    part(
        say,
        &format!("RocketMQ {kind} {version} from Maven Central"),
        to.exists(),
        || {
            into_place(to, |partial| {
                console::run_quietly(
                    Command::new("mvn")
                        .args(["-B", "-ntp", "-f"])
                        .arg(artifacts.root.join(format!("tests/testbed/maven/{kind}/pom.xml")))
                        .arg(format!("-Drocketmq.version={version}"))
                        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                        .arg(format!("-DoutputDirectory={}", partial.display())),
                    &format!("maven-{kind}-{version}"),
                )
            })
        },
    )
}

/// The test client, compiled against one version of the client library.
fn compile(artifacts: &Artifacts, version: &str, say: Say) -> Result<()> {
    let classes = artifacts.java_classes(version);
    part(
        say,
        &format!("Java test client for {version}"),
        classes.exists(),
        || {
            let mut sources = Vec::new();
            for entry in fs::read_dir(artifacts.java_source())? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "java") {
                    sources.push(path);
                }
            }
            into_place(&classes, |partial| {
                console::run_quietly(
                    Command::new("javac")
                        .args(["-encoding", "UTF-8", "-Xlint:all,-processing", "-Werror", "-d"])
                        .arg(partial)
                        .arg("-cp")
                        .arg(artifacts.client_jars(version).join("*"))
                        .args(sources),
                    &format!("javac-{version}"),
                )
            })
        },
    )
}
