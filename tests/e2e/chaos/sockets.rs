//! Sockets and ports that are used again, and by several at once.

use std::{
    io::Write,
    net::SocketAddr,
    process,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use testbed::{
    ports,
    totals::{no_loss, total},
};

use super::{accounts, right, wire};
use crate::{scene::Scene, world::World};

const LOOPBACK: SocketAddr = SocketAddr::new(ports::LOOPBACK, 0);

/// This process is traced, and no other one.
fn start(world: &World, name: &str) -> Result<Scene> {
    Scene::start(world, name, &["--pid", &process::id().to_string()])
}

/// Connection after connection from one port, each with a message.
pub(super) fn port_again(world: &World) -> Result<()> {
    const CONNECTIONS: u32 = 40;
    let topic = world.fresh("port-again");
    let scene = start(world, "port-again")?;
    let broker = wire::Broker::start(LOOPBACK)?;
    let port = ports::free()?;
    let messages: Vec<String> = (0..CONNECTIONS).map(|i| wire::message_id(1, i)).collect();
    let mut ended = Instant::now();
    for (i, message) in messages.iter().enumerate() {
        let mut stream = wire::connect(port, broker.address)?;
        ensure!(
            ended.elapsed() < Duration::from_secs(1),
            "the port was not used again at once"
        );
        stream.write_all(&wire::send(&topic, message, i as u32 + 1, 100, false))?;
        wire::read_frame(&mut stream)?;
        wire::reset(stream)?;
        ended = Instant::now();
    }
    let (spans, log) = scene.finish(world)?;
    no_loss(&log)?;
    let seen = right(&spans, &topic, messages.iter().map(String::as_str))?;
    ensure!(seen == messages.len(), "{seen} of {CONNECTIONS}\n{log}");
    // both ends of each
    ensure!(total(&log, "connections")? == u64::from(2 * CONNECTIONS), "{log}");
    Ok(())
}

/// One socket, connected, cut off and connected again: its number for the kernel stays the same.
pub(super) fn socket_again(world: &World) -> Result<()> {
    const CONNECTIONS: u32 = 10;
    let topic = world.fresh("socket-again");
    let scene = start(world, "socket-again")?;
    let broker = wire::Broker::start(LOOPBACK)?;
    let messages: Vec<String> = (0..CONNECTIONS).map(|i| wire::message_id(2, i)).collect();
    let mut stream = wire::connect(0, broker.address)?;
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            wire::disconnect(&stream)?;
            wire::reconnect(&stream, broker.address)?;
        }
        // of different lengths, so that no stream ends where another one does
        stream.write_all(&wire::send(&topic, message, i as u32 + 1, 100 * i, false))?;
        wire::read_frame(&mut stream)?;
    }
    drop(stream);
    let (spans, log) = scene.finish(world)?;
    no_loss(&log)?;
    let seen = right(&spans, &topic, messages.iter().map(String::as_str))?;
    ensure!(seen == messages.len(), "{seen} of {CONNECTIONS}\n{log}");
    Ok(())
}

/// Whole frames, each in one call, from threads that do not wait for one another. What one thread's call hides from another's
/// is declared.
pub(super) fn without_lock(world: &World) -> Result<()> {
    const THREADS: u32 = 4;
    const EACH: u32 = 500;
    let topic = world.fresh("without-lock");
    let scene = start(world, "without-lock")?;
    let broker = wire::Broker::start(LOOPBACK)?;
    let stream = wire::connect(0, broker.address)?;
    let barrier = Barrier::new(THREADS as usize);
    let messages: Vec<Vec<String>> = (0..THREADS)
        .map(|thread| {
            (0..EACH)
                .map(|i| wire::message_id(3, thread * EACH + i))
                .collect()
        })
        .collect();
    let written = thread::scope(|scope| -> Result<u64> {
        let writers: Vec<_> = messages
            .iter()
            .map(|messages| {
                let (mut stream, barrier, topic) = (&stream, &barrier, &topic);
                scope.spawn(move || -> std::io::Result<u64> {
                    barrier.wait();
                    let mut written = 0;
                    for (i, message) in messages.iter().enumerate() {
                        let frame = wire::send(topic, message, i as u32 + 1, 7 * (i % 40), true);
                        stream.write_all(&frame)?;
                        written += frame.len() as u64;
                    }
                    Ok(written)
                })
            })
            .collect();
        let mut written = 0;
        for writer in writers {
            written += writer.join().map_err(|_| anyhow!("a writing thread failed"))??;
        }
        Ok(written)
    })?;
    wire::finish(stream)?;
    let (spans, log) = scene.finish(world)?;
    let seen = right(&spans, &topic, messages.iter().flatten().map(String::as_str))?;
    let all = (THREADS * EACH) as usize;
    println!(
        "without a lock: {seen} of {all} messages seen, {} bytes declared",
        total(&log, "bytes_lost")?
    );
    ensure!(seen > 0, "{log}");
    ensure!(
        seen == all || total(&log, "bytes_lost")? > 0,
        "{} messages are missing and no byte\n{log}",
        all - seen
    );
    accounts(&log, written)
}

/// Two clients with the same port at the same address, at the same time.
pub(super) fn two_networks(world: &World) -> Result<()> {
    const EACH: u32 = 20;
    let scene = start(world, "networks")?;
    let (local, server) = (ports::free()?, ports::free()?);
    let topics = [world.fresh("network-a"), world.fresh("network-b")];
    let messages: Vec<Vec<String>> = (0..2)
        .map(|n| (0..EACH).map(|i| wire::message_id(4 + n, i)).collect())
        .collect();
    let barrier = Barrier::new(2);
    thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = topics
            .iter()
            .zip(&messages)
            .map(|(topic, messages)| {
                let barrier = &barrier;
                scope.spawn(move || -> std::io::Result<()> {
                    let ready = wire::isolate().and_then(|()| {
                        let broker = wire::Broker::start(SocketAddr::new(ports::LOOPBACK, server))?;
                        Ok((wire::connect(local, broker.address)?, broker))
                    });
                    barrier.wait();
                    let (mut stream, _broker) = ready?;
                    for (i, message) in messages.iter().enumerate() {
                        stream.write_all(&wire::send(topic, message, i as u32 + 1, 100, false))?;
                        wire::read_frame(&mut stream)?;
                        // so that the two take turns
                        thread::sleep(Duration::from_millis(2));
                    }
                    wire::reset(stream)
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| anyhow!("a client failed"))??;
        }
        Ok(())
    })?;
    let (spans, log) = scene.finish(world)?;
    no_loss(&log)?;
    for (topic, messages) in topics.iter().zip(&messages) {
        let seen = right(&spans, topic, messages.iter().map(String::as_str))?;
        ensure!(
            seen == messages.len(),
            "{seen} of {} to {topic}\n{log}",
            messages.len()
        );
        for span in spans.iter().filter(|span| span.topic() == topic) {
            ensure!(
                span.number("network.peer.port") == Some(server.into()),
                "{span:#?}"
            );
            ensure!(span.text("network.peer.address") == "127.0.0.1", "{span:#?}");
            ensure!(span.pid() == Some(process::id().into()), "{span:#?}");
        }
    }
    Ok(())
}
