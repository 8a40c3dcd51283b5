//! TCP fast open: the first bytes travel with the SYN.

use std::{
    fs,
    io::{Error, Result},
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use super::{Way, moved, plain, set};
use crate::net;

/// Both ends may, and need no cookie for it (Documentation/networking/ip-sysctl.rst). The setting is the network's.
const ALLOWED: &str = "519";

/// Lets a listener accept it.
pub(crate) fn allow(listener: RawFd) -> Result<()> {
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", ALLOWED)?;
    set(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16)
}

/// Opens a connection with these bytes.
pub(crate) fn fast_open(
    way: &Way,
    local: SocketAddr,
    remote: SocketAddr,
    bytes: &[u8],
    at_once: bool,
) -> Result<OwnedFd> {
    let socket = net::socket(local, way.socket)?;
    let (address, length) = net::native(remote);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL | if at_once { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: bytes and address live on, and have the lengths that are said.
    let n = moved(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            (&raw const address).cast(),
            length,
        )
    })?;
    if n == 0 {
        return Err(Error::other("nothing travelled with the SYN"));
    }
    plain::send(socket.as_raw_fd(), &bytes[n..], 0)?;
    Ok(socket)
}
