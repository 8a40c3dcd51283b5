//! One piece of traffic, seen by a recording tracer and by tcpdump on two kinds of device: what was recorded replays to the
//! spans of the run, and what was captured to what the clients logged.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, Server, Span, Tracer,
    artifacts::{CLIENT_VERSIONS, require},
    client::{Consumed, Library, Sent},
    process::Child,
    spans::SpanFile,
    wait,
};

use crate::{
    scene::ARRIVAL,
    world::{NEWEST, World},
};

const JAVA: Library = Library::Java(CLIENT_VERSIONS[0]);
/// Messages sent each way.
const EACH: usize = 20;
/// Seed of the run and of the replay.
const SEED: &str = "--seed=7";
/// Who has no privilege at all.
const NOBODY: &str = "65534";

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(world, "replay", &[("a recording and two captures", run)])
}

fn run(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "replay")?;
    let group = world.fresh("replay-group");
    let dir = Shared::new(world)?;
    let recording = dir.file("recording.pcapng");
    let live = dir.file("live.jsonl");

    let mut command = Command::new(require(world.artifacts.rmqtrace(), "the rmqtrace binary")?);
    command.arg("record").arg(&recording).args([SEED, "--exe=java"]);
    command.arg(format!("--otlp-file={}", live.display()));
    let tracer = Tracer::launch(command, &dir.file("record.log"))?;
    let mut captures = Vec::new();
    for device in ["lo", "any"] {
        captures.push((device, tcpdump(server, device, &dir)?));
    }

    let consumer = world.client(JAVA, server, "consumer")?;
    let producer = world.client(JAVA, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("replay")?;
    let mut sent = Vec::new();
    for mode in Mode::ALL {
        sent.extend(producer.send(Send::new("replay", &topic, mode, EACH))?);
    }
    let consumed = consumer.wait_consumed(&group, sent.len(), ARRIVAL)?;
    // at its end it commits what it has consumed
    consumer.finish()?;
    producer.finish()?;

    let (status, log) = tracer.stop()?;
    ensure!(status.success(), "rmqtrace record ended with {status}:\n{log}");
    let live = SpanFile::new(&live).refresh()?.to_vec();
    let replayed = replay(world, &dir, &recording)?;
    ensure!(!live.is_empty(), "the run made no spans:\n{log}");
    ensure!(
        contents(&live) == contents(&replayed),
        "a replay of the recording differs from the run: {} and {} spans",
        live.len(),
        replayed.len()
    );
    told(&replayed, &topic, &sent, &consumed).context("the recording")?;
    for (device, (mut tcpdump, file)) in captures {
        caught_up(server, &file)?;
        tcpdump.stop()?;
        let spans = replay(world, &dir, &file)?;
        told(&spans, &topic, &sent, &consumed).with_context(|| format!("tcpdump on {device}"))?;
        ensure!(
            derived(&spans, &topic) == derived(&live, &topic),
            "tcpdump on {device}: ids differ from those of the run"
        );
    }
    Ok(())
}

/// A directory that everybody may read, for a replay without privilege. It goes at the end.
struct Shared(PathBuf);

