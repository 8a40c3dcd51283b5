//! The old interface for asynchronous calls (`io_submit`).

use std::{io::Result, os::fd::RawFd, ptr::null_mut};

use super::{all, fill, moved, read};

/// `struct iocb` (include/uapi/linux/aio_abi.h).
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    flags: i32,
    operation: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    unused: u64,
    more_flags: u32,
    event: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Default)]
struct Outcome {
    data: u64,
    request: u64,
    result: i64,
    more: i64,
}

const READ: u16 = 0;
const WRITE: u16 = 1;

/// One request, from its start to its end.
fn call(socket: RawFd, operation: u16, at: *const u8, length: usize) -> Result<usize> {
    let mut context: u64 = 0;
    let mut request = Request {
        operation,
        descriptor: socket.cast_unsigned(),
        buffer: at as u64,
        length: length as u64,
        ..Request::default()
    };
    let requests = [&raw mut request];
    let mut outcome = Outcome::default();
    // SAFETY: all structures live on until the request has ended; the buffer does by the callers below.
    unsafe {
        moved(libc::syscall(libc::SYS_io_setup, 1, &raw mut context) as isize)?;
        let result = moved(libc::syscall(libc::SYS_io_submit, context, 1, requests.as_ptr()) as isize)
            .and_then(|_| {
                moved(libc::syscall(
                    libc::SYS_io_getevents,
                    context,
                    1,
                    1,
                    &raw mut outcome,
                    null_mut::<libc::timespec>(),
                ) as isize)
            });
        libc::syscall(libc::SYS_io_destroy, context);
        result?;
    }
    usize::try_from(outcome.result)
        .map_err(|_| std::io::Error::from_raw_os_error(i32::try_from(-outcome.result).unwrap_or_default()))
}

pub(super) fn send(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| call(socket, WRITE, rest.as_ptr(), rest.len()))
}

pub(super) fn receive(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let n = call(socket, READ, rest.as_mut_ptr(), rest.len())?;
        read(isize::try_from(n).unwrap_or_default())
    })
}
