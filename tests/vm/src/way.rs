//! The ways in which a client's bytes can move, and what the tracer is to make of each.
//!
//! Every way plays a whole recorded scenario: a row of [`WAYS`] says with which calls, over what socket, and by whom.

mod aio;
mod batches;
mod flags;
mod gather;
mod hands;
mod memory;
mod opening;
mod pipes;
mod plain;
mod threads;
mod uring;

use std::{
    io::{Error, Result},
    os::fd::{OwnedFd, RawFd},
};

pub(crate) use self::{
    flags::small_window,
    hands::{Hands, Maker, fork_on, keep},
    opening::{allow as allow_fast_open, fast_open},
};

/// Writes all of these bytes; the number is that of the step.
type Send = fn(RawFd, &[u8], usize) -> Result<()>;
/// Fills the buffer, which the server writes that many bytes for.
type Receive = fn(RawFd, &mut [u8], usize) -> Result<()>;

/// What the tracer sees of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sees {
    /// What it sees of ordinary calls.
    All,
    /// All but what stands in calls of which it only sees the length, or not even the call: these are declared.
    Some,
    /// Nothing, not even that it is RocketMQ: the connections are never recognised.
    Nothing,
}

impl Sees {
    /// A word for the outcome.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Sees::All => "all",
            Sees::Some => "some",
            Sees::Nothing => "nothing",
        }
    }
}

/// A way.
pub(crate) struct Way {
    /// What it is called, here and on the page about kernels.
    pub(crate) name: &'static str,
    /// What the tracer is to see.
    pub(crate) sees: Sees,
    /// What is played: the end of a capture's name.
    pub(crate) scenario: &'static str,
    /// After the socket was made, before it is connected.
    pub(crate) socket: fn(RawFd) -> Result<()>,
    /// How the connection is opened.
    pub(crate) open: Open,
    /// How bytes are written.
    send: Send,
    /// How they are read.
    receive: Receive,
    /// Half of the calls are ordinary ones, the first of each connection among them.
    mixed: bool,
    /// Who does it.
    pub(crate) hands: Hands,
    /// How the connection ends.
    pub(crate) end: End,
    /// What the server waits for.
    pub(crate) server: Pace,
}

/// How a connection is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// `connect`.
    Connect,
    /// TCP fast open: with the first bytes in the SYN.
    InSyn,
    /// The same without waiting for the answer.
    InSynAtOnce,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `close`.
    Close,
    /// `shutdown` of the writing side behind the last bytes; answers still come.
    Half,
    /// `close` that sends a reset (`SO_LINGER` of 0), while bytes from the server are not read.
    Reset,
}

/// What the server does before its part of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing.
    Prompt,
    /// It writes when the client already waits.
    Late,
    /// It reads when the client cannot write any more.
    Slow,
}

/// The ordinary way; the others are told by what is different.
const PLAIN: Way = Way {
    name: "read, readv, recvfrom, recvmsg, write, writev, sendto, sendmsg in turn",
    sees: Sees::All,
    scenario: "batch-sends",
    socket: nothing,
    open: Open::Connect,
    send: plain::send,
    receive: plain::receive,
    mixed: false,
    hands: Hands::Own,
    end: End::Close,
    server: Pace::Prompt,
};

/// The same with bodies of 300 KB, which no call moves at once.
const LARGE: Way = Way {
    name: "the same with frames of 300 KB",
    scenario: "bodies-of-300-KB",
    ..PLAIN
};

/// Every second call of this kind is one of which no register of the system call tells where the bytes are.
const UNSEEN: Way = Way {
    sees: Sees::Some,
    mixed: true,
    ..PLAIN
};