impl Shared {
    fn new(world: &World) -> Result<Shared> {
        let dir = std::env::temp_dir().join(world.fresh("rmqtrace"));
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        Ok(Shared(dir))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // a failed test leaves its log in the message, and files that nobody needs otherwise
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Captures the server's ports, and waits until it does.
fn tcpdump(server: &Server, device: &str, dir: &Shared) -> Result<(Child, PathBuf)> {
    let file = dir.file(&format!("{device}.pcap"));
    let (broker, name_server) = (server.broker.port(), server.name_server.port());
    let mut command = Command::new("tcpdump");
    command
        .args(["-i", device, "-U", "-Z", "root", "-w"])
        .arg(&file)
        .arg(format!(
            "tcp and (port {broker} or port {} or port {name_server})",
            broker - 2
        ));
    let name = format!("tcpdump-{device}");
    let mut child = Child::start(&name, command, &dir.file(&format!("{name}.log")))?;
    child.wait_for_log("listening on", Duration::from_secs(10))?;
    Ok((child, file))
}

/// Waits until everything up to now is in the file: tcpdump writes late, and at its end drops what it has not written.
fn caught_up(server: &Server, file: &Path) -> Result<()> {
    let mark = TcpStream::connect(server.broker)?.local_addr()?;
    let ports = [mark.port().to_be_bytes(), server.broker.port().to_be_bytes()].concat();
    wait::until(Duration::from_secs(30), "tcpdump writes a packet", || {
        let bytes = fs::read(file)?;
        let there = bytes.windows(ports.len()).any(|window| window == ports);
        Ok(there
            .then_some(())
            .ok_or_else(|| format!("{} bytes", bytes.len())))
    })
}

/// Replays a file as a user without any privilege.
fn replay(world: &World, dir: &Shared, file: &Path) -> Result<Vec<Span>> {
    let program = dir.file("rmqtrace");
    if !program.exists() {
        fs::copy(world.artifacts.rmqtrace(), &program)?;
    }
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("a file name")?;
    let spans = dir.file(&format!("{name}.jsonl"));
    let output = Command::new("setpriv")
        .args([
            &format!("--reuid={NOBODY}"),
            &format!("--regid={NOBODY}"),
            "--clear-groups",
        ])
        .args(["--no-new-privs", "--inh-caps=-all"])
        .arg(&program)
        .args(["replay", SEED])
        .arg(format!("--otlp-file={}", spans.display()))
        .arg(file)
        .output()
        .context("starting setpriv")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "rmqtrace replay ended with {}:\n{log}",
        output.status
    );
    ensure!(
        log.contains(" spans_lost=0 bytes_lost=0 "),
        "something is lost:\n{log}"
    );
    Ok(SpanFile::new(&spans).refresh()?.to_vec())
}

/// Each message that the clients logged has its spans, with the queue and offset that they saw, and no other has.
fn told(spans: &[Span], topic: &str, sent: &[Sent], consumed: &[Consumed]) -> Result<()> {
    let ours = |operation: &'static str| {
        spans
            .iter()
            .filter(move |span| span.topic() == topic && span.operation() == operation)
    };
    let seen = |operation| {
        ours(operation)
            .map(|span| span.message_id())
            .filter(|id| !id.is_empty())
            .collect::<Vec<_>>()
    };
    let mut made: Vec<_> = seen("send");
    made.extend(seen("create"));
    made.sort_unstable();
    let mut wanted: Vec<_> = sent.iter().map(|sent| sent.msg_id.as_str()).collect();
    wanted.sort_unstable();
    ensure!(
        made == wanted,
        "{} messages sent, {} spans of sends",
        wanted.len(),
        made.len()
    );
    let place = |span: &Span| {
        let queue = span.text("messaging.destination.partition.id").parse().ok();
        (
            span.message_id().to_owned(),
            queue,
            span.number("messaging.rocketmq.queue_offset"),
        )
    };
    let mut processed: Vec<_> = ours("process").map(place).collect();
    processed.sort_unstable();
    let mut wanted: Vec<(String, Option<i64>, Option<i64>)> = consumed
        .iter()
        .map(|consumed| {
            (
                consumed.msg_id.clone(),
                Some(consumed.queue),
                Some(consumed.offset),
            )
        })
        .collect();
    wanted.sort_unstable();
    ensure!(
        processed == wanted,
        "{} messages consumed, {} process spans",
        wanted.len(),
        processed.len()
    );
    Ok(())
}

/// Everything of every span. A line of the file has its spans by process, so their order depends on where lines end.
fn contents(spans: &[Span]) -> Vec<String> {
    let mut contents: Vec<_> = spans.iter().map(|span| format!("{span:?}")).collect();
    contents.sort_unstable();
    contents
}

/// What two views must agree on: the traces, the sends' own ids and the process spans' parents.
fn derived(spans: &[Span], topic: &str) -> BTreeSet<(String, String, String)> {
    let ours = spans.iter().filter(|span| span.topic() == topic);
    ours.filter_map(|span| {
        let id = match span.operation() {
            "create" => &span.span_id,
            // a batch has no id of its own
            "send" if !span.message_id().is_empty() => &span.span_id,
            "process" => &span.parent_span_id,
            _ => return None,
        };
        Some((span.operation().to_owned(), span.trace_id.clone(), id.clone()))
    })
    .collect()
}
