//! Bytes that never are in the process's memory, or get there by a pipe.

use std::{
    fs::File,
    io::{Error, Read, Result, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr::null_mut,
};

use super::{all, check, fill, moved, owned, read};

/// What a pipe takes at once.
const PIPE: usize = 32 << 10;

/// A file in memory.
fn memory_file(bytes: &[u8]) -> Result<File> {
    // SAFETY: the name ends with a zero and lives on.
    let mut file = File::from(owned(unsafe { libc::memfd_create(c"frames".as_ptr(), 0) })?);
    file.write_all(bytes)?;
    Ok(file)
}

pub(super) fn send_file(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    let file = memory_file(bytes)?;
    let mut at: libc::off_t = 0;
    all(bytes, |rest| {
        // SAFETY: the position lives on.
        moved(unsafe { libc::sendfile(socket, file.as_raw_fd(), &raw mut at, rest.len()) })
    })
}

/// The end that is read, and the end that is written.
fn pipe() -> Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; new ones, which nobody else has.
    unsafe {
        check(libc::pipe(ends.as_mut_ptr()))?;
        Ok((
            OwnedFd::from_raw_fd(ends[0]).into(),
            OwnedFd::from_raw_fd(ends[1]).into(),
        ))
    }
}

fn splice(from: RawFd, to: RawFd, length: usize) -> Result<usize> {
    // SAFETY: no positions.
    moved(unsafe { libc::splice(from, null_mut(), to, null_mut(), length, libc::SPLICE_F_MOVE) })
}

/// All that is in the pipe, into the socket.
fn drain(pipe: &File, socket: RawFd, mut length: usize) -> Result<()> {
    while length > 0 {
        length -= splice(pipe.as_raw_fd(), socket, length)?;
    }
    Ok(())
}

pub(super) fn splice_in(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    let (out, mut into) = pipe()?;
    all(bytes, |rest| {
        let n = rest.len().min(PIPE);
        into.write_all(&rest[..n])?;
        drain(&out, socket, n).map(|()| n)
    })
}

pub(super) fn vmsplice_in(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    let (out, into) = pipe()?;
    all(bytes, |rest| {
        let piece = libc::iovec {
            iov_base: rest.as_ptr().cast_mut().cast(),
            iov_len: rest.len().min(PIPE),
        };
        // SAFETY: one piece of a buffer that lives on until the server has read it.
        let n = moved(unsafe { libc::vmsplice(into.as_raw_fd(), &raw const piece, 1, 0) })?;
        drain(&out, socket, n).map(|()| n)
    })
}

pub(super) fn splice_out(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    let (mut out, into) = pipe()?;
    fill(bytes, |rest| {
        let n = splice(socket, into.as_raw_fd(), rest.len().min(PIPE))?;
        let n = read(isize::try_from(n).map_err(Error::other)?)?;
        out.read_exact(&mut rest[..n])?;
        Ok(n)
    })
}
