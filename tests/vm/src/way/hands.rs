//! Who makes the calls, and sockets that go from one process to another.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    ptr::null_mut,
};

use super::{check, moved, plain};

/// Who plays a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hands {
    /// The process that opens the connections.
    Own,
    /// From the middle on, its child.
    Forked,
    /// From the middle on, another program in the same process.
    Replaced,
    /// Another process, which gets the sockets from the one that opens them.
    Passed,
}

/// Room for the control message of one descriptor, aligned.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// Gives a descriptor to the process at the other end.
pub(crate) fn give(to: &UnixStream, descriptor: RawFd) -> Result<()> {
    let mut control = Control([0; 32]);
    let mut word = [0_u8];
    let mut pieces = [piece(&mut word)];
    let mut message = plain::message(&mut pieces);
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: the buffer has room for a header and one descriptor, and the macros keep within it.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header)
            .cast::<RawFd>()
            .write_unaligned(descriptor);
        moved(libc::sendmsg(
            to.as_raw_fd(),
            &raw const message,
            libc::MSG_NOSIGNAL,
        ))
        .map(drop)
    }
}

/// Takes one.
pub(crate) fn take(from: &UnixStream) -> Result<OwnedFd> {
    let mut control = Control([0; 32]);
    let mut word = [0_u8];
    let mut pieces = [piece(&mut word)];
    let mut message = plain::message(&mut pieces);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: all buffers live on; a descriptor that comes is new, and nobody else has it.
    unsafe {
        moved(libc::recvmsg(from.as_raw_fd(), &raw mut message, 0))?;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Err(Error::new(ErrorKind::InvalidData, "no descriptor came"));
        }
        Ok(OwnedFd::from_raw_fd(
            libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned(),
        ))
    }
}

fn piece(word: &mut [u8; 1]) -> libc::iovec {
    libc::iovec {
        iov_base: word.as_mut_ptr().cast(),
        iov_len: 1,
    }
}

/// A process that makes something for this one, when it is told the number of it.
pub(crate) struct Maker {
    pid: libc::pid_t,
    line: UnixStream,
}

impl Maker {
    /// Starts it. This process must have one thread.
    pub(crate) fn start(make: impl Fn(usize) -> Result<OwnedFd>) -> Result<Maker> {
        let (line, mut mine) = UnixStream::pair()?;
        // SAFETY: this process has one thread, so the child may go on as it is.
        match check(unsafe { libc::fork() })? {
            0 => {
                drop(line);
                let mut number = [0; 8];
                while mine.read_exact(&mut number).is_ok() {
                    let made =
                        make(usize::from_le_bytes(number)).and_then(|made| give(&mine, made.as_raw_fd()));
                    if let Err(error) = made {
                        eprintln!("the process that opens connections: {error}");
                        std::process::exit(1);
                    }
                }
                std::process::exit(0)
            }
            pid => Ok(Maker { pid, line }),
        }
    }

    /// Has it made.
    pub(crate) fn make(&mut self, number: usize) -> Result<OwnedFd> {
        self.line.write_all(&number.to_le_bytes())?;
        take(&self.line)
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        let _ = self.line.shutdown(std::net::Shutdown::Both);
        // SAFETY: a child of this process that nobody else waits for; no status.
        unsafe { libc::waitpid(self.pid, null_mut(), 0) };
    }
}

/// Goes on in a child; the parent lets everything go, waits for it and ends as it does.
pub(crate) fn fork_on(let_go: impl FnOnce()) -> Result<()> {
    // SAFETY: this process has one thread, so the child may go on as it is.
    match check(unsafe { libc::fork() })? {
        0 => Ok(()),
        pid => {
            let_go();
            let mut status = 0;
            // SAFETY: a child of this process that nobody else waits for.
            check(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
            std::process::exit(i32::from(status != 0))
        }
    }
}

/// Lets a descriptor live on in the next program.
pub(crate) fn keep(descriptor: RawFd) -> Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) }).map(drop)
}
