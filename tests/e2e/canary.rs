//! Message bodies stay in the kernel: a GiB of nothing but marks passes through, and no mark is anywhere in what the daemon
//! holds or wrote. Its memory is searched as a core dump would have it, the ring buffer included.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send,
    artifacts::CLIENT_VERSIONS,
    client::Library,
    totals::{no_loss, total},
};

use crate::{
    scene::Filed,
    trial,
    world::{NEWEST, World},
};

/// What bodies consist of.
const MARK: &[u8] = b"BODY-CANARY";
/// Bytes of a body: less than the 4 KiB from which on the client compresses.
const BODY: usize = 4000;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    // the second one shows that the search finds what there is
    let cases = [
        (
            "canary: a GiB of bodies stays in the kernel",
            "in-kernel",
            (1 << 30) / BODY + 1,
        ),
        ("canary: bodies are found where they do not", "user", 2_000),
    ];
    cases
        .map(|(name, bodies, messages)| {
            let world = Arc::clone(world);
            trial(name, move || run(&world, bodies, messages))
        })
        .into()
}

fn run(world: &World, bodies: &str, messages: usize) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "canary")?;
    let group = world.fresh("canary-group");
    let name = world.fresh("canary");
    let bodies_are = format!("capture.bodies={bodies}");
    let filed = Filed::start(world, &name, &["--topic", &topic, "--set", &bodies_are])?;
    let Filed {
        tracer,
        spans,
        log: log_file,
    } = filed;
    let library = Library::Java(CLIENT_VERSIONS[0]);
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]).threads(8))?;
    producer.producer("canary")?;
    let send = Send::new("canary", &topic, Mode::Sync, messages)
        .size(BODY)
        .threads(8);
    let ticket = producer.start_sending(send.with("marked", 1))?;
    let took = producer.wait(ticket, Duration::from_secs(300))?;
    ensure!(took.failed == 0, "{} sends failed", took.failed);
    consumer.wait_consumed(&group, messages, Duration::from_secs(120))?;
    let in_memory = memory(tracer.pid())?;
    consumer.finish()?;
    producer.finish()?;
    let (status, log) = tracer.stop()?;
    ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
    for written in [&spans, &log_file] {
        ensure!(
            marks(File::open(written)?)? == 0,
            "bodies are in {}",
            written.display()
        );
    }
    let (sent, delivered) = (total(&log, "messages_sent")?, total(&log, "messages_delivered")?);
    ensure!(
        sent >= messages as u64 && delivered >= messages as u64,
        "{sent} sent and {delivered} delivered of {messages}\n{log}"
    );
    no_loss(&log)?;
    let copied = total(&log, "copied_bytes")?;
    println!(
        "{name}: {} bytes of bodies, {} bytes out of the kernel for each message, {in_memory} marks in memory",
        messages * BODY,
        copied / messages as u64
    );
    if bodies == "user" {
        ensure!(in_memory > 0, "the search finds nothing where bodies are");
    } else {
        ensure!(in_memory == 0, "{in_memory} marks are in the daemon's memory");
    }
    Ok(())
}

/// How often the mark is in a process's memory.
fn memory(pid: u32) -> Result<usize> {
    let proc = Path::new("/proc").join(pid.to_string());
    let memory = File::open(proc.join("mem"))?;
    let mut found = 0;
    for line in fs::read_to_string(proc.join("maps"))?.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next(), words.next());
        let (from, to) = range
            .and_then(|range| range.split_once('-'))
            .context("no range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        // what is not readable, and what the kernel keeps to itself, is in no core dump
        if rights.is_some_and(|rights| rights.starts_with('r')) && !line.ends_with("[vvar]") {
            let at = Region {
                memory: &memory,
                at: from,
                end: to,
            };
            found += marks(at).with_context(|| line.to_owned())?;
        }
    }
    Ok(found)
}

/// A mapping, as something to read. What cannot be read ends it.
struct Region<'a> {
    memory: &'a File,
    at: u64,
    end: u64,
}

impl Read for Region<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(into.len());
        let read = self.memory.read_at(&mut into[..most], self.at).unwrap_or(0);
        self.at += read as u64;
        Ok(read)
    }
}

/// How often the mark is in what can be read.
fn marks(mut source: impl Read) -> Result<usize> {
    let (mut found, mut held) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(found);
        }
        held.extend_from_slice(&buffer[..read]);
        found += held.windows(MARK.len()).filter(|window| *window == MARK).count();
        // a mark may lie across the border
        held.drain(..held.len().saturating_sub(MARK.len() - 1));
    }
}
