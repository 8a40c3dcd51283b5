//! The exporter: spans into OTLP bytes on a socket, as the shipped binary does it.
//!
//! `rmqtrace replay` reads a recording and exports to a receiver here that takes everything. What the exporter's thread
//! takes of the CPU, by the kernel's account, is divided by the spans.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use testbed::{Artifacts, totals::total};

use super::{
    programs,
    row::{Row, Target, micros, thousands},
};
use crate::build;

/// Messages of the recording; each is sent and delivered.
const MESSAGES: u64 = 100_000;
/// Spans a second that are wanted.
const WANTED: f64 = 250_000.0;
/// How often the account of the threads is read.
const READING: Duration = Duration::from_millis(5);
/// The thread that exports, as the kernel abbreviates its name.
const EXPORTER: &str = "export-otlp";

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let binary = build::build()?;
    let capture = programs::target(artifacts).join("traffic.pcapng");
    let written = Command::new(programs::hot_paths(artifacts)?)
        .arg("capture")
        .arg(&capture)
        .arg(MESSAGES.to_string())
        .status()?;
    if !written.success() {
        bail!("the recording cannot be written");
    }
    let receiver = Receiver::start()?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let before = receiver.bytes.load(Relaxed);
        let (spans, nanoseconds) = export(&binary, &capture, receiver.port)?;
        runs.push((
            nanoseconds as f64 / spans as f64,
            (receiver.bytes.load(Relaxed) - before) / spans,
        ));
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cost, bytes) = runs[1];
    let rate = 1e9 / cost;
    fs::remove_file(&capture)?;
    Ok(vec![Row {
        measure: "Span → OTLP bytes on the socket (HTTP, protobuf), exporter's thread".to_owned(),
        ours: format!(
            "{} spans/s ({}, {bytes} bytes each)",
            thousands(rate),
            micros(cost)
        ),
        others: "–".to_owned(),
        target: format!("≥ {} spans/s on one core", thousands(WANTED)),
        verdict: Target::AtLeast(WANTED).verdict(rate),
        command: "cargo xtask bench --only export".to_owned(),
    }])
}

/// Replays the recording. Returns how many spans were exported, and what the exporter's thread took of the CPU.
fn export(binary: &Path, capture: &Path, port: u16) -> Result<(u64, u64)> {
    let child = Command::new(binary)
        .args(["replay", "--log-level", "error"])
        .arg(capture)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting rmqtrace")?;
    let (log, nanoseconds) = watch(child)?;
    let spans = total(&log, "otlp.exported")?;
    if spans < 2 * MESSAGES - 1000 || nanoseconds == 0 {
        bail!("{spans} spans were exported in {nanoseconds} ns: {log}");
    }
    Ok((spans, nanoseconds))
}

/// Waits for the end; what it logged, and the last that was seen of the exporter's account.
fn watch(mut child: Child) -> Result<(String, u64)> {
    let mut errors = child.stderr.take().context("no standard error")?;
    let log = thread::spawn(move || {
        let mut log = String::new();
        errors.read_to_string(&mut log).map(|_| log)
    });
    let mut nanoseconds = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        nanoseconds = account(child.id()).unwrap_or(0).max(nanoseconds);
        thread::sleep(READING);
    };
    let log = log.join().unwrap_or_else(|_| Ok(String::new()))?;
    if !status.success() {
        bail!("rmqtrace: {status}: {log}");
    }
    Ok((log, nanoseconds))
}

/// Nanoseconds that the exporter's thread has run.
fn account(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    for thread in threads.flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).ok();
        if read("comm")?.trim() == EXPORTER {
            return read("schedstat")?.split(' ').next()?.parse().ok();
        }
    }
    None
}

/// Takes every request of OTLP over HTTP.
struct Receiver {
    port: u16,
    /// Bytes of requests so far.
    bytes: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counted = counted.clone();
                // an exporter that has gone is no error
                thread::spawn(move || serve(&connection, &counted).ok());
            }
        });
        Ok(Receiver { port, bytes })
    }
}

fn serve(mut connection: &TcpStream, bytes: &AtomicU64) -> Result<()> {
    let mut input = BufReader::with_capacity(256 * 1024, connection);
    let mut body = Vec::new();
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        bytes.fetch_add(length as u64, Relaxed);
        connection.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}
