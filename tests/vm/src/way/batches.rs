//! Several messages in a call.

use std::{io::Result, os::fd::RawFd};

use super::{all, check, fill, plain};

/// Two messages, each of one piece.
fn pieces(at: *mut u8, length: usize) -> [libc::iovec; 2] {
    let first = length.div_ceil(2);
    [(0, first), (first, length - first)].map(|(from, length)| libc::iovec {
        iov_base: at.wrapping_add(from).cast(),
        iov_len: length,
    })
}

fn messages(pieces: &mut [libc::iovec; 2]) -> [libc::mmsghdr; 2] {
    pieces.each_mut().map(|piece| libc::mmsghdr {
        msg_hdr: plain::message(std::slice::from_mut(piece)),
        msg_len: 0,
    })
}

/// Bytes up to the first message that was not moved as a whole.
fn total(messages: &[libc::mmsghdr; 2], count: libc::c_int) -> usize {
    let count = usize::try_from(count).unwrap_or_default();
    messages
        .iter()
        .take(count)
        .map(|message| message.msg_len as usize)
        .sum()
}

pub(super) fn send(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| {
        let mut pieces = pieces(rest.as_ptr().cast_mut(), rest.len());
        let mut messages = messages(&mut pieces);
        // SAFETY: two messages of pieces of a buffer, all of which live on.
        let count =
            check(unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), 2, libc::MSG_NOSIGNAL as _) })?;
        Ok(total(&messages, count))
    })
}

pub(super) fn receive(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let mut pieces = pieces(rest.as_mut_ptr(), rest.len());
        let mut messages = messages(&mut pieces);
        let flags = libc::MSG_WAITALL;
        // SAFETY: as above.
        let count = check(unsafe {
            libc::recvmmsg(socket, messages.as_mut_ptr(), 2, flags as _, std::ptr::null_mut())
        })?;
        Ok(total(&messages, count))
    })
}
