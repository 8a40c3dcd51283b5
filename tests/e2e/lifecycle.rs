//! The daemon's own life: starting late, killed, idle, its collector gone.

use std::{
    collections::HashSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{Consume, Mode, Send, Tracer, client::Library, tracer::Options, usage};

use crate::{
    Case,
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

const JAVA: Library = Library::Java(testbed::artifacts::CLIENT_VERSIONS[0]);

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let cases: &[Case] = &[
        ("connections that were open before (Java)", |world| {
            old_connections(world, JAVA)
        }),
        ("connections that were open before (Go)", |world| {
            old_connections(world, Library::Go)
        }),
        ("collector down and back", collector_down),
        ("killed under load and restarted", killed),
        ("idle", idle),
    ];
    crate::cases(world, "lifecycle", cases)
}

/// Producer and consumer are at work when the tracer comes: everything from then on is seen.
fn old_connections(world: &World, library: Library) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "old")?;
    let group = world.fresh("old-group");
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("old")?;
    producer.send(Send::new("old", &topic, Mode::Sync, 10))?;
    consumer.wait_consumed(&group, 10, ARRIVAL)?;

    let mut scene = Scene::start(world, "old", &[])?;
    let sent = producer.send(Send::new("old", &topic, Mode::Sync, 10))?;
    consumer.wait_consumed(&group, 20, ARRIVAL)?;
    consumer.finish()?;
    for operation in ["send", "process"] {
        let spans = scene.spans(operation, &topic, 10)?;
        let seen: HashSet<&str> = spans.iter().map(|span| span.message_id()).collect();
        let wanted: HashSet<&str> = sent.iter().map(|sent| sent.msg_id.as_str()).collect();
        ensure!(
            seen == wanted && spans.len() == 10,
            "{operation}: {} spans, {seen:?}, wanted {wanted:?}",
            spans.len()
        );
    }
    Ok(())
}

/// What happens while nobody takes the spans arrives later, once.
fn collector_down(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "down")?;
    let mut scene = Scene::start(world, "down", &[])?;
    let mut producer = world.client(Library::Go, server, "producer")?;
    producer.producer("down")?;
    let send = |producer: &mut testbed::Client| producer.send(Send::new("down", &topic, Mode::Sync, 50));
    send(&mut producer)?;
    scene.spans("send", &topic, 50)?;
    scene.collector.pause();
    let gone = send(&mut producer)?;
    ensure!(
        gone.len() == 50,
        "{} sent while the collector was down",
        gone.len()
    );
    scene
        .tracer
        .process()
        .wait_for_log("the OTLP receiver takes no spans", ARRIVAL)?;
    scene.collector.resume()?;
    send(&mut producer)?;
    let spans = scene.spans("send", &topic, 150)?;
    let ids: HashSet<&str> = spans.iter().map(|span| span.message_id()).collect();
    ensure!(
        ids.len() == 150 && spans.len() == 150,
        "{} spans of {} messages",
        spans.len(),
        ids.len()
    );
    Ok(())
}

/// The clients notice nothing; after the restart spans come again within two seconds.
fn killed(world: &World) -> Result<()> {
    const RATE: usize = 200;
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "killed")?;
    let group = world.fresh("killed-group");
    let mut scene = Scene::start(world, "killed", &[])?;
    let consumer = world.client(JAVA, server, "consumer")?;
    let producer = world.client(JAVA, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("killed")?;
    let ticket = producer.start_sending(
        Send::new("killed", &topic, Mode::Sync, 10 * RATE)
            .rate(RATE)
            .threads(2),
    )?;
    scene.spans("send", &topic, RATE)?;

    scene.tracer.process().signal(libc::SIGKILL)?;
    scene.tracer.process().wait(Duration::from_secs(5))?;
    let restarted = Instant::now();
    let dir = world.dir()?;
    scene.tracer = Tracer::start(
        &world.artifacts,
        dir,
        "killed-again",
        &scene.collector,
        Options::default(),
    )?;
    let seen = |scene: &mut Scene| -> Result<usize> {
        Ok(scene
            .collector
            .spans()?
            .iter()
            .filter(|span| span.topic() == topic)
            .count())
    };
    let before = seen(&mut scene)?;
    let first = loop {
        // what is read now was there now; to make spans of it takes this test longer
        let looked = restarted.elapsed();
        if seen(&mut scene)? > before {
            break looked;
        }
        ensure!(
            restarted.elapsed() < Duration::from_secs(10),
            "no span after the restart"
        );
        thread::sleep(Duration::from_millis(5));
    };
    println!(
        "killed and restarted: first span in the collector after {} ms",
        first.as_millis()
    );
    ensure!(first < Duration::from_secs(2), "first span after {first:?}");

    let done = producer.wait(ticket, Duration::from_secs(60))?;
    ensure!(done.failed == 0, "{} sends failed", done.failed);
    consumer.wait_consumed(&group, 10 * RATE, ARRIVAL)?;
    let sent = producer.sent(ticket);
    let again = sent.last().context("nothing sent")?.end_ns - 4_000_000_000;
    let wanted = sent
        .iter()
        .filter(|sent| sent.start_ns > again)
        .map(|sent| sent.msg_id.as_str());
    let wanted: HashSet<&str> = wanted.collect();
    scene.collector.wait_for(wanted.len(), ARRIVAL, |span| {
        span.operation() == "send" && wanted.contains(span.message_id())
    })?;
    Ok(())
}

/// Attached, with nothing to do.
fn idle(world: &World) -> Result<()> {
    const MEASURED: Duration = Duration::from_secs(10);
    let mut scene = Scene::start(world, "idle", &[])?;
    thread::sleep(Duration::from_secs(2));
    let pid = scene.tracer.process().pid();
    let before = usage::processor_time(pid)?;
    thread::sleep(MEASURED);
    let taken = usage::processor_time(pid)? - before;
    let percent = 100.0 * taken.as_secs_f64() / MEASURED.as_secs_f64();
    let kilobytes = usage::resident_kib(pid)?;
    println!("idle: {kilobytes} KiB resident, {percent:.2} % of a core");
    ensure!(kilobytes < 40 << 10, "{kilobytes} KiB resident");
    ensure!(percent < 0.5, "{percent} % of a core");
    Ok(())
}
