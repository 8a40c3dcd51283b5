//! Processes that never speak RocketMQ are looked at and left alone.

mod servers;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::totals::total;

use crate::{scene::Scene, world::World};

/// Request and answer of other protocols, some of them close to ours: a length first, or JSON inside.
const PROTOCOLS: [(&str, &[u8], &[u8]); 11] = [
    (
        "HTTP",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ),
    ("Redis", b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", b"$-1\r\n"),
    (
        "Kafka",
        b"\0\0\0\x14\0\x12\0\x03\0\0\0\x01\0\x06client\0\0",
        b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0",
    ),
    (
        "PostgreSQL",
        b"\0\0\0\x11\0\x03\0\0user\0root\0\0",
        b"R\0\0\0\x08\0\0\0\0",
    ),
    (
        "HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
    ),
    (
        "MQTT",
        b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04test",
        b"\x20\x02\0\0",
    ),
    ("AMQP", b"AMQP\0\0\x09\x01", b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce"),
    (
        "Dubbo",
        b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01\0\0\0\x05\x052.0.",
        b"\xda\xbb\x02\x14\0\0\0\0\0\0\0\x01\0\0\0\x02\x91\x91",
    ),
    (
        "MySQL",
        b"\x20\0\0\x01\x85\xa6\xff\x01\0\0\0\x01\x21\0\0\0",
        b"\x07\0\0\x02\0\0\0\x02\0\0\0",
    ),
    (
        "length and JSON",
        b"\0\0\0\x16{\"code\":10,\"opaque\":1}",
        b"\0\0\0\x0a{\"code\":0}",
    ),
    (
        "TLS",
        b"\x16\x03\x01\0\x05\x01\0\0\x01\x03",
        b"\x15\x03\x01\0\x02\x02\x28",
    ),
];

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = crate::cases(
        world,
        "foreign",
        &[("other protocols stay unjudged", run), ("random bytes", random)],
    );
    trials.extend(servers::trials(world));
    trials
}

fn run(world: &World) -> Result<()> {
    // This process speaks them itself; what other processes of the machine do is not looked at.
    let pid = std::process::id().to_string();
    let scene = Scene::start(world, "foreign", &["--pid", &pid])?;
    for (name, request, answer) in PROTOCOLS {
        // More operations than the kernel side tries before it gives a connection up.
        exchange(request, answer, 300).with_context(|| name.to_owned())?;
    }
    let (_, log) = scene.finish(world)?;
    ensure!(total(&log, "connections")? == 0, "{log}");
    ensure!(total(&log, "frames")? == 0, "{log}");
    ensure!(total(&log, "spans")? == 0, "{log}");
    // Both ends of each connection.
    ensure!(
        total(&log, "connections_foreign")? >= 2 * u64::try_from(PROTOCOLS.len())?,
        "{log}"
    );
    Ok(())
}

/// Bytes of all lengths, in which nothing is meant.
fn random(world: &World) -> Result<()> {
    const CONNECTIONS: u64 = 200;
    let pid = std::process::id().to_string();
    let scene = Scene::start(world, "random", &["--pid", &pid])?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = |length: usize| -> Vec<u8> {
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(length).collect()
    };
    for i in 0..CONNECTIONS {
        let length = 1 + (i as usize * 7) % 300;
        exchange(&bytes(length), &bytes(300 - length + 1), 3)?;
    }
    let (_, log) = scene.finish(world)?;
    for name in ["connections", "frames", "spans"] {
        ensure!(total(&log, name)? == 0, "{log}");
    }
    // the end that connected is foreign at its first byte; the other one may be behind a load balancer
    ensure!(
        total(&log, "connections_foreign")? >= CONNECTIONS * 9 / 10,
        "{log}"
    );
    Ok(())
}

/// Sends the pair back and forth over one loopback connection.
fn exchange(request: &[u8], answer: &[u8], times: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    thread::scope(|scope| {
        let served = scope.spawn(move || -> Result<()> {
            let mut buffer = vec![0; request.len()];
            for _ in 0..times {
                server.read_exact(&mut buffer)?;
                server.write_all(answer)?;
            }
            Ok(())
        });
        let mut buffer = vec![0; answer.len()];
        for _ in 0..times {
            client.write_all(request)?;
            client.read_exact(&mut buffer)?;
        }
        served
            .join()
            .map_err(|_| anyhow::anyhow!("the serving thread failed"))?
    })
}
