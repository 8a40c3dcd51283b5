//! Many pieces at once, and the calls that take a position too.

use std::{io::Result, os::fd::RawFd};

use super::{all, fill, moved, read};

/// Most pieces of a call (`UIO_MAXIOV`).
const MOST: usize = 1024;
/// The bytes of a piece where all of them fit. The tracer looks for the start of a frame, 32 bytes, in four pieces.
const PIECE: usize = 17;

/// Two empty pieces, then small ones with an empty one behind every tenth.
fn pieces(at: *mut u8, length: usize) -> Vec<libc::iovec> {
    let piece = |from: usize, length: usize| libc::iovec {
        iov_base: at.wrapping_add(from).cast(),
        iov_len: length,
    };
    let mut pieces: Vec<_> = (0..2).map(|_| piece(0, 0)).collect();
    let each = length.div_ceil(MOST - 200).max(PIECE);
    for (i, from) in (0..length).step_by(each).enumerate() {
        if i % 10 == 9 {
            pieces.push(piece(from, 0));
        }
        pieces.push(piece(from, each.min(length - from)));
    }
    pieces
}

pub(super) fn send(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| {
        let pieces = pieces(rest.as_ptr().cast_mut(), rest.len());
        // SAFETY: the pieces are parts of a buffer that lives on.
        moved(unsafe { libc::writev(socket, pieces.as_ptr(), pieces.len() as _) })
    })
}

pub(super) fn receive(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let pieces = pieces(rest.as_mut_ptr(), rest.len());
        // SAFETY: as above.
        read(unsafe { libc::readv(socket, pieces.as_ptr(), pieces.len() as _) })
    })
}

/// In place of a position: where the descriptor stands. A socket knows no other one.
const HERE: libc::c_long = -1;

/// `preadv2` or `pwritev2`, by its number.
///
/// # Safety
/// The pieces must be parts of a buffer that lives on, and that may be written for `preadv2`.
unsafe fn here(call: libc::c_long, socket: RawFd, pieces: &[libc::iovec]) -> isize {
    // SAFETY: by the contract above.
    unsafe { libc::syscall(call, socket, pieces.as_ptr(), pieces.len(), HERE, HERE, 0) as isize }
}

pub(super) fn pwritev2(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| {
        let pieces = pieces(rest.as_ptr().cast_mut(), rest.len());
        // SAFETY: as above; nothing is written to them.
        moved(unsafe { here(libc::SYS_pwritev2, socket, &pieces) })
    })
}

pub(super) fn preadv2(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let pieces = pieces(rest.as_mut_ptr(), rest.len());
        // SAFETY: as above.
        read(unsafe { here(libc::SYS_preadv2, socket, &pieces) })
    })
}
