//! Captures of scenarios: `tests/captures/NAME.pcapng.gz` with the spans that it must give beside it, `NAME.spans`.
//!
//! `TRUTH_RECORD=1` makes them anew from real clients: each scenario by itself, with a producer of its own, watched by
//! `rmqtrace record`, whose spans are compared with what the clients logged before the file is kept. Every run of the
//! tests replays them, without privilege and without a client, and looks for a difference of one byte. `TRUTH_ACCEPT=1` takes the
//! spans that a capture gives now for right; the difference is then for review.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use libtest_mimic::Trial;
use testbed::{
    Artifacts, Span, Tracer,
    artifacts::{CLIENT_VERSIONS, require},
    client::Library,
    compare::{self, Story, Witness},
    spans::SpanFile,
};

use crate::{
    bench::{Bench, Flavour, Pairing},
    row::Row,
};

/// Seed of the random ids.
const SEED: &str = "7";

fn directory() -> PathBuf {
    Artifacts::locate().root.join("tests/captures")
}

/// One test for each capture; one that fails when there is none.
pub(crate) fn trials() -> Vec<Trial> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".pcapng.gz"))
        .collect();
    files.sort();
    let trial = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Trial::test(format!("capture {name}"), move || {
            check(&path).map_err(|error| format!("{error:#}").into())
        })
    };
    files.into_iter().map(trial).collect()
}

/// The file with the spans that a capture must give.
fn expected(capture: &Path) -> PathBuf {
    let name = capture.to_string_lossy();
    PathBuf::from(name.trim_end_matches(".pcapng.gz").to_owned() + ".spans")
}

fn check(capture: &Path) -> Result<()> {
    let wanted = expected(capture);
    if env::var_os("TRUTH_ACCEPT").is_some() {
        return Ok(fs::write(wanted, render(&replay(capture)?))?);
    }
    let wanted = fs::read_to_string(&wanted).with_context(|| format!("reading {}", wanted.display()))?;
    let found = render(&replay(capture)?);
    if let Some((line, (found, wanted))) = (1..)
        .zip(found.lines().zip(wanted.lines()))
        .find(|(_, (found, wanted))| found != wanted)
    {
        bail!("line {line}: found\n  {found}\nwanted\n  {wanted}");
    }
    ensure!(
        found.lines().count() == wanted.lines().count(),
        "{} lines, wanted {}",
        found.lines().count(),
        wanted.lines().count()
    );
    Ok(())
}