/// All ways. The first of each scenario shows what ordinary calls let the tracer see.
pub(crate) const WAYS: &[Way] = &[
    PLAIN,
    LARGE,
    Way {
        name: "preadv2, pwritev2 at the present position",
        send: gather::pwritev2,
        receive: gather::preadv2,
        ..PLAIN
    },
    Way {
        name: "hundreds of pieces, some of them empty",
        send: gather::send,
        receive: gather::receive,
        ..PLAIN
    },
    Way {
        name: "hundreds of pieces of large frames",
        send: gather::send,
        receive: gather::receive,
        ..LARGE
    },
    Way {
        name: "MSG_PEEK before each read",
        receive: flags::peek,
        ..PLAIN
    },
    Way {
        name: "MSG_WAITALL",
        receive: flags::wait_all,
        ..PLAIN
    },
    Way {
        name: "MSG_WAITALL of large frames",
        receive: flags::wait_all,
        server: Pace::Late,
        ..LARGE
    },
    Way {
        name: "MSG_TRUNC: bytes thrown away",
        receive: flags::throw_away,
        ..UNSEEN
    },
    Way {
        name: "MSG_MORE, MSG_EOR and empty writes",
        send: flags::more,
        ..PLAIN
    },
    Way {
        name: "MSG_ZEROCOPY",
        socket: flags::allow_zero_copy,
        send: flags::zero_copy,
        ..LARGE
    },
    Way {
        name: "SO_RCVLOWAT",
        receive: flags::low_water,
        server: Pace::Late,
        ..PLAIN
    },
    Way {
        name: "non-blocking, EAGAIN",
        socket: flags::small_buffer,
        send: flags::partly,
        receive: flags::again,
        server: Pace::Late,
        ..PLAIN
    },
    Way {
        name: "non-blocking, partial writes",
        socket: flags::small_buffer,
        send: flags::partly,
        receive: flags::again,
        ..LARGE
    },
    Way {
        name: "blocking with a small buffer",
        socket: flags::small_buffer,
        server: Pace::Slow,
        ..LARGE
    },
    Way {
        name: "TCP fast open",
        open: Open::InSyn,
        ..PLAIN
    },
    Way {
        name: "TCP fast open, non-blocking",
        open: Open::InSynAtOnce,
        ..PLAIN
    },
    Way {
        name: "another descriptor for each call (dup)",
        send: threads::send_by_copy,
        receive: threads::receive_by_copy,
        ..PLAIN
    },
    Way {
        name: "a thread that writes and one that reads",
        send: threads::send,
        receive: threads::receive,
        ..PLAIN
    },
    Way {
        name: "two threads that write in turn under a lock",
        send: threads::send_in_turn,
        ..PLAIN
    },
    Way {
        name: "a forked process goes on",
        hands: Hands::Forked,
        ..PLAIN
    },
    Way {
        name: "another program goes on (exec)",
        hands: Hands::Replaced,
        ..PLAIN
    },
    Way {
        name: "sockets from another process (SCM_RIGHTS)",
        hands: Hands::Passed,
        ..PLAIN
    },
    Way {
        name: "half close",
        end: End::Half,
        ..PLAIN
    },
    Way {
        name: "reset with bytes unread",
        end: End::Reset,
        ..PLAIN
    },
    Way {
        name: "sendmmsg, recvmmsg",
        send: batches::send,
        receive: batches::receive,
        ..UNSEEN
    },
    Way {
        name: "sendfile",
        send: pipes::send_file,
        ..UNSEEN
    },
    Way {
        name: "sendfile of large frames",
        scenario: "bodies-of-300-KB",
        send: pipes::send_file,
        ..UNSEEN
    },
    Way {
        name: "splice in and out",
        send: pipes::splice_in,
        receive: pipes::splice_out,
        ..UNSEEN
    },
    Way {
        name: "vmsplice and splice",
        send: pipes::vmsplice_in,
        ..UNSEEN
    },
    Way {
        name: "aio",
        send: aio::send,
        receive: aio::receive,
        ..UNSEEN
    },
    Way {
        name: "io_uring: send, recv",
        send: uring::send,
        receive: uring::recv,
        ..UNSEEN
    },
    Way {
        name: "io_uring: sendmsg, recvmsg",
        send: uring::sendmsg,
        receive: uring::recvmsg,
        ..UNSEEN
    },
    Way {
        name: "io_uring: write, read",
        send: uring::write,
        receive: uring::read,
        ..UNSEEN
    },
    Way {
        name: "io_uring: writev, readv of large frames",
        scenario: "bodies-of-300-KB",
        send: uring::writev,
        receive: uring::readv,
        ..UNSEEN
    },
    Way {
        name: "io_uring: zero-copy send",
        send: uring::zero_copy,
        ..UNSEEN
    },
    Way {
        name: "io_uring: in a thread of the kernel (SQPOLL)",
        send: uring::send_polled,
        receive: uring::recv_polled,
        ..UNSEEN
    },
    Way {
        name: "io_uring: in a worker thread (IOSQE_ASYNC)",
        send: uring::send_async,
        receive: uring::recv_async,
        ..UNSEEN
    },
    Way {
        name: "io_uring: received while another call waits",
        receive: uring::recv_meanwhile,
        server: Pace::Late,
        ..UNSEEN
    },
    Way {
        name: "io_uring for every byte",
        sees: Sees::Nothing,
        send: uring::send,
        receive: uring::recv,
        ..PLAIN
    },
    Way {
        name: "memory given back during the call (MADV_DONTNEED)",
        sees: Sees::Some,
        socket: flags::small_buffer,
        send: memory::dropped,
        server: Pace::Slow,
        ..LARGE
    },
    Way {
        name: "memory moved away during the call (mremap)",
        sees: Sees::Some,
        socket: flags::small_buffer,
        send: memory::moved_away,
        server: Pace::Slow,
        ..LARGE
    },
];

impl Way {
    /// The way of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Way> {
        WAYS.iter().find(|way| way.name == name)
    }

    /// Writes; `call` counts the calls of the connection.
    pub(crate) fn send(&self, socket: RawFd, bytes: &[u8], step: usize, call: usize) -> Result<()> {
        let send = if self.is_ordinary(call) {
            plain::send
        } else {
            self.send
        };
        send(socket, bytes, step)
    }

    /// Reads.
    pub(crate) fn receive(&self, socket: RawFd, length: usize, step: usize, call: usize) -> Result<Vec<u8>> {
        let receive = if self.is_ordinary(call) {
            plain::receive
        } else {
            self.receive
        };
        let mut bytes = vec![0; length];
        receive(socket, &mut bytes, step)?;
        Ok(bytes)
    }

    /// Of four calls, the first and the last.
    fn is_ordinary(&self, call: usize) -> bool {
        self.mixed && matches!(call % 4, 0 | 3)
    }
}

fn nothing(_: RawFd) -> Result<()> {
    Ok(())
}

/// The bytes that a call moved, or its error.
fn moved(n: isize) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::last_os_error())
}

/// The same of a call that reads, where the end of the stream is an error too.
fn read(n: isize) -> Result<usize> {
    match moved(n)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

/// The result of a call that gives a number.
fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A new descriptor.
fn owned(result: libc::c_int) -> Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Sets a number as an option of a socket.
fn set(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: the value lives on, and has the length that is said.
    check(unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Calls until all of the bytes have moved.
fn all(mut bytes: &[u8], mut call: impl FnMut(&[u8]) -> Result<usize>) -> Result<()> {
    while !bytes.is_empty() {
        let n = call(bytes)?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Calls until the buffer is full.
fn fill(mut bytes: &mut [u8], mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
    while !bytes.is_empty() {
        let n = call(bytes)?;
        bytes = &mut bytes[n..];
    }
    Ok(())
}
