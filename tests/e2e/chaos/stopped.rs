//! The tracer does not run for a while (`SIGSTOP`), or has little to do.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    ops::Range,
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use testbed::{
    ports,
    totals::{no_loss, total},
};

use super::{accounts, right, wire};
use crate::{scene::Scene, world::World};

/// How long the tracer is stopped.
const STOPPED: Duration = Duration::from_secs(3);

fn start(world: &World, name: &str, more: &[&str]) -> Result<Scene> {
    let pid = process::id().to_string();
    Scene::start(world, name, &[&["--pid", &pid], more].concat())
}

/// A message now and then, far below what wakes the reader up: its span comes within what the reader's timer and the exporter's
/// interval take.
pub(super) fn few(world: &World) -> Result<()> {
    const MESSAGES: u32 = 12;
    let topic = world.fresh("few");
    let mut scene = start(world, "few", &[])?;
    let broker = wire::Broker::start(SocketAddr::new(ports::LOOPBACK, 0))?;
    let mut stream = wire::connect(0, broker.address)?;
    let mut longest = Duration::ZERO;
    for i in 0..MESSAGES {
        // a second of nothing makes the reader look rarely
        thread::sleep(Duration::from_millis(u64::from(100 * i)));
        let message = wire::message_id(20, i);
        let begun = Instant::now();
        stream.write_all(&wire::send(&topic, &message, i + 1, 50, false))?;
        wire::read_frame(&mut stream)?;
        scene
            .collector
            .wait_for(1, Duration::from_secs(5), |span| span.message_id() == message)?;
        longest = longest.max(begun.elapsed());
    }
    println!(
        "few: the slowest span took {} ms to the collector's file",
        longest.as_millis()
    );
    ensure!(longest < Duration::from_secs(3), "{longest:?}");
    let (_, log) = scene.finish(world)?;
    no_loss(&log)
}

/// One-way sends of these numbers, with a pause after every tenth; gives the bytes that were written, and the longest time that
/// a write took.
fn write(
    stream: &mut TcpStream,
    topic: &str,
    run: u32,
    numbers: Range<u32>,
    pause: Duration,
) -> Result<(u64, Duration)> {
    let (mut written, mut longest) = (0, Duration::ZERO);
    for i in numbers {
        let frame = wire::send(topic, &wire::message_id(run, i), i + 1, 300, true);
        let begun = Instant::now();
        stream.write_all(&frame)?;
        longest = longest.max(begun.elapsed());
        written += frame.len() as u64;
        if i % 10 == 9 {
            thread::sleep(pause);
        }
    }
    Ok((written, longest))
}

/// What the ring holds is read later: nothing is lost.
pub(super) fn for_seconds(world: &World) -> Result<()> {
    const MESSAGES: u32 = 3_000;
    let (log, seen, _, written) = stop(world, "stopped", MESSAGES, &[])?;
    no_loss(&log)?;
    ensure!(seen == MESSAGES as usize, "{seen} of {MESSAGES}\n{log}");
    accounts(&log, written)
}

/// What the ring does not hold is declared, and everything after it is seen again.
pub(super) fn with_small_ring(world: &World) -> Result<()> {
    const MESSAGES: u32 = 3_000;
    let (log, seen, last, written) = stop(
        world,
        "small-ring",
        MESSAGES,
        &["--set", "capture.ring_bytes=65536"],
    )?;
    let lost = total(&log, "ring_full_bytes")?;
    ensure!(
        lost > 0 && seen < MESSAGES as usize,
        "nothing was lost: the ring was not too small\n{log}"
    );
    ensure!(last == LAST as usize, "{last} of the last {LAST} messages\n{log}");
    accounts(&log, written)
}

/// Messages that are sent when the tracer runs again.
const LAST: u32 = 200;
/// A pause that lets the reader of even the smallest ring keep up.
const GENTLY: Duration = Duration::from_millis(30);

/// Sends a message now and then until one of them has a span: the ring is full until the tracer has caught up. Gives the bytes
/// that were written.
fn catch_up(scene: &mut Scene, stream: &mut TcpStream, topic: &str) -> Result<u64> {
    let mut written = 0;
    for i in 0..40 {
        written += write(stream, topic, 23, i..i + 1, Duration::ZERO)?.0;
        let seen = scene
            .collector
            .wait_for(1, Duration::from_secs(1), |span| span.topic() == topic);
        if seen.is_ok() {
            return Ok(written);
        }
    }
    anyhow::bail!("the tracer sees nothing any more")
}

/// Sends this many messages while the tracer is stopped, and some more before and after. Gives its log, how many of the first
/// ones and how many of the last ones have a span, and the bytes that were written.
fn stop(world: &World, name: &str, messages: u32, more: &[&str]) -> Result<(String, usize, usize, u64)> {
    let topic = world.fresh(name);
    let last_topic = world.fresh(&format!("{name}-after"));
    let mut scene = start(world, name, more)?;
    let broker = wire::Broker::start(SocketAddr::new(ports::LOOPBACK, 0))?;
    let mut stream = wire::connect(0, broker.address)?;
    let (before, _) = write(&mut stream, &topic, 21, 0..100, GENTLY)?;
    scene.spans("send", &topic, 100)?;
    scene.tracer.process().signal(libc::SIGSTOP)?;
    let begun = Instant::now();
    let (meanwhile, longest) = write(&mut stream, &topic, 21, 100..messages, Duration::ZERO)?;
    thread::sleep(STOPPED.saturating_sub(begun.elapsed()));
    scene.tracer.process().signal(libc::SIGCONT)?;
    println!(
        "{name}: the slowest of {messages} writes took {} µs",
        longest.as_micros()
    );
    // a write that waited for the tracer would have waited until it went on
    ensure!(
        longest < STOPPED / 2,
        "a write took {longest:?} while the tracer was stopped"
    );
    let caught_up = catch_up(&mut scene, &mut stream, &world.fresh(&format!("{name}-marker")))?;
    let (after, _) = write(&mut stream, &last_topic, 22, 0..LAST, GENTLY)?;
    scene.spans("send", &last_topic, LAST as usize)?;
    wire::finish(stream)?;
    let (spans, log) = scene.finish(world)?;
    let ids: Vec<String> = (0..messages).map(|i| wire::message_id(21, i)).collect();
    let seen = right(&spans, &topic, ids.iter().map(String::as_str))?;
    let ids: Vec<String> = (0..LAST).map(|i| wire::message_id(22, i)).collect();
    let last = right(&spans, &last_topic, ids.iter().map(String::as_str))?;
    Ok((log, seen, last, before + meanwhile + caught_up + after))
}