/// The spans of a capture.
fn replay(capture: &Path) -> Result<Vec<Span>> {
    let artifacts = Artifacts::locate();
    let program = require(artifacts.rmqtrace(), "the rmqtrace binary")?;
    let name = capture.file_name().unwrap_or_default().to_string_lossy();
    let dir = artifacts.run_directory(&format!("replay-{name}"))?;
    let file = dir.join("spans.jsonl");
    let output = Command::new(program)
        .args(["replay", "--seed", SEED, "--otlp-file"])
        .arg(&file)
        .args(["--set", "export.print=none"])
        .arg(capture)
        .output()
        .context("starting rmqtrace replay")?;
    ensure!(
        output.status.success(),
        "rmqtrace replay ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let mut spans = SpanFile::new(&file);
    spans.refresh()?;
    fs::remove_dir_all(&dir)?;
    Ok(spans.into_spans())
}

/// One line for each span, in the order of their starts. Resources tell of the machine, so they are left out.
fn render(spans: &[Span]) -> String {
    let mut lines: Vec<(u64, String)> = spans.iter().map(|span| (span.start_ns, line(span))).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

fn line(span: &Span) -> String {
    let mut line = format!(
        "{} kind={} {}+{} {}/{} parent={} status={}",
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns - span.start_ns,
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.status
    );
    for link in &span.links {
        let _ = write!(line, " link={}/{}", link.trace_id, link.span_id);
    }
    let shown: BTreeMap<&str, String> = span
        .attributes
        .iter()
        .filter(|(key, _)| !SAID_ALREADY.contains(&key.as_str()))
        .map(|(key, value)| (key.trim_start_matches("messaging."), value.to_string()))
        .collect();
    for (key, value) in shown {
        let _ = write!(line, " {key}={value}");
    }
    line
}

/// In every span, or part of its name.
const SAID_ALREADY: &[&str] = &[
    "messaging.system",
    "messaging.operation.name",
    "messaging.destination.name",
];

/// Scenarios whose frames look different with the clients of other languages.
const OTHERS: &[&str] = &[
    "sync sends",
    "one-way sends",
    "batch sends",
    "batches that the broker takes for one message",
    "ordered sends",
    "messages delayed by a level",
    "compressed bodies",
    "refused sends",
    "recalled messages",
    "transactions that a check commits",
    "a carried context in batches",
    "push, orderly, with a suspended queue",
    "pop, with failures",
    "offsets set back while consuming",
    "direct consumption",
    "a retry",
];

/// Those that look different again with a server of the 4.9 line.
const OLD_SERVER: &[&str] = &[
    "sync sends",
    "batches that the broker takes for one message",
    "a retry",
];

/// Scenarios that a proxy changes.
const PROXY: &[&str] = &[
    "sync sends",
    "batch sends",
    "ordered sends",
    "refused sends",
    "transactions that a check commits",
    "push, orderly",
    "a retry",
];

/// Scenarios in which the frames of Go's client and of Java's 4.9 line differ from those of Java's newest.
const CLIENTS: &[&str] = &[
    "the clients' own message traces",
    "one-way sends",
    "messages delayed by a level",
    "push, orderly, with a suspended queue",
    "broadcasting to two processes",
    "offsets set back while consuming",
];

/// Those in which they do, and binary headers do too.
const HEADERS: &[&str] = &[
    "sync sends",
    "batch sends",
    "requests and replies",
    "transactions that a check commits",
    "lite pull, subscribed, automatic commits",
    "a retry",
    "direct consumption",
];

/// Whether a scenario of a pairing has a capture: every one with the newest of Java's client and server, of others those whose
/// frames differ.
pub(crate) fn is_kept(pairing: Pairing, row: &Row) -> bool {
    let [newest, old] = CLIENT_VERSIONS.map(Library::Java);
    let of_client = CLIENTS.contains(&row.name);
    let of_headers = HEADERS.contains(&row.name);
    match (pairing.library, pairing.flavour) {
        (library, Flavour::Plain) if library == newest => pairing.server.starts_with('5'),
        (library, Flavour::Plain) if library == old => {
            pairing.server.starts_with('4') && (of_client || of_headers)
        }
        (Library::Go, Flavour::Plain) => pairing.server.starts_with('5') && (of_client || of_headers),
        (_, Flavour::Binary) => of_headers,
        (Library::Cpp | Library::Node | Library::Rust, _) => match pairing.server {
            // It makes no ids, and the C++ client's batches have none.
            old if old.starts_with('4') => OLD_SERVER.contains(&row.name),
            // Its heartbeat is the only one with numbers for constants (§2.6).
            _ if pairing.library == Library::Cpp && row.rules.model == "broadcasting" => true,
            _ => OTHERS.contains(&row.name),
        },
        (_, Flavour::Proxy) => PROXY.contains(&row.name),
        _ => false,
    }
}

/// Makes the captures of a pairing anew. Each must give what its clients logged.
pub(crate) fn record(pairing: Pairing, rows: &[&'static Row]) -> Result<()> {
    let watch = |bench: &Bench, row: &Row, dir: &Path| {
        let file = dir.join(format!("{}.pcapng", file_name(pairing, row)));
        let artifacts = Artifacts::locate();
        let mut command = Command::new(require(artifacts.rmqtrace(), "the rmqtrace binary")?);
        command.arg("record").arg(&file);
        for client in [&bench.producer, &bench.consumers[0], &bench.consumers[1]] {
            command.arg("--pid").arg(client.pid().to_string());
        }
        let log = file.with_extension("log");
        Ok((file, Tracer::launch(command, &log)?))
    };
    let look = |(file, tracer): (PathBuf, Tracer), row: &Row, topics: &[String], witnesses: &[Witness]| {
        let (status, log) = tracer.stop()?;
        ensure!(status.success(), "rmqtrace record ended with {status}:\n{log}");
        let kept = keep(&file, &file_name(pairing, row))?;
        let mut witnesses = witnesses.to_vec();
        let spans = replay(&kept)?;
        compare::learn_keys(&mut witnesses, &spans);
        let story = Story {
            topics,
            witnesses: &witnesses,
            rules: pairing.adapt(row.rules),
            agent: None,
            proxy: None,
        };
        let problems = compare::compare(&story, &spans).problems;
        ensure!(
            problems.is_empty(),
            "{}: {} problems: {:?}",
            kept.display(),
            problems.len(),
            problems.iter().take(2).collect::<Vec<_>>()
        );
        println!("{}: {} spans", kept.display(), spans.len());
        Ok(())
    };
    Bench::one_by_one(pairing, rows, watch, look)
}

fn file_name(pairing: Pairing, row: &Row) -> String {
    let name = format!("{} {}", pairing.name().replace("with server", "at"), row.name);
    let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Overwrites what stands behind each `key`, up to the next quote: which machine made a recording is nobody's business.
fn mask(bytes: &mut [u8], key: &[u8], letter: u8) {
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(key.len()).position(|window| window == key) {
        from += at + key.len();
        let value = bytes[from..].iter_mut().take_while(|byte| **byte != b'"');
        value.for_each(|byte| *byte = letter);
    }
}

/// Keeps a recording and the spans that it gives.
fn keep(recording: &Path, name: &str) -> Result<PathBuf> {
    let directory = directory();
    fs::create_dir_all(&directory)?;
    let kept = directory.join(format!("{name}.pcapng.gz"));
    let mut bytes = fs::read(recording)?;
    for (key, letter) in [("\"host.name\",\"", b'x'), ("\"host.id\",\"", b'0')] {
        mask(&mut bytes, key.as_bytes(), letter);
    }
    let mut gzip = GzEncoder::new(File::create(&kept)?, Compression::best());
    gzip.write_all(&bytes)?;
    gzip.finish()?.flush()?;
    fs::write(expected(&kept), render(&replay(&kept)?))?;
    Ok(kept)
}
