//! Clients whose connections cannot be read are told of, and nothing is made up about them.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Client, Mode, Send,
    artifacts::CLIENT_VERSIONS,
    client::{Library, Options},
    totals::total,
};

use crate::{
    scene::Scene,
    world::{NEWEST, World},
};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(
        world,
        "unreadable",
        &[
            ("a Java client with TLS", tls),
            ("a client that speaks gRPC", grpc),
            ("TLS of a process without RocketMQ", unrelated),
        ],
    )
}

fn tls(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "tls")?;
    let scene = Scene::start(world, "tls", &[])?;
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let library = Library::Java(CLIENT_VERSIONS[0]);
    let name = world.fresh("producer-tls");
    let client = Client::start_with(
        &world.artifacts,
        library,
        server.name_server,
        world.dir()?,
        &name,
        options,
    )?;
    client.producer("tls")?;
    let sent = client.send(Send::new("tls", &topic, Mode::Sync, 4))?;
    ensure!(!sent.is_empty(), "{:?}", client.all_failed());
    let pid = client.pid();
    client.finish()?;
    let (spans, log) = scene.finish(world)?;
    ensure!(spans.iter().all(|span| span.topic() != topic), "{spans:#?}");
    // Name server and broker.
    ensure!(total(&log, "tls_connections")? >= 2, "{log}");
    ensure!(said(&log, "TLS", pid) == 1, "{log}");
    Ok(())
}

/// This process holds a file of the name of gRPC's client library, and begins as such a client does.
fn grpc(world: &World) -> Result<()> {
    let pid = std::process::id();
    let scene = Scene::start(world, "grpc", &["--pid", &pid.to_string()])?;
    let library = world.dir()?.join("rocketmq-client-java-5.2.0.jar");
    let held = File::create(library)?;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for _ in 0..3 {
        exchange(preface)?;
    }
    let (_, log) = scene.finish(world)?;
    drop(held);
    ensure!(total(&log, "grpc_connections")? == 3, "{log}");
    ensure!(said(&log, "HTTP/2", pid) == 1, "{log}");
    ensure!(total(&log, "spans")? == 0, "{log}");
    Ok(())
}

fn unrelated(world: &World) -> Result<()> {
    let pid = std::process::id();
    let scene = Scene::start(world, "unrelated", &["--pid", &pid.to_string()])?;
    exchange(b"\x16\x03\x01\0\x05\x01\0\0\x01\x03")?;
    let (_, log) = scene.finish(world)?;
    // What the kernel side counts is of all processes.
    ensure!(total(&log, "connections_tls")? >= 1, "{log}");
    ensure!(!log.contains(" tls_connections="), "{log}");
    ensure!(said(&log, "TLS", pid) == 0, "{log}");
    Ok(())
}

/// How often it was said that this process talks what cannot be read.
fn said(log: &str, protocol: &str, pid: u32) -> usize {
    let (talks, pid) = (format!("this process talks {protocol}"), format!("pid={pid} "));
    log.lines()
        .filter(|line| line.contains(&talks) && line.contains(&pid))
        .count()
}

/// One connection over which the client begins so.
fn exchange(bytes: &[u8]) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(bytes)?;
    server.read_exact(&mut vec![0; bytes.len()])?;
    server.write_all(b"ok")?;
    client.read_exact(&mut [0; 2])?;
    Ok(())
}
