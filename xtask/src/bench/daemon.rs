//! The daemon: what it takes of the processor and of memory. Needs root.
//!
//! Traffic comes from `load` (tests/testbed/load), which sends as many messages in a second as it is told to, and from Java's
//! client with a real broker, where messages are consumed as well.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use testbed::{
    Artifacts, Client, Consume, Mode, Send, Server, Tracer,
    artifacts::require,
    client::Library,
    totals::{no_loss, total},
};

use super::row::{Row, Target, thousands};
use crate::{
    build, console,
    setup::{self, Say},
};

/// Messages a second that Java's client sends and consumes, and for how long.
const RATE: usize = 2_000;
const SECONDS: usize = 30;
/// The rate that the target is about.
const WANTED_RATE: f64 = 10_000.0;
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
    let mut rows = vec![processor(artifacts)?];
    rows.extend(memory(artifacts)?);
    Ok(rows)
}

fn command() -> String {
    "cargo xtask bench --only daemon".to_owned()
}

/// Cores for ten thousand messages a second, sent and consumed, with a real broker.
fn processor(artifacts: &Artifacts) -> Result<Row> {
    let dir = artifacts.run_directory("bench-clients")?;
    let server = Server::start(artifacts, testbed::artifacts::SERVER_VERSIONS[0], &dir)?;
    let topic = "bench-daemon";
    server.create_topics(&[topic], 4)?;
    let tracer = start(artifacts, "daemon")?;
    let start_client = |name| {
        let library = Library::Java(testbed::artifacts::CLIENT_VERSIONS[0]);
        Client::start(artifacts, library, &server, &dir, name)
    };
    let (producer, consumer) = (start_client("producer")?, start_client("consumer")?);
    consumer.consumer(Consume::new("bench-consumers", &[topic]))?;
    producer.producer("bench-producers")?;
    let send = |seconds| {
        Send::new("bench-producers", topic, Mode::Sync, RATE * seconds)
            .rate(RATE)
            .size(1024)
            .threads(2)
    };
    // the virtual machines compile what is hot first
    producer.send(send(5))?;
    let begun = Instant::now();
    let before = ticks(tracer.pid())?;
    producer.send(send(SECONDS))?;
    let (taken, elapsed) = (ticks(tracer.pid())? - before, begun.elapsed());
    consumer.wait_consumed("bench-consumers", RATE * (SECONDS + 5), Duration::from_secs(60))?;
    producer.finish()?;
    consumer.finish()?;
    let (_, log) = tracer.stop()?;
    no_loss(&log)?;
    ensure!(
        total(&log, "messages_delivered")? >= (RATE * SECONDS) as u64,
        "{log}"
    );
    let cores = taken / elapsed.as_secs_f64();
    let rate = (RATE * SECONDS) as f64 / elapsed.as_secs_f64();
    let wanted = cores * WANTED_RATE / rate;
    Ok(Row {
        measure: "Daemon, for 10,000 messages a second sent and consumed".to_owned(),
        ours: format!(
            "{wanted:.2} of a core ({cores:.3} at {} a second)",
            thousands(rate)
        ),
        others: "–".to_owned(),
        target: "≤ 0.10".to_owned(),
        verdict: Target::AtMost(0.10).verdict(wanted),
        command: command(),
    })
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
    let tracer = start(artifacts, "memory")?;
    let idle = resident(tracer.pid())?;
    let connections = CONNECTIONS.to_string();
    let mut load = Load::start(&program, &["--connections", &connections, "--messages", "2"])?;
    load.go()?;
    let open = resident(tracer.pid())?;
    drop(load);
    tracer.stop()?;

    let tracer = start(artifacts, "memory-rate")?;
    let (rate, messages) = (SPANS.to_string(), (SPANS * 10 / 50).to_string());
    let words = ["--connections", "50", "--burst", "10", "--threads", "2"];
    let words = [&words[..], &["--rate", &rate, "--messages", &messages]].concat();
    let mut load = Load::start(&program, &words)?;
    let pid = tracer.pid();
    let most = thread::spawn(move || {
        let mut most: f64 = 0.0;
        while let Ok(now) = resident(pid) {
            most = most.max(now);
            thread::sleep(Duration::from_millis(50));
        }
        most
    });
    let begun = Instant::now();
    load.go()?;
    let elapsed = begun.elapsed().as_secs_f64();
    drop(load);
    let (_, log) = tracer.stop()?;
    let reached = total(&log, "spans")? as f64 / elapsed;
    let most = most.join().unwrap_or_default();
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

/// Seconds of processor time that a process has taken.
fn ticks(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let account = fs::read_to_string(thread?.path().join("schedstat"))?;
        let time: f64 = account.split(' ').next().context("schedstat")?.parse()?;
        nanoseconds += time;
    }
    Ok(nanoseconds / 1e9)
}

/// MiB of a process that are in memory.
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.context("VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// A running load program; dropping it lets it close its connections and waits for its end.
struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it; all connections are open then.
    fn start(program: &std::path::Path, words: &[&str]) -> Result<Load> {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut load = Load { child, input, output };
        ensure!(load.line()?.trim_end() == "ready", "load is not ready");
        Ok(load)
    }

    /// Sends everything; returns when all of it is answered.
    fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("load has ended")?;
        input.write_all(b"go\n")?;
        ensure!(self.line()?.starts_with('{'), "load has failed");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
