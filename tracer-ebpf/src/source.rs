//! Where the bytes of an operation are in user memory.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::{bpf_probe_read_user_buf, generated::bpf_probe_read_user};
use tracer_abi::{Counter, IOVECS, PREFIX};

use crate::{
    counters::count,
    kernel::{Syscall, arch},
    verifier::{at_most, forget},
};

/// User memory: one buffer, an array of `struct iovec`, or nothing readable.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Source {
    /// The buffer, or the array; 0: nothing.
    pub(crate) address: u64,
    /// Entries of the array; 0: one buffer.
    pub(crate) vectors: u64,
}

/// One `struct iovec`.
#[derive(Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) base: u64,
    pub(crate) length: u64,
}

impl Source {
    /// Nothing.
    pub(crate) const NONE: Source = Source {
        address: 0,
        vectors: 0,
    };

    /// From the registers of the running system call. Calls that are not listed (`sendfile`, `splice`,
    /// `io_uring_enter`, …) move bytes that no register points to.
    #[inline(always)]
    pub(crate) fn of_syscall() -> Source {
        let Some(call) = Syscall::current() else {
            return Source::NONE;
        };
        match call.number {
            arch::READ | arch::WRITE | arch::SENDTO | arch::RECVFROM => Source {
                address: call.second,
                vectors: 0,
            },
            arch::READV | arch::WRITEV | arch::PREADV2 | arch::PWRITEV2 => {
                Source::vectors(call.second, call.third)
            }
            arch::SENDMSG | arch::RECVMSG => {
                // struct user_msghdr: msg_iov at 16, msg_iovlen at 24 (ABI)
                match read_pair(call.second + 16) {
                    Some(Vector { base, length }) => Source::vectors(base, length),
                    None => Source::NONE,
                }
            }
            _ => Source::NONE,
        }
    }

    #[inline(always)]
    fn vectors(address: u64, count: u64) -> Source {
        // the kernel refuses more than UIO_MAXIOV
        let vectors = if count < IOVECS { count } else { IOVECS };
        if vectors == 0 {
            Source::NONE
        } else {
            Source { address, vectors }
        }
    }
}

/// Two words of user memory: an iovec, or two members of a msghdr.
#[inline(always)]
pub(crate) fn read_pair(at: u64) -> Option<Vector> {
    // not set to zero first: the compiler calls a function for that
    let mut pair = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: the helper checks the user address; the destination is 16 bytes of our stack.
    let failed = unsafe { bpf_probe_read_user(pair.as_mut_ptr().cast(), 16, at as *const c_void) } != 0;
    if failed {
        count(Counter::UserFault, 1);
        return None;
    }
    // SAFETY: the helper has filled it, with zeros where it failed.
    let [base, length] = unsafe { pair.assume_init() };
    Some(Vector { base, length })
}

/// Segments of an operation that are looked at for the start of a frame.
const SEGMENTS: u64 = 4;

/// Copies the first bytes of an operation of `length` bytes behind the first `have` bytes of `into`, until there
/// are [`PREFIX`]; returns how many there are then.
#[inline(always)]
pub(crate) fn read_prefix(source: Source, length: u64, into: &mut [u8; 2 * PREFIX], have: usize) -> usize {
    let have = fill_prefix(source, length, into, have as u64);
    at_most(forget(have, source.address), PREFIX as u64) as usize
}

#[inline(always)]
fn fill_prefix(source: Source, length: u64, into: &mut [u8; 2 * PREFIX], mut have: u64) -> u64 {
    let mut left = if source.address == 0 { 0 } else { length };
    let mut i = 0;
    // VERIFIER: a constant bound, and each turn costs. Clients that gather write a frame from three segments (head,
    // header, body).
    while i < SEGMENTS && have < PREFIX as u64 && left != 0 {
        let segment = if source.vectors == 0 {
            Vector {
                base: source.address,
                length: left,
            }
        } else if i < source.vectors {
            let Some(vector) = read_pair(source.address + i * 16) else {
                return have;
            };
            vector
        } else {
            return have;
        };
        i += 1;
        let room = PREFIX as u64 - have;
        let n = if segment.length < left {
            segment.length
        } else {
            left
        };
        let n = if n < room { n } else { room };
        if n == 0 {
            continue;
        }
        // VERIFIER: both bounds, each by itself, right before the call; see `Way::prefix`.
        have = at_most(forget(have, source.address), PREFIX as u64);
        let n = at_most(forget(n, source.address), PREFIX as u64);
        let Some(target) = into.get_mut(have as usize..(have + n) as usize) else {
            return have;
        };
        // SAFETY: the helper checks the user address.
        if unsafe { bpf_probe_read_user_buf(segment.base as *const u8, target) }.is_err() {
            count(Counter::UserFault, 1);
            return have;
        }
        have += n;
        left = forget(left - n, source.address);
        if source.vectors == 0 {
            break;
        }
    }
    have
}

/// A big-endian `u32` that lies `at` bytes into an operation with a single buffer.
#[inline(always)]
pub(crate) fn read_u32(source: Source, length: u64, at: u64) -> Option<u32> {
    if source.vectors != 0 || at + 4 > length {
        return None;
    }
    let mut bytes = [0u8; 4];
    // SAFETY: the helper checks the user address.
    unsafe { bpf_probe_read_user_buf((source.address + at) as *const u8, &mut bytes) }.ok()?;
    Some(u32::from_be_bytes(bytes))
}
