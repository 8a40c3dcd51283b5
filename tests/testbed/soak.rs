//! As much as a broker takes, for as long as is wanted, with the tracer beside it: every message must have its spans.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    artifacts::Artifacts,
    collector::Collector,
    saturating::{Role, Saturating, Traced},
    server::Server,
    totals::{no_loss, total},
    tracer::{Options, Tracer, Transport},
    usage,
};

/// How long the consumer may be behind, and then what waits for evidence or for the collector.
const PATIENCE: Duration = Duration::from_secs(180);

/// What was moved.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// Messages that were sent, and consumed.
    pub messages: u64,
    /// Messages a second.
    pub rate: f64,
    /// What the tracer took of one core.
    pub cores: f64,
    /// The most that it had in memory, MiB.
    pub resident: f64,
}

/// A producer and a consumer of Java's without pause. Files go to `dir`.
///
/// # Errors
/// Where one message has no send or no process span, or anything was lost or is named lost.
pub fn soak(
    artifacts: &Artifacts,
    server: &Server,
    dir: &Path,
    topic: &str,
    length: Duration,
) -> Result<Soak> {
    server.create_topics(&[topic], 8)?;
    let collector = Collector::counting(artifacts, dir, &format!("{topic}-collector"))?;
    let options = Options {
        transport: Transport::Http,
        ..Options::default()
    };
    let tracer = Tracer::start(artifacts, dir, &format!("{topic}-rmqtrace"), &collector, options)?;
    let start = |name: &str, role| {
        let name = format!("{topic}-{name}");
        Saturating::start(artifacts, server, dir, &name, (role, Traced::No), topic)
    };
    let consumer = start("consumer", Role::Consume)?;
    let mut producer = start("producer", Role::Produce { rate: None })?;
    let (begun, before) = (Instant::now(), usage::processor_time(tracer.pid())?);
    producer.mark()?;
    let mut resident = 0;
    while begun.elapsed() < length {
        thread::sleep(Duration::from_millis(500).min(length));
        resident = usage::resident_kib(tracer.pid())?.max(resident);
    }
    let (elapsed, taken) = (
        begun.elapsed(),
        usage::processor_time(tracer.pid())?.saturating_sub(before),
    );
    let (sent, consumed) = producer.finish_with(consumer, PATIENCE)?;
    sent.none_failed()?;
    let (status, log) = tracer.stop()?;
    ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
    no_loss(&log).context("something is named lost")?;
    ensure!(consumed == sent.all, "{consumed} deliveries of {}", sent.all);
    for (name, wanted) in [
        ("messages_sent", sent.all),
        ("messages_delivered", sent.all),
        ("otlp.exported", 2 * sent.all),
    ] {
        let found = total(&log, name)?;
        ensure!(found == wanted, "{name} is {found}, {wanted} are right:\n{log}");
    }
    let counted = collector.counted()?;
    ensure!(
        counted == 2 * sent.all,
        "{counted} spans came to the collector, {} are right",
        2 * sent.all
    );
    Ok(Soak {
        messages: sent.all,
        rate: sent.rate(),
        cores: taken.as_secs_f64() / elapsed.as_secs_f64(),
        resident: resident as f64 / 1024.0,
    })
}
