//! How each client program is started.

use std::{io, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Result, ensure};

use super::{Feature, Library};
use crate::artifacts::{Artifacts, GRPC_VERSION, require};

/// How to start a client program.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options<'a> {
    /// TLS on every connection; the library must be able to ([`Feature::Tls`]).
    pub tls: bool,
    /// Port of OTLP over HTTP to which the OpenTelemetry Java agent exports; without one there is no agent. Only for Java.
    pub agent: Option<u16>,
    /// Further options of the Java virtual machine (`-Dkey=value`). Only for Java.
    pub jvm: &'a [String],
    /// Environment variables.
    pub env: &'a [(&'a str, &'a str)],
    /// Whether its threads go before all others (`SCHED_RR`). Where fewer cores than busy threads are there, a thread waits for
    /// one between what it does on the wire and reading its clock: milliseconds, in which nothing can be compared.
    pub real_time: bool,
}

/// The command that starts the program of a library. Its log files go to `dir`.
pub(super) fn command(
    artifacts: &Artifacts,
    library: Library,
    dir: &Path,
    options: &Options<'_>,
) -> Result<Command> {
    let mut command = program(artifacts, library, dir, options)?;
    if options.real_time {
        // SAFETY: between fork and exec only sched_setscheduler is called, a bare system call.
        unsafe { command.pre_exec(real_time) };
    }
    Ok(command)
}

/// Puts the calling process, and what it will start, into the lowest real-time class.
fn real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters outlive the call, which only reads them.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn program(artifacts: &Artifacts, library: Library, dir: &Path, options: &Options<'_>) -> Result<Command> {
    let name = library.name();
    let is_java = matches!(library, Library::Java(_) | Library::Grpc);
    ensure!(
        !options.tls || library.can(Feature::Tls),
        "{name}: its program has no TLS"
    );
    ensure!(
        is_java || (options.agent.is_none() && options.jvm.is_empty()),
        "{name} is not Java: it takes neither the Java agent nor options of the virtual machine"
    );
    match library {
        Library::Java(version) => {
            let jars = require(
                artifacts.client_jars(version),
                &format!("RocketMQ client {version}"),
            )?;
            let classes = require(artifacts.java_classes(version), "the Java test client")?;
            let mut command = small_java(artifacts, options)?;
            command
                .arg(format!("-Drocketmq.client.logRoot={}", dir.display()))
                .arg("-Drocketmq.client.logLevel=WARN")
                .arg(format!(
                    "-Drocketmq.client.localOffsetStoreDir={}",
                    dir.join("offsets").display()
                ))
                // The same for 5.x.
                .arg(format!("-Drocketmq.log.root={}", dir.display()))
                .arg("-Drocketmq.log.level=WARN")
                // A queue that appears is pulled within a second, not within twenty.
                .arg("-Drocketmq.client.rebalance.waitInterval=1000")
                .arg(format!("-Dtls.enable={}", options.tls))
                .arg("-cp")
                .arg(format!("{}:{}/*", classes.display(), jars.display()))
                .arg("TestClient");
            Ok(command)
        }
        Library::Grpc => {
            let jars = require(
                artifacts.grpc_jars(),
                &format!("RocketMQ gRPC client {GRPC_VERSION}"),
            )?;
            let classes = require(artifacts.grpc_classes(), "the gRPC test client")?;
            let mut command = small_java(artifacts, options)?;
            command
                .arg(format!("-Drocketmq.log.root={}", dir.display()))
                .arg("-Drocketmq.log.level=warn")
                .arg("-cp")
                .arg(format!("{}:{}/*", classes.display(), jars.display()))
                .arg("GrpcClient");
            Ok(command)
        }
        Library::Go => Ok(Command::new(require(
            artifacts.go_client(),
            "the Go test client",
        )?)),
        Library::Cpp => {
            let packages = require(artifacts.python_packages("cpp"), "the C++ client")?;
            let mut command = Command::new("python3");
            command
                // Nothing is written beside the program: its directory is part of the checkout.
                .arg("-B")
                .arg(artifacts.python_source().join("client.py"))
                .env("PYTHONPATH", packages);
            Ok(command)
        }
        Library::Node => {
            let packages = require(artifacts.node_packages(), "the Node.js client")?;
            let mut command = Command::new(artifacts.node());
            command
                .arg(artifacts.node_source().join("client.js"))
                .env("NODE_PATH", packages.join("node_modules"));
            Ok(command)
        }
        Library::Rust => Ok(Command::new(require(
            artifacts.rust_client(),
            "the Rust test client",
        )?)),
    }
}

/// A small virtual machine, which starts soon.
fn small_java(artifacts: &Artifacts, options: &Options<'_>) -> Result<Command> {
    let small = [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Xms64m",
        "-Xmx256m",
    ];
    let mut command = java(artifacts, &small, options.agent)?;
    command.args(options.jvm);
    Ok(command)
}

/// A virtual machine with these options, and with the OpenTelemetry agent where there is a port for it to export to.
pub(crate) fn java(artifacts: &Artifacts, options: &[&str], agent: Option<u16>) -> Result<Command> {
    let mut command = Command::new("java");
    command.args(options);
    if let Some(port) = agent {
        let agent = require(artifacts.agent(), "the OpenTelemetry Java agent")?;
        command
            .arg(format!("-javaagent:{}", agent.display()))
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    }
    Ok(command)
}
