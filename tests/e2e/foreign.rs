//! Processes that never speak RocketMQ are looked at and left alone.

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
const PROTOCOLS: [(&str, &[u8], &[u8]); 6] = [
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
    crate::cases(world, "foreign", &[("other protocols stay unjudged", run)])
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
