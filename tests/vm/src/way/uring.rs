//! io_uring, by its system calls: one request at a time.
//!
//! A request may be carried out inside `io_uring_enter`, by a thread of the kernel, or on the way back to user space from any
//! other system call.

use std::{
    cell::RefCell,
    io::{Error, Read, Result, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::net::UnixStream,
    ptr::null_mut,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::{all, fill, moved, owned, plain, read as ended};

/// Entries of the queue.
const ENTRIES: u32 = 4;

// include/uapi/linux/io_uring.h
const OFFSET_SUBMISSIONS: libc::off_t = 0;
const OFFSET_COMPLETIONS: libc::off_t = 0x800_0000;
const OFFSET_ENTRIES: libc::off_t = 0x1000_0000;
const SETUP_POLLED: u32 = 2;
const ENTER_WAIT: u32 = 1;
const ENTER_WAKE: u32 = 2;
const BY_WORKER: u8 = 1 << 4;
const MORE: u32 = 1 << 1;

/// What a request does (`enum io_uring_op`).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Operation {
    Readv = 1,
    Writev = 2,
    Sendmsg = 9,
    Recvmsg = 10,
    Read = 22,
    Write = 23,
    Send = 26,
    Recv = 27,
    SendZeroCopy = 47,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`: the fourth of the second is its number of entries.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    /// Submissions: flags; completions: overflow.
    fifth: u32,
    /// Submissions: dropped; completions: entries of the queue.
    sixth: u32,
    /// Submissions: the array of indexes.
    seventh: u32,
    unused: u32,
    address: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    submissions: u32,
    completions: u32,
    flags: u32,
    cpu: u32,
    idle: u32,
    features: u32,
    worker: u32,
    unused: [u32; 3],
    submission: Offsets,
    completion: Offsets,
}

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Default)]
struct Request {
    operation: u8,
    flags: u8,
    priority: u16,
    descriptor: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    data: u64,
    rest: [u64; 3],
}

/// `struct io_uring_cqe`.
#[repr(C)]
struct Outcome {
    data: u64,
    result: i32,
    flags: u32,
}

/// A pair of queues, which lives as long as its thread.
struct Ring {
    descriptor: OwnedFd,
    submissions: *mut u8,
    completions: *mut u8,
    requests: *mut Request,
    parameters: Parameters,
}

impl Ring {
    fn new(flags: u32) -> Result<Ring> {
        let mut parameters = Parameters {
            flags,
            idle: 1000,
            ..Parameters::default()
        };
        // SAFETY: the parameters live on.
        let descriptor = owned(unsafe {
            libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut parameters) as libc::c_int
        })?;
        let map = |offset: libc::off_t| -> Result<*mut u8> {
            // a page is enough for either queue of this size
            // SAFETY: a new mapping.
            let at = unsafe {
                libc::mmap(
                    null_mut(),
                    4096,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_POPULATE,
                    descriptor.as_raw_fd(),
                    offset,
                )
            };
            if at == libc::MAP_FAILED {
                Err(Error::last_os_error())
            } else {
                Ok(at.cast())
            }
        };
        Ok(Ring {
            submissions: map(OFFSET_SUBMISSIONS)?,
            completions: map(OFFSET_COMPLETIONS)?,
            requests: map(OFFSET_ENTRIES)?.cast(),
            descriptor,
            parameters,
        })
    }

    /// A counter that the kernel shares.
    fn counter(queue: *mut u8, offset: u32) -> &'static AtomicU32 {
        // SAFETY: inside the mapped page, aligned, and mapped as long as the process lives.
        unsafe { AtomicU32::from_ptr(queue.add(offset as usize).cast()) }
    }

    fn enter(&self, submit: u32, wait: u32) -> Result<()> {
        let polled = self.parameters.flags & SETUP_POLLED != 0;
        let flags = if wait > 0 { ENTER_WAIT } else { 0 } | if polled { ENTER_WAKE } else { 0 };
        let fd = self.descriptor.as_raw_fd();
        // SAFETY: no set of signals.
        moved(unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, submit, wait, flags, 0, 0) as isize })
            .map(drop)
    }

    fn submit(&self, request: Request, wait: u32) -> Result<()> {
        let Parameters { submission, .. } = &self.parameters;
        let tail = Ring::counter(self.submissions, submission.tail);
        let place = tail.load(Ordering::Relaxed) & (ENTRIES - 1);
        // SAFETY: inside the mapped pages; the kernel reads it after the tail has moved.
        unsafe {
            self.requests.add(place as usize).write(request);
            self.submissions
                .add(submission.seventh as usize)
                .cast::<u32>()
                .add(place as usize)
                .write(place);
        }
        tail.fetch_add(1, Ordering::Release);
        self.enter(1, wait)
    }

    /// Whether an outcome is there.
    fn is_done(&self) -> bool {
        let Parameters { completion, .. } = &self.parameters;
        let counter = |offset| Ring::counter(self.completions, offset).load(Ordering::Acquire);
        counter(completion.head) != counter(completion.tail)
    }

    /// Waits for the next outcome: its result and its flags.
    fn wait(&self) -> Result<(i32, u32)> {
        while !self.is_done() {
            self.enter(0, 1)?;
        }
        let Parameters { completion, .. } = &self.parameters;
        let head = Ring::counter(self.completions, completion.head);
        let place = head.load(Ordering::Relaxed) & (self.parameters.completions - 1);
        // SAFETY: inside the mapped page; the kernel has written it.
        let outcome = unsafe {
            self.completions
                .add(completion.sixth as usize)
                .cast::<Outcome>()
                .add(place as usize)
                .read()
        };
        head.fetch_add(1, Ordering::Release);
        debug_assert_eq!(outcome.data, 0);
        Ok((outcome.result, outcome.flags))
    }

    /// Carries out a request.
    fn call(&self, request: Request) -> Result<usize> {
        self.submit(request, 1)?;
        let (result, flags) = self.wait()?;
        if flags & MORE != 0 {
            // the pages are free again
            self.wait()?;
        }
        bytes(result)
    }
}

fn bytes(result: i32) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::from_raw_os_error(-result))
}

thread_local! {
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// With this thread's queues, which are made at the first call. A process uses one kind only.
fn with<T>(flags: u32, work: impl FnOnce(&Ring) -> Result<T>) -> Result<T> {
    RING.with_borrow_mut(|ring| {
        let ring = match ring {
            Some(ring) => ring,
            None => ring.insert(Ring::new(flags)?),
        };
        work(ring)
    })
}

/// A request for these bytes of memory.
fn request(operation: Operation, socket: RawFd, at: *const u8, length: usize) -> Request {
    Request {
        operation: operation as u8,
        descriptor: socket,
        address: at as u64,
        length: u32::try_from(length).unwrap_or(u32::MAX),
        ..Request::default()
    }
}

fn write_by(operation: Operation, setup: u32, flags: u8, socket: RawFd, bytes: &[u8]) -> Result<()> {
    all(bytes, |rest| {
        let request = request(operation, socket, rest.as_ptr(), rest.len());
        with(setup, |ring| ring.call(Request { flags, ..request }))
    })
}

fn read_by(operation: Operation, setup: u32, flags: u8, socket: RawFd, bytes: &mut [u8]) -> Result<()> {
    fill(bytes, |rest| {
        let request = request(operation, socket, rest.as_mut_ptr(), rest.len());
        let n = with(setup, |ring| ring.call(Request { flags, ..request }))?;
        ended(isize::try_from(n).unwrap_or_default())
    })
}

pub(super) fn send(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    write_by(Operation::Send, 0, 0, socket, bytes)
}

pub(super) fn recv(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    read_by(Operation::Recv, 0, 0, socket, bytes)
}

pub(super) fn write(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    write_by(Operation::Write, 0, 0, socket, bytes)
}

pub(super) fn read(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    read_by(Operation::Read, 0, 0, socket, bytes)
}

pub(super) fn zero_copy(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    write_by(Operation::SendZeroCopy, 0, 0, socket, bytes)
}

pub(super) fn send_polled(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    write_by(Operation::Send, SETUP_POLLED, 0, socket, bytes)
}

pub(super) fn recv_polled(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    read_by(Operation::Recv, SETUP_POLLED, 0, socket, bytes)
}

pub(super) fn send_async(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    write_by(Operation::Send, 0, BY_WORKER, socket, bytes)
}

pub(super) fn recv_async(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    read_by(Operation::Recv, 0, BY_WORKER, socket, bytes)
}

/// One piece, as an array of pieces or a message has it.
fn piece(at: *const u8, length: usize) -> [libc::iovec; 1] {
    [libc::iovec {
        iov_base: at.cast_mut().cast(),
        iov_len: length,
    }]
}

fn with_pieces(operation: Operation, socket: RawFd, at: *const u8, length: usize) -> Result<usize> {
    let pieces = piece(at, length);
    with(0, |ring| {
        ring.call(request(operation, socket, pieces.as_ptr().cast(), 1))
    })
}

fn with_message(operation: Operation, socket: RawFd, at: *const u8, length: usize) -> Result<usize> {
    let mut pieces = piece(at, length);
    let message = plain::message(&mut pieces);
    let at = (&raw const message).cast();
    with(0, |ring| ring.call(request(operation, socket, at, 1)))
}

pub(super) fn writev(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| {
        with_pieces(Operation::Writev, socket, rest.as_ptr(), rest.len())
    })
}

pub(super) fn readv(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        with_pieces(Operation::Readv, socket, rest.as_mut_ptr(), rest.len())
    })
}

pub(super) fn sendmsg(socket: RawFd, bytes: &[u8], _: usize) -> Result<()> {
    all(bytes, |rest| {
        with_message(Operation::Sendmsg, socket, rest.as_ptr(), rest.len())
    })
}

pub(super) fn recvmsg(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        with_message(Operation::Recvmsg, socket, rest.as_mut_ptr(), rest.len())
    })
}

/// Asks for bytes before they are there, and then waits in `read` for something else: the bytes are moved while the
/// registers say that it is `read`, and where to.
pub(super) fn recv_meanwhile(socket: RawFd, bytes: &mut [u8], _: usize) -> Result<()> {
    fill(bytes, |rest| {
        let n = with(0, |ring| {
            ring.submit(request(Operation::Recv, socket, rest.as_mut_ptr(), rest.len()), 0)?;
            let (mut mine, mut other) = UnixStream::pair()?;
            let done = {
                let Parameters { completion, .. } = &ring.parameters;
                [completion.head, completion.tail].map(|offset| Ring::counter(ring.completions, offset))
            };
            thread::scope(|scope| -> Result<()> {
                scope.spawn(move || {
                    while done[0].load(Ordering::Acquire) == done[1].load(Ordering::Acquire) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    other.write_all(b"!")
                });
                // as many bytes as the receive asked for, so that a wrong guess finds all it wants
                let mut decoy = vec![b'#'; rest.len()];
                mine.read(&mut decoy).map(drop)
            })?;
            bytes_of(ring)
        })?;
        ended(isize::try_from(n).unwrap_or_default())
    })
}

fn bytes_of(ring: &Ring) -> Result<usize> {
    let (result, _) = ring.wait()?;
    bytes(result)
}
