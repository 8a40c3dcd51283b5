//! Buffers that are gone when the call ends: the call waits in the middle for the server to read, and meanwhile another thread
//! takes away pages whose bytes have moved already.
//!
//! Small frames, which no call waits in the middle of, are written as usual.

use std::{
    io::{Error, Result},
    os::fd::{AsRawFd, RawFd},
    ptr::null_mut,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{all, check, moved, owned, plain};

/// Frames from this size on do not fit into the buffers of both sockets.
const LARGE: usize = 256 << 10;
/// What is taken away: the start, which moves first.
const GONE: usize = 16 << 10;
/// How often it is looked whether the call waits.
const LOOK: Duration = Duration::from_millis(10);
/// Looks in a row that find it waiting. The server waits longer (see the player).
const LOOKS: u32 = 10;

/// Waits until bytes have been in the socket for some time that the server has no room for: what was written first is there.
/// False: the call has ended before.
fn waits(socket: RawFd, ended: &AtomicBool) -> Result<bool> {
    let mut stuck = 0;
    while stuck < LOOKS {
        if ended.load(Ordering::Acquire) {
            return Ok(false);
        }
        thread::sleep(LOOK);
        let mut left: libc::c_int = 0;
        // SAFETY: the number lives on.
        check(unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut left) })?;
        stuck = if left > 0 { stuck + 1 } else { 0 };
    }
    Ok(true)
}

/// Shared memory with these bytes, until the process ends.
fn memory(bytes: &[u8]) -> Result<*mut u8> {
    // SAFETY: the name ends with a zero and lives on.
    let file = owned(unsafe { libc::memfd_create(c"frames".as_ptr(), 0) })?;
    let length = bytes.len().next_multiple_of(4096);
    // SAFETY: a new mapping of as many bytes as the file then has.
    let at = unsafe {
        check(libc::ftruncate(file.as_raw_fd(), length as libc::off_t))?;
        libc::mmap(
            null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    let at: *mut u8 = at.cast();
    // SAFETY: as long as the bytes are.
    unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(at)
}

/// An address for another thread.
#[derive(Clone, Copy)]
struct At(*mut u8);
// SAFETY: nobody dereferences it in this program once it is shared: the kernel does.
unsafe impl Send for At {}

fn send(socket: RawFd, bytes: &[u8], number: usize, take: fn(*mut u8) -> Result<()>) -> Result<()> {
    if bytes.len() < LARGE {
        return plain::send(socket, bytes, number);
    }
    let at = At(memory(bytes)?);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let ended = &ended;
        let taken = scope.spawn(move || {
            let At(at) = { at };
            if waits(socket, ended)? { take(at) } else { Ok(()) }
        });
        let mut left = bytes.len();
        let written = all(bytes, |_| {
            // SAFETY: the kernel reads the memory, and says so if it cannot.
            let n = moved(unsafe {
                libc::send(
                    socket,
                    at.0.add(bytes.len() - left).cast(),
                    left,
                    libc::MSG_NOSIGNAL,
                )
            })?;
            left -= n;
            Ok(n)
        });
        ended.store(true, Ordering::Release);
        written?;
        taken
            .join()
            .map_err(|_| Error::other("the other thread failed"))?
    })
}

/// The pages stay in the file, and the process would find them there; a program of the kernel does not.
pub(super) fn dropped(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    send(socket, bytes, number, |at| {
        // SAFETY: pages of a mapping that nobody else uses.
        check(unsafe { libc::madvise(at.cast(), GONE, libc::MADV_DONTNEED) }).map(drop)
    })
}

pub(super) fn moved_away(socket: RawFd, bytes: &[u8], number: usize) -> Result<()> {
    send(socket, bytes, number, |at| {
        // SAFETY: as above.
        let to = unsafe { libc::mremap(at.cast(), GONE, GONE * 2, libc::MREMAP_MAYMOVE) };
        if to == libc::MAP_FAILED {
            Err(Error::last_os_error())
        } else {
            Ok(())
        }
    })
}
