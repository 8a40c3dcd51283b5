//! The daemon: what it takes of the processor and of memory. Needs root.
//!
//! Traffic comes from `load` (tests/testbed/load), which sends as many messages in a second as it is told to, and from Java's
//! client with a real broker, where messages are consumed as well.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use testbed::{
    Artifacts, Collector, Load, Saturating, Server, Tracer,
    artifacts::{FASTEST_SERVER, require},
    saturating::{Role, Traced},
    totals::{no_loss, total},
    tracer::{Options, Transport},
    usage,
};

use tracer_abi::record::HEADER;

use super::row::{Row, Target, thousands};
use crate::{
    build, console,
    setup::{self, Say},
};

/// Messages a second that Java's client sends and consumes: those that the target is about.
const RATE: u32 = 10_000;
/// The virtual machines compile what is hot first.
const WARM_UP: Duration = Duration::from_secs(25);
/// How long is measured.
const WINDOW: Duration = Duration::from_secs(20);
/// Connections that are open at once.
const CONNECTIONS: usize = 5_000;
/// Spans a second that memory is looked at with.
const SPANS: usize = 50_000;

/// Starts the daemon; spans go nowhere. `name` is that of its log.
pub(super) fn start(artifacts: &Artifacts, name: &str) -> Result<Tracer> {
    let mut command = Command::new(require(artifacts.rmqtrace(), "the rmqtrace binary")?);
    command.args(["run", "--print", "none", "--otlp-file", "/dev/null"]);
    let dir = artifacts.run_directory(&format!("bench-{name}"))?;
    Tracer::launch(command, &dir.join("log"))
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    setup::testbed(Say::Changes)?;
    build::build()?;
    let mut rows = processor(artifacts)?;
    rows.extend(memory(artifacts)?);
    Ok(rows)
}

fn command() -> String {
    "cargo xtask bench --only daemon".to_owned()
}

/// Cores for ten thousand messages a second, sent and consumed, with a real broker; spans go to a real collector.
fn processor(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let dir = artifacts.run_directory("bench-clients")?;
    let server = Server::start(artifacts, FASTEST_SERVER, &dir)?;
    let topic = "bench-daemon";
    server.create_topics(&[topic], 8)?;
    let collector = Collector::counting(artifacts, &dir, "collector")?;
    let options = Options {
        transport: Transport::Http,
        ..Options::default()
    };
    let tracer = Tracer::start(artifacts, &dir, "rmqtrace", &collector, options)?;
    let start_client =
        |name, role| Saturating::start(artifacts, &server, &dir, name, (role, Traced::No), topic);
    let consumer = start_client("consumer", Role::Consume)?;
    let mut producer = start_client("producer", Role::Produce { rate: Some(RATE) })?;
    thread::sleep(WARM_UP);
    let begun = Instant::now();
    let before = usage::processor_time(tracer.pid())?;
    producer.mark()?;
    thread::sleep(WINDOW);
    let rate = producer.tell()?.rate();
    let (taken, elapsed) = (usage::processor_time(tracer.pid())? - before, begun.elapsed());
    let (sent, _) = producer.finish_with(consumer, Duration::from_secs(60))?;
    sent.none_failed()?;
    let (_, log) = tracer.stop()?;
    no_loss(&log)?;
    ensure!(total(&log, "messages_delivered")? == sent.all, "{log}");
    let cores = taken.as_secs_f64() / elapsed.as_secs_f64();
    let wanted = cores * f64::from(RATE) / rate;
    let per_message = |bytes: u64| bytes as f64 / sent.all as f64;
    let copied = per_message(total(&log, "copied_bytes")?);
    let records = per_message(total(&log, "records")?);
    let leave = copied + records * HEADER as f64;
    Ok(vec![
        Row {
            measure: "Daemon, for 10,000 messages a second sent and consumed".to_owned(),
            ours: format!(
                "{wanted:.2} of a core ({cores:.3} at {} a second)",
                thousands(rate)
            ),
            others: "–".to_owned(),
            target: "≤ 0.10".to_owned(),
            verdict: Target::AtMost(0.10).verdict(wanted),
            command: command(),
        },
        Row {
            measure: "Bytes that leave the kernel for a message of 1 KiB that is sent and consumed"
                .to_owned(),
            ours: format!("{leave:.0} ({copied:.0} of the streams, in {records:.1} records)"),
            others: "–".to_owned(),
            target: "≤ 900".to_owned(),
            verdict: Target::AtMost(900.0).verdict(leave),
            command: command(),
        },
    ])
}

/// Resident memory: idle, with connections, with many spans a second.
fn memory(artifacts: &Artifacts) -> Result<Vec<Row>> {
    console::run_quietly(
        build::cargo().args([
            "build",
            "--release",
            "--locked",
            "--package",
            "tests",
            "--bin",
            "load",
        ]),
        "bench-load",
    )?;
    let program = artifacts.target.join("release/load");
    let dir = artifacts.run_directory("bench-load")?;
    let tracer = start(artifacts, "memory")?;
    let idle = resident(tracer.pid())?;
    // so slow that no spans wait for the exporter: only connections take memory
    let arguments = [("connections", CONNECTIONS), ("messages", 2), ("rate", 2_000)];
    let mut load = Load::start(&program, &dir, "connections", &arguments)?;
    let open = most_resident(tracer.pid(), || {
        load.go()?;
        load.accounts()
    })?;
    tracer.stop()?;

    let tracer = start(artifacts, "memory-rate")?;
    let arguments = [
        ("connections", 50),
        ("burst", 10),
        ("threads", 2),
        ("rate", SPANS),
        ("messages", SPANS * 10 / 50),
    ];
    let mut load = Load::start(&program, &dir, "rate", &arguments)?;
    let begun = Instant::now();
    let most = most_resident(tracer.pid(), || {
        load.go()?;
        load.accounts()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let (_, log) = tracer.stop()?;
    let reached = total(&log, "spans")? as f64 / elapsed;
    let row = |measure: String, value: f64, limit: f64| Row {
        measure,
        ours: format!("{value:.1} MiB"),
        others: "–".to_owned(),
        target: format!("≤ {limit} MiB"),
        verdict: Target::AtMost(limit).verdict(value),
        command: command(),
    };
    Ok(vec![
        row("Resident memory, idle".to_owned(), idle, 30.0),
        row(
            format!(
                "More of it for each 1,000 connections (of {})",
                thousands(CONNECTIONS as f64)
            ),
            (open - idle).max(0.0) * 1000.0 / CONNECTIONS as f64,
            4.0,
        ),
        row(
            format!("Most of it at {} spans a second", thousands(reached)),
            most,
            120.0,
        ),
    ])
}

/// MiB of a process that are in memory.
fn resident(pid: u32) -> Result<f64> {
    Ok(usage::resident_kib(pid)? as f64 / 1024.0)
}

/// The most of it while `work` is done.
fn most_resident<T>(pid: u32, work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| -> Result<f64> {
            let mut most: f64 = 0.0;
            while !done.load(Relaxed) {
                most = most.max(resident(pid)?);
                thread::sleep(Duration::from_millis(20));
            }
            Ok(most.max(resident(pid)?))
        });
        let worked = work();
        done.store(true, Relaxed);
        let most = looking.join().map_err(|_| anyhow!("a thread panicked"))?;
        worked.and(most)
    })
}
