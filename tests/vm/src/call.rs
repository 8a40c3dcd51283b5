//! One system call for each step, of a kind that changes with the step's number: `write`, `writev`, `sendto`, `sendmsg` and
//! their counterparts.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::RawFd,
};

/// Pieces of a gathering or scattering call, as an encoder of frames makes them: length and header length, some of the
/// header, the rest.
fn pieces(bytes: &mut [u8]) -> [libc::iovec; 3] {
    let (first, rest) = bytes.split_at_mut(bytes.len().min(8));
    let (second, third) = rest.split_at_mut(rest.len().min(100));
    [first, second, third].map(|piece| libc::iovec {
        iov_base: piece.as_mut_ptr().cast(),
        iov_len: piece.len(),
    })
}

fn message(pieces: &mut [libc::iovec; 3]) -> libc::msghdr {
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = 3;
    message
}

/// Writes all bytes, in one call where the socket takes them at once.
pub(crate) fn send(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let (at, length) = (rest.as_ptr().cast(), rest.len());
        let mut pieces = pieces(rest);
        // SAFETY: all four read `length` bytes of a buffer that lives on.
        let n = unsafe {
            match number % 4 {
                0 => libc::write(socket, at, length),
                1 => libc::writev(socket, pieces.as_ptr(), 3),
                2 => libc::send(socket, at, length, libc::MSG_NOSIGNAL),
                _ => libc::sendmsg(socket, &message(&mut pieces), libc::MSG_NOSIGNAL),
            }
        };
        rest = &mut rest[moved(n)?..];
    }
    Ok(())
}

/// Reads this many bytes, in one call where they are there.
pub(crate) fn receive(socket: RawFd, length: usize, number: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let (at, length) = (rest.as_mut_ptr().cast(), rest.len());
        let mut pieces = pieces(rest);
        // SAFETY: all four write at most `length` bytes to a buffer that lives on.
        let n = unsafe {
            match number % 4 {
                0 => libc::read(socket, at, length),
                1 => libc::readv(socket, pieces.as_ptr(), 3),
                2 => libc::recv(socket, at, length, 0),
                _ => libc::recvmsg(socket, &mut message(&mut pieces), 0),
            }
        };
        let n = moved(n)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        rest = &mut rest[n..];
    }
    Ok(bytes)
}

fn moved(n: isize) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::last_os_error())
}
