//! Flags of calls and options of sockets.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::RawFd,
};

use super::{all, check, fill, moved, plain, read, set};

fn recv(socket: RawFd, bytes: &mut [u8], flags: libc::c_int) -> Result<usize> {
    // SAFETY: writes at most as many bytes to a buffer that lives on.
    read(unsafe { libc::recv(socket, bytes.as_mut_ptr().cast(), bytes.len(), flags) })
}

fn send(socket: RawFd, bytes: &[u8], flags: libc::c_int) -> Result<usize> {
    // SAFETY: reads as many bytes of a buffer that lives on.
    moved(unsafe {
        libc::send(
            socket,
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
        )
    })
}

/// Looks at the bytes twice before they are read.
pub(super) fn peek(socket: RawFd, bytes: &mut [u8], number: usize) -> Result<()> {
    for _ in 0..2 {
        recv(socket, bytes, libc::MSG_PEEK)?;
    }
    plain::receive(socket, bytes, number)
}

/// One call, however the bytes come.
pub(super) fn wait_all(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| recv(socket, rest, libc::MSG_WAITALL))
}

/// Looks at the bytes, and lets the kernel throw them away.
pub(super) fn throw_away(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let n = recv(socket, rest, libc::MSG_PEEK)?;
        recv(socket, &mut rest[..n], libc::MSG_TRUNC)
    })
}

/// Writes that announce more, one that ends a record, and some of no bytes at all.
pub(super) fn more(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    all(first, |rest| send(socket, rest, libc::MSG_MORE))?;
    send(socket, &[], 0)?;
    all(rest, |rest| send(socket, rest, libc::MSG_EOR))?;
    send(socket, &[], 0).map(drop)
}

pub(super) fn allow_zero_copy(socket: RawFd) -> Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)
}

/// The kernel sends from the process's own pages, and tells in the error queue when it has.
pub(super) fn zero_copy(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| send(socket, rest, libc::MSG_ZEROCOPY))?;
    wait(socket, 0)?;
    let mut control = [0_u64; 16];
    let mut message = plain::message(&mut []);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message and its control buffer live on.
    moved(unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_ERRQUEUE) }).map(drop)
}

/// Waits for one of these events, or an error.
fn wait(socket: RawFd, events: libc::c_short) -> Result<()> {
    let mut poll = libc::pollfd {
        fd: socket,
        events,
        revents: 0,
    };
    // SAFETY: one structure that lives on.
    check(unsafe { libc::poll(&raw mut poll, 1, -1) }).map(drop)
}

/// Waits until this many bytes are there.
pub(super) fn low_water(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let enough = libc::c_int::try_from(rest.len().min(2048)).unwrap_or(1);
        set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, enough)?;
        wait(socket, libc::POLLIN)?;
        recv(socket, rest, 0)
    })
}

pub(super) fn small_buffer(socket: RawFd) -> Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 4096)
}

/// Lets what a listener accepts take little before it reads.
pub(crate) fn small_window(listener: RawFd) -> Result<()> {
    set(listener, libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 10)
}

fn would_block(result: &Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Writes what the socket takes without waiting.
pub(super) fn partly(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| match send(socket, rest, libc::MSG_DONTWAIT) {
        result if would_block(&result) => wait(socket, libc::POLLOUT).map(|()| 0),
        result => result,
    })
}

/// Reads what there is, and looks once more when there is nothing.
pub(super) fn again(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| match recv(socket, rest, libc::MSG_DONTWAIT) {
        result if would_block(&result) => wait(socket, libc::POLLIN).map(|()| 0),
        result => result,
    })?;
    let nothing = recv(socket, &mut [0], libc::MSG_DONTWAIT);
    if would_block(&nothing) {
        Ok(())
    } else {
        Err(Error::other(format!("{nothing:?} instead of nothing")))
    }
}
