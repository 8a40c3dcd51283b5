//! Free ports, safe between processes: two runs of the tests on one machine never get the same one.
//!
//! A port is free until somebody binds it, and a broker binds its ports seconds after they were chosen. So ports come in
//! blocks, and whoever takes a block holds a lock on a file named after it until the process ends, also when it crashes. A
//! block has room for a broker's three ports (B−2, B, B+1). Blocks lie below the range from which the kernel gives ports
//! to outgoing connections (32768 by default), which would otherwise take one in between.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

/// IPv4's loopback, where nearly everything of the tests listens.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Ports of a block: B−2, B−1, B, B+1.
const BLOCK: u16 = 4;
/// Offset of B in its block.
const BROKER: u16 = 2;
/// First port of the first block.
const FIRST: u16 = 20_000;
/// One after the last block's ports.
const END: u16 = 32_000;

/// The blocks of this process; their locks end with it.
static HELD: Mutex<Held> = Mutex::new(Held {
    locks: Vec::new(),
    next: None,
});

struct Held {
    locks: Vec<File>,
    next: Option<u16>,
}

/// A free port of IPv4's loopback.
pub fn free() -> Result<u16> {
    Ok(free_on(LOOPBACK)?.port())
}

/// An address with a free port.
pub fn free_on(ip: IpAddr) -> Result<SocketAddr> {
    free_for_broker(ip)
}

/// An address for a broker, which listens on the port, on the one two below (fast port) and on the next one (replication).
pub fn free_for_broker(ip: IpAddr) -> Result<SocketAddr> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let blocks = (END - FIRST) / BLOCK;
    // Each process begins elsewhere, so that a port that was just given up is not taken again at once.
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(blocks))?;
    for _ in 0..blocks {
        let block = held.next.unwrap_or(start);
        held.next = Some((block + 1) % blocks);
        let first = FIRST + block * BLOCK;
        if let Some(lock) = reserve(first)?
            && (first..first + BLOCK).all(|port| TcpListener::bind((ip, port)).is_ok())
        {
            held.locks.push(lock);
            return Ok(SocketAddr::new(ip, first + BROKER));
        }
    }
    bail!("no free port between {FIRST} and {END}: all {blocks} blocks are taken")
}

/// The lock of a block, unless somebody has it.
fn reserve(first: u16) -> Result<Option<File>> {
    let dir = env::temp_dir().join("rmqtrace-ports");
    if !dir.exists() {
        fs::create_dir_all(&dir)?;
        // Whoever runs tests here, as whatever user.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    }
    let path = dir.join(first.to_string());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o666)
        .open(&path)
        .with_context(|| format!("reserving ports with {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_not_given_again() {
        let first = free_for_broker(LOOPBACK).unwrap().port();
        let second = free_for_broker(LOOPBACK).unwrap().port();
        assert!(first.abs_diff(second) >= BLOCK, "{first} and {second}");
        // Another process, as the lock sees it: another open file.
        assert!(reserve(first - BROKER).unwrap().is_none());
        assert!(reserve(second - BROKER).unwrap().is_none());
    }
}
