//! A network of one's own, and sockets with chosen ports.

use std::{
    io::{Error, Result},
    mem::zeroed,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Moves this process to a network namespace of its own, in which nothing but loopback is, so that every port is free.
pub(crate) fn isolate() -> Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    loopback_up()
}

/// Takes the loopback device into use.
pub(crate) fn loopback_up() -> Result<()> {
    // any socket will do: the call is about the device
    // SAFETY: takes no pointer.
    let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: a new descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zeros is a request without a name.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives on, and has a name that ends with a zero.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })?;
    Ok(())
}

/// A socket with this address, and with what `options` sets.
pub(crate) fn socket(local: SocketAddr, options: fn(RawFd) -> Result<()>) -> Result<OwnedFd> {
    let (address, length) = native(local);
    let family = i32::from(address.ss_family);
    // SAFETY: takes no pointer.
    let socket = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a new descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let fd = socket.as_raw_fd();
    let on: libc::c_int = 1;
    // SAFETY: the value lives on, and has the length that is said.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    options(fd)?;
    // SAFETY: the address lives on, and has the length that is said.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Connects a socket.
pub(crate) fn connect(socket: &OwnedFd, remote: SocketAddr) -> Result<()> {
    let (address, length) = native(remote);
    // SAFETY: the address lives on, and has the length that is said.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
}

/// The number of this process's network namespace.
pub(crate) fn namespace() -> Result<u32> {
    let place = std::fs::metadata("/proc/self/ns/net")?;
    u32::try_from(std::os::unix::fs::MetadataExt::ino(&place)).map_err(Error::other)
}

/// An address as system calls take it, and its length.
pub(crate) fn native(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeros is an address of no family.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let to = (&raw mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: the storage has room for, and the alignment of, an address of any family.
            unsafe {
                (*to).sin_family = libc::AF_INET as libc::sa_family_t;
                (*to).sin_port = v4.port().to_be();
                (*to).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            }
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let to = (&raw mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            unsafe {
                (*to).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                (*to).sin6_port = v6.port().to_be();
                (*to).sin6_addr.s6_addr = v6.ip().octets();
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}
