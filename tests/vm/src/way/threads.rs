//! More than one thread, and more than one descriptor.

use std::{
    io::Result,
    os::fd::{AsRawFd, RawFd},
    sync::Mutex,
    thread,
};

use super::{all, moved, owned, plain};

/// Another descriptor of the same socket.
fn copy(socket: RawFd) -> Result<std::os::fd::OwnedFd> {
    // SAFETY: takes no pointer.
    owned(unsafe { libc::dup(socket) })
}

pub(super) fn send_by_copy(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    plain::send(copy(socket)?.as_raw_fd(), bytes, number)
}

pub(super) fn receive_by_copy(socket: RawFd, bytes: &mut [u8], number: usize) -> Result<()> {
    plain::receive(copy(socket)?.as_raw_fd(), bytes, number)
}

fn elsewhere(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

pub(super) fn send(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    elsewhere(|| plain::send(socket, bytes, number))
}

pub(super) fn receive(socket: RawFd, bytes: &mut [u8], number: usize) -> Result<()> {
    elsewhere(|| plain::receive(socket, bytes, number))
}

/// Two threads take the next hundred bytes under a lock, and write them before they let it go.
pub(super) fn send_in_turn(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    let rest = Mutex::new(bytes);
    let writer = || -> Result<()> {
        loop {
            let Ok(mut rest) = rest.lock() else {
                return Err(std::io::Error::other("the other thread failed"));
            };
            if rest.is_empty() {
                return Ok(());
            }
            let (now, later) = rest.split_at(rest.len().min(100));
            all(now, |now| {
                // SAFETY: reads as many bytes of a buffer that lives on.
                moved(unsafe { libc::send(socket, now.as_ptr().cast(), now.len(), libc::MSG_NOSIGNAL) })
            })?;
            *rest = later;
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(writer);
        writer()?;
        other
            .join()
            .map_err(|_| std::io::Error::other("the other thread failed"))?
    })
}
