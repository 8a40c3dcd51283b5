//! The start: until the first span, until the kernel side is loaded, and the size of the binary. Needs root.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{Artifacts, frames::json};

use super::{
    programs,
    row::{Row, Target, median},
};
use crate::build;

/// How often it is started; the median counts.
const STARTS: usize = 5;
/// How long one start may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two messages of the traffic.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let binary = build::build()?;
    let size = fs::metadata(&binary)?.len() as f64 / (1024.0 * 1024.0);
    let send = fs::read(programs::frames(artifacts)?.join("send-json"))?;
    let starts = with_traffic(&send, || {
        (0..STARTS).map(|_| start(&binary)).collect::<Result<Vec<_>>>()
    })?;
    let median = |of: fn(&(f64, f64)) -> f64| median(&starts.iter().map(of).collect::<Vec<_>>());
    let row = |measure: &str, value: f64, unit: &str, limit: f64| Row {
        measure: measure.to_owned(),
        ours: format!("{value:.*} {unit}", usize::from(unit == "MiB")),
        others: "–".to_owned(),
        target: format!("≤ {limit} {unit}"),
        verdict: Target::AtMost(limit).verdict(value),
        command: "cargo xtask bench --only start".to_owned(),
    };
    Ok(vec![
        row(
            "From the start to the first span",
            median(|start| start.0),
            "ms",
            1000.0,
        ),
        row(
            "Loading and attaching the kernel side",
            median(|start| start.1),
            "ms",
            300.0,
        ),
        row("Size of the binary, kernel side included", size, "MiB", 15.0),
    ])
}

/// Runs `work` while a client of a broker, both here, sends a message every few milliseconds.
fn with_traffic<T>(send: &[u8], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (mut client, mut broker) = connected()?;
    let answer = answer();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (asked, answered) = (send.len(), answer.len());
        scope.spawn(move || -> Result<()> {
            let mut request = vec![0; asked];
            loop {
                broker.read_exact(&mut request)?;
                broker.write_all(&answer)?;
            }
        });
        let done = &done;
        scope.spawn(move || -> Result<()> {
            let mut reply = vec![0; answered];
            while !done.load(Relaxed) {
                client.write_all(send)?;
                client.read_exact(&mut reply)?;
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        let result = work();
        done.store(true, Relaxed);
        result
    })
}

/// Both ends of a connection.
pub(super) fn connected() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// A broker's answer.
fn answer() -> Vec<u8> {
    let header = r#"{"code":0,"extFields":{"queueId":"2","queueOffset":"7"},"flag":1,"language":"JAVA","opaque":7,"version":479}"#;
    json(header, 0)
}

/// Starts it and ends it. Returns milliseconds until the first span, and what it says that loading took.
fn start(binary: &std::path::Path) -> Result<(f64, f64)> {
    let started = Instant::now();
    let mut child = Command::new(binary)
        .args(["run", "--print", "text", "--log-level", "info"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting rmqtrace")?;
    let spans = child.stdout.take().context("no standard output")?;
    let errors = child.stderr.take().context("no standard error")?;
    let log = thread::spawn(move || {
        let lines = BufReader::new(errors).lines().map_while(Result::ok);
        lines.collect::<Vec<_>>().join("\n")
    });
    let first = thread::spawn(move || {
        let mut spans = BufReader::new(spans);
        let mut line = String::new();
        let read = spans.read_line(&mut line);
        let elapsed = started.elapsed();
        // whatever else comes is taken, so that it does not wait for a reader
        let _ = std::io::copy(&mut spans, &mut std::io::sink());
        read.is_ok_and(|bytes| bytes > 0).then_some(elapsed)
    });
    let deadline = started + PATIENCE;
    // the first span is there when the log says ready, or soon after; the traffic does not pause for long
    thread::sleep(Duration::from_millis(1500));
    Command::new("kill").arg(child.id().to_string()).status()?;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let log = log.join().unwrap_or_default();
    let Some(first) = first.join().ok().flatten() else {
        bail!("no span within 1.5 s: {log}");
    };
    let loaded = log
        .split_whitespace()
        .find_map(|word| word.strip_prefix("milliseconds=")?.parse().ok())
        .with_context(|| format!("rmqtrace did not say how long loading took: {log}"))?;
    Ok((first.as_secs_f64() * 1e3, loaded))
}
