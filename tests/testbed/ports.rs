//! Free ports, as the kernel gives them.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// A free port of loopback.
pub fn free() -> Result<u16> {
    Ok(bind(0).context("binding a free port")?.local_addr()?.port())
}

/// A port for a broker, which listens on it, on the one two below (fast port) and on the next one (replication).
pub fn free_for_broker() -> Result<u16> {
    for _ in 0..100 {
        let main = bind(0)?;
        let port = main.local_addr()?.port();
        if port > 1026 && port < u16::MAX && bind(port - 2).is_ok() && bind(port + 1).is_ok() {
            return Ok(port);
        }
    }
    bail!("no three free ports for a broker in 100 tries")
}
