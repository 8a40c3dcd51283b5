//! Free ports, as the kernel gives them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

/// IPv4's loopback, where nearly everything of the tests listens.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn bind(ip: IpAddr, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((ip, port))
}

/// A free port of IPv4's loopback.
pub fn free() -> Result<u16> {
    Ok(free_on(LOOPBACK)?.port())
}

/// An address with a free port.
pub fn free_on(ip: IpAddr) -> Result<SocketAddr> {
    Ok(bind(ip, 0).context("binding a free port")?.local_addr()?)
}

/// An address for a broker, which listens on the port, on the one two below (fast port) and on the next one (replication).
pub fn free_for_broker(ip: IpAddr) -> Result<SocketAddr> {
    for _ in 0..100 {
        let main = bind(ip, 0)?;
        let address = main.local_addr()?;
        let port = address.port();
        if port > 1026 && port < u16::MAX && bind(ip, port - 2).is_ok() && bind(ip, port + 1).is_ok() {
            return Ok(address);
        }
    }
    bail!("no three free ports for a broker in 100 tries")
}
