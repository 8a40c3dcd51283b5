//! Real clients and brokers while something ends or comes back.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use testbed::{
    Client, Consume, Mode, Send, Server, Tracer,
    client::Library,
    totals::{no_loss, total},
    tracer::Options,
};

use super::right;
use crate::{
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

const JAVA: Library = Library::Java(testbed::artifacts::CLIENT_VERSIONS[0]);

/// Both see everything, and make the same of it.
pub(super) fn two_tracers(world: &World) -> Result<()> {
    const MESSAGES: usize = 500;
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "two-tracers")?;
    let group = world.fresh("two-tracers-group");
    let scenes = [
        Scene::start(world, "tracer-a", &[])?,
        Scene::start(world, "tracer-b", &[])?,
    ];
    let consumer = world.client(JAVA, server, "consumer")?;
    let producer = world.client(Library::Go, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("two-tracers")?;
    let sent = producer.send(Send::new("two-tracers", &topic, Mode::Sync, MESSAGES).threads(4))?;
    consumer.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    consumer.finish()?;
    producer.finish()?;
    let mut seen: Vec<HashSet<(String, String)>> = Vec::new();
    for scene in scenes {
        let (spans, log) = scene.finish(world)?;
        no_loss(&log)?;
        right(&spans, &topic, sent.iter().map(|sent| sent.msg_id.as_str()))?;
        for operation in ["send", "process"] {
            let count = spans
                .iter()
                .filter(|span| span.topic() == topic && span.operation() == operation)
                .count();
            ensure!(
                count == MESSAGES,
                "{count} {operation} spans of {MESSAGES} messages\n{log}"
            );
        }
        // ids of process spans are random
        let sends = spans
            .into_iter()
            .filter(|span| span.operation() == "send" && span.topic() == topic);
        seen.push(sends.map(|span| (span.trace_id, span.span_id)).collect());
    }
    ensure!(seen[0] == seen[1], "the two tracers disagree");
    Ok(())
}

fn unix_ns() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_nanos(),
    )?)
}

/// The clients notice nothing. What was sent while a tracer ran, but for its last moments, has a span; none says anything wrong.
pub(super) fn killed(world: &World) -> Result<()> {
    const RATE: usize = 200;
    const RUNS: usize = 4;
    const RUN: Duration = Duration::from_secs(4);
    /// A connection that was open before is joined at its next frame.
    const BEGINNING: u64 = 500_000_000;
    /// What was not exported yet dies with the tracer: an interval of the exporter, and what a send takes.
    const END: u64 = 1_500_000_000;
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "killed-thrice")?;
    let producer = world.client(JAVA, server, "producer")?;
    producer.producer("killed-thrice")?;
    let total_messages = RATE * 24;
    let ticket = producer.start_sending(
        Send::new("killed-thrice", &topic, Mode::Sync, total_messages)
            .rate(RATE)
            .threads(2),
    )?;
    let mut scene = Scene::start(world, "killed-thrice", &[])?;
    let mut times = Vec::new();
    for run in 0..RUNS {
        let begun = unix_ns()?;
        thread::sleep(RUN);
        times.push(begun + BEGINNING..unix_ns()? - END);
        if run + 1 < RUNS {
            scene.tracer.process().signal(libc::SIGKILL)?;
            scene.tracer.process().wait(Duration::from_secs(5))?;
            let name = world.fresh("killed-again");
            let dir = world.dir()?;
            scene.tracer = Tracer::start(&world.artifacts, dir, &name, &scene.collector, Options::default())?;
        }
    }
    let done = producer.wait(ticket, Duration::from_secs(60))?;
    ensure!(done.failed == 0, "{} sends failed", done.failed);
    let sent = producer.sent(ticket);
    let (spans, log) = scene.finish(world)?;
    right(&spans, &topic, sent.iter().map(|sent| sent.msg_id.as_str()))?;
    ensure!(
        total(&log, "bytes_lost")? == 0 && total(&log, "spans_lost")? == 0,
        "{log}"
    );
    let seen: HashSet<&str> = spans.iter().map(testbed::Span::message_id).collect();
    for (run, time) in times.iter().enumerate() {
        let wanted: Vec<&str> = sent
            .iter()
            .filter(|sent| time.contains(&sent.start_ns) && time.contains(&sent.end_ns))
            .map(|sent| sent.msg_id.as_str())
            .collect();
        let missing = wanted.iter().filter(|id| !seen.contains(**id)).count();
        println!(
            "killed: run {run}: {} messages, {missing} without a span",
            wanted.len()
        );
        ensure!(
            wanted.len() > RATE && missing == 0,
            "run {run}: {missing} of {} are missing",
            wanted.len()
        );
    }
    Ok(())
}

/// Every send that the client says it made has a span that says so too, and of no send it says more than the client.
pub(super) fn broker_gone(world: &World) -> Result<()> {
    const RATE: usize = 50;
    let dir = world.dir()?.join("restarted");
    let mut server = Server::start(&world.artifacts, NEWEST, &dir)?;
    let topic = world.topic(&server, "broker-gone")?;
    let scene = Scene::start(world, "broker-gone", &[])?;
    let name = world.fresh("producer");
    let producer = Client::start(&world.artifacts, JAVA, &server, world.dir()?, &name)?;
    producer.producer("broker-gone")?;
    let begun = Instant::now();
    let ticket = producer.start_sending(
        Send::new("broker-gone", &topic, Mode::Sync, RATE * 30)
            .rate(RATE)
            .timeout(Duration::from_secs(2)),
    )?;
    thread::sleep(Duration::from_secs(3));
    server.restart_broker()?;
    println!(
        "the broker was back {} ms after the first send",
        begun.elapsed().as_millis()
    );
    let done = producer.wait(ticket, Duration::from_secs(180))?;
    let sent = producer.sent(ticket);
    let failed = producer.all_failed();
    producer.finish()?;
    println!("broker gone: {} sent, {} failed", sent.len(), done.failed);
    ensure!(
        done.failed > 0,
        "the client did not notice that the broker was gone"
    );
    let (spans, log) = scene.finish(world)?;
    ensure!(
        total(&log, "bytes_lost")? == 0 && total(&log, "spans_lost")? == 0,
        "{log}"
    );
    let known: HashSet<&str> = sent
        .iter()
        .chain(&failed)
        .map(|sent| sent.msg_id.as_str())
        .collect();
    let last = sent
        .iter()
        .map(|sent| sent.end_ns)
        .max()
        .context("nothing was sent")?;
    let first = sent
        .iter()
        .map(|sent| sent.start_ns)
        .min()
        .context("nothing was sent")?;
    ensure!(
        last - first > 10_000_000_000,
        "nothing was sent after the broker came back"
    );
    let of_topic = || {
        spans
            .iter()
            .filter(|span| span.topic() == topic && span.operation() == "send")
    };
    for span in of_topic() {
        ensure!(known.contains(span.message_id()), "nobody sent this: {span:#?}");
    }
    for sent in &sent {
        let good =
            of_topic().filter(|span| span.message_id() == sent.msg_id && span.text("error.type").is_empty());
        let good = good.count();
        ensure!(good == 1, "{good} spans say that {sent:?} was stored");
    }
    for failed in &failed {
        let good = of_topic().any(|span| {
            span.message_id() == failed.msg_id && span.text("messaging.rocketmq.send_status") == "SEND_OK"
        });
        ensure!(!good, "a span says that {failed:?} was stored");
    }
    Ok(())
}
