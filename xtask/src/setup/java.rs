//! JDK and Maven, the jars of RocketMQ's servers and clients, and the Java test client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use testbed::{
    Artifacts,
    artifacts::{AGENT_VERSION, GRPC_VERSION, PROXY_VERSION},
};

use super::{Say, apt, into_place, part};
use crate::console;

/// JDK, Maven, and servers and clients of these versions.
pub(crate) fn ensure(artifacts: &Artifacts, servers: &[&str], clients: &[&str], say: Say) -> Result<()> {
    apt::program(
        "JDK",
        Command::new("javac").arg("-version"),
        "default-jdk-headless",
        say,
    )?;
    apt::program("Maven", Command::new("mvn").arg("-version"), "maven", say)?;
    for version in servers {
        let to = artifacts.server_jars(version);
        jars(artifacts, "server", "RocketMQ server", version, &to, say)?;
    }
    for version in clients {
        let to = artifacts.client_jars(version);
        jars(artifacts, "client", "RocketMQ client", version, &to, say)?;
        let what = format!("Java test client for {version}");
        let classes = artifacts.java_classes(version);
        compile(&what, &classes, &to, sources(&artifacts.java_source())?, say)?;
    }
    Ok(())
}

/// The proxy, and the Java client that speaks gRPC.
pub(crate) fn proxy(artifacts: &Artifacts, say: Say) -> Result<()> {
    jars(
        artifacts,
        "proxy",
        "RocketMQ proxy",
        PROXY_VERSION,
        &artifacts.proxy_jars(),
        say,
    )?;
    jars(
        artifacts,
        "grpc",
        "RocketMQ gRPC client",
        GRPC_VERSION,
        &artifacts.grpc_jars(),
        say,
    )?;
    let mut sources = sources(&artifacts.grpc_source())?;
    let shared = artifacts.java_source();
    sources.extend(["Command.java", "Log.java"].map(|name| shared.join(name)));
    let (to, jars) = (artifacts.grpc_classes(), artifacts.grpc_jars());
    compile("Java test client for gRPC", &to, &jars, sources, say)
}

/// The OpenTelemetry Java agent.
pub(crate) fn agent(artifacts: &Artifacts, say: Say) -> Result<()> {
    let to = artifacts.agent_jars();
    jars(
        artifacts,
        "agent",
        "OpenTelemetry Java agent",
        AGENT_VERSION,
        &to,
        say,
    )
}

/// All jars that one artifact needs at run time. They appear in their place only when they are complete.
fn jars(artifacts: &Artifacts, kind: &str, what: &str, version: &str, to: &Path, say: Say) -> Result<()> {
    part(
        say,
        &format!("{what} {version} from Maven Central"),
        to.exists(),
        || {
            into_place(to, |partial| {
                console::run_quietly(
                    Command::new("mvn")
                        .args(["-B", "-ntp", "-f"])
                        .arg(artifacts.root.join(format!("tests/testbed/maven/{kind}/pom.xml")))
                        .arg(format!("-Drocketmq.version={version}"))
                        .arg(format!("-Dagent.version={version}"))
                        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                        .arg(format!("-DoutputDirectory={}", partial.display())),
                    &format!("maven-{kind}-{version}"),
                )
            })
        },
    )
}

/// The Java files of a directory.
fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
    Ok(sources)
}

/// Compiles a program against the jars of a library.
fn compile(what: &str, classes: &Path, jars: &Path, sources: Vec<PathBuf>, say: Say) -> Result<()> {
    part(say, what, classes.exists(), || {
        into_place(classes, |partial| {
            console::run_quietly(
                Command::new("javac")
                    .args(["-encoding", "UTF-8", "-Xlint:all,-processing", "-Werror", "-d"])
                    .arg(partial)
                    .arg("-cp")
                    .arg(jars.join("*"))
                    .args(sources),
                &format!("javac-{}", what.replace(' ', "-")),
            )
        })
    })
}
