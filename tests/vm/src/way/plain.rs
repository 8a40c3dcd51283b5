//! One system call for each step, of a kind that changes with the step's number: `write`, `writev`, `sendto`, `sendmsg` and
//! their counterparts.

use std::{io::Result, os::fd::RawFd};

use super::{all, fill, moved, read};

/// Pieces of a gathering or scattering call, as an encoder of frames makes them: length and header length, some of the
/// header, the rest.
fn pieces(at: *mut u8, length: usize) -> [libc::iovec; 3] {
    let first = length.min(8);
    let second = (length - first).min(100);
    let mut from = at;
    [first, second, length - first - second].map(|length| {
        let piece = libc::iovec {
            iov_base: from.cast(),
            iov_len: length,
        };
        from = from.wrapping_add(length);
        piece
    })
}

/// A message of these pieces.
pub(super) fn message(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len() as _;
    message
}

/// One call that writes.
fn call(socket: RawFd, bytes: &[u8], number: usize) -> Result<usize> {
    let (at, length) = (bytes.as_ptr(), bytes.len());
    let mut pieces = pieces(at.cast_mut(), length);
    // SAFETY: all four read `length` bytes of a buffer that lives on.
    moved(unsafe {
        match number % 4 {
            0 => libc::write(socket, at.cast(), length),
            1 => libc::writev(socket, pieces.as_ptr(), 3),
            2 => libc::send(socket, at.cast(), length, libc::MSG_NOSIGNAL),
            _ => libc::sendmsg(socket, &message(&mut pieces), libc::MSG_NOSIGNAL),
        }
    })
}

/// Writes all bytes, in one call where the socket takes them at once.
pub(super) fn send(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    all(bytes, |rest| call(socket, rest, number))
}

/// Fills the buffer, in one call where the bytes are there.
pub(super) fn receive(socket: RawFd, bytes: &mut [u8], number: usize) -> Result<()> {
    fill(bytes, |rest| {
        let (at, length) = (rest.as_mut_ptr(), rest.len());
        let mut pieces = pieces(at, length);
        // SAFETY: all four write at most `length` bytes to a buffer that lives on.
        read(unsafe {
            match number % 4 {
                0 => libc::read(socket, at.cast(), length),
                1 => libc::readv(socket, pieces.as_ptr(), 3),
                2 => libc::recv(socket, at.cast(), length, 0),
                _ => libc::recvmsg(socket, &mut message(&mut pieces), 0),
            }
        })
    })
}
