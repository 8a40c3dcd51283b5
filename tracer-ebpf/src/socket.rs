//! The state that lives with a socket (`BPF_MAP_TYPE_SK_STORAGE`): it goes when the socket goes.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::SkStorage,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_storage_get},
    macros::btf_map,
};
use tracer_abi::{Direction, PREFIX, Role};

use crate::follow::{Follow, WINDOW};
use crate::kernel::{COPIED_SEQ, SK_PROTOCOL, SKC_FAMILY, SKC_STATE, WRITE_SEQ, member, trusted};

/// `AF_INET`
pub(crate) const IPV4: u16 = 2;
/// `AF_INET6`
pub(crate) const IPV6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// What is known about a connection's protocol.
pub(crate) mod verdict {
    /// Not judged yet.
    pub(crate) const OPEN: u8 = 0;
    /// RocketMQ remoting.
    pub(crate) const OURS: u8 = 1;
    /// Something else, for good.
    pub(crate) const FOREIGN: u8 = 2;
    /// The broker's end of a RocketMQ connection: known, and not copied.
    pub(crate) const QUIET: u8 = 3;
}

/// One direction of a connection. Zero means: nothing seen.
#[repr(C)]
pub(crate) struct Way {
    /// Stream offset behind the last byte seen.
    pub(crate) end: u64,
    /// TCP sequence number that belongs to `end`.
    seq: u32,
    /// `seq` and `end` are set.
    known: u8,
    /// Bytes in `prefix`.
    pub(crate) held: u8,
    pub(crate) unused: u16,
    /// The bytes just before `end`, kept until the connection is judged: some clients write or read the first
    /// four bytes of a frame on their own. At most [`PREFIX`] are used.
    ///
    /// VERIFIER: twice as long, because it does not relate "bytes held" and "bytes to add": each alone is at most
    /// [`PREFIX`].
    pub(crate) prefix: [u8; 2 * PREFIX],
    /// The place in the stream, once judged.
    pub(crate) follow: Follow,
    /// Bytes at the end of the last operation that the next decision of `follow` needs.
    pub(crate) window: [u8; WINDOW],
}

/// A TCP socket.
#[repr(C)]
pub(crate) struct Conn {
    /// `bpf_get_socket_cookie`; 0: not asked yet.
    pub(crate) cookie: u64,
    /// Start of the send that is under way; 0: none, or not known.
    pub(crate) send_start_ns: u64,
    /// 0 until somebody emitted the OPEN record: the two directions may be judged at the same time.
    pub(crate) opened: u64,
    pub(crate) sent: Way,
    pub(crate) received: Way,
    /// The process that used it last.
    pub(crate) tgid: u32,
    /// Operations that did not start a frame, while not judged.
    pub(crate) tries: u16,
    /// One of [`verdict`].
    pub(crate) verdict: u8,
    /// A [`Role`].
    pub(crate) role: Role,
    /// 1: established under our eyes, so offset 0 is the first byte.
    pub(crate) from_start: u8,
    pub(crate) unused: [u8; 7],
}

#[btf_map]
static SOCKETS: SkStorage<Conn> = SkStorage::new();

/// Is this a TCP socket over IPv4 or IPv6?
///
/// # Safety
/// `sk` must be a `struct sock *` argument of the running program.
#[inline(always)]
pub(crate) unsafe fn is_tcp(sk: *const c_void) -> bool {
    // SAFETY: by the contract above.
    let family: u16 = unsafe { trusted(sk, &SKC_FAMILY) };
    if family != IPV4 && family != IPV6 {
        return false;
    }
    // SAFETY: as above.
    let protocol: u16 = unsafe { trusted(sk, &SK_PROTOCOL) };
    protocol == IPPROTO_TCP
}

/// The state of a socket, if it has one.
#[inline(always)]
pub(crate) fn existing(sk: *mut c_void) -> Option<&'static mut Conn> {
    storage(sk, 0)
}

/// The state of a socket; made, all zero, where there is none.
#[inline(always)]
pub(crate) fn get_or_create(sk: *mut c_void) -> Option<&'static mut Conn> {
    const BPF_SK_STORAGE_GET_F_CREATE: u64 = 1;
    storage(sk, BPF_SK_STORAGE_GET_F_CREATE)
}

#[inline(always)]
fn storage(sk: *mut c_void, flags: u64) -> Option<&'static mut Conn> {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: `sk` is checked by the verifier (trusted or null); no initial value is given.
    let value = unsafe { bpf_sk_storage_get(map, sk.cast(), core::ptr::null_mut(), flags) }.cast::<Conn>();
    if value.is_null() {
        return None;
    }
    // SAFETY: a non-null value lives as long as the program runs. Two programs may hold it at once, for the two
    // directions: they touch different `Way`s, and `opened` by atomic exchange.
    Some(unsafe { &mut *value })
}

impl Conn {
    /// The state of one direction.
    #[inline(always)]
    pub(crate) fn way(&mut self, direction: Direction) -> &mut Way {
        if direction == Direction::SEND {
            &mut self.sent
        } else {
            &mut self.received
        }
    }

    /// Fills in the socket's cookie at first use.
    #[inline(always)]
    pub(crate) fn identify(&mut self, sk: *mut c_void) {
        if self.cookie == 0 {
            // SAFETY: `sk` is checked by the verifier.
            self.cookie = unsafe { bpf_get_socket_cookie(sk.cast()) };
        }
    }
}

impl Way {
    /// Sets offset 0 to the socket's present position: it was just established.
    #[inline(always)]
    pub(crate) fn begin(&mut self, sk: *const c_void, direction: Direction) {
        self.seq = sequence(sk, direction);
        self.known = 1;
    }

    /// Moves behind an operation of `length` bytes and returns the offset of its first byte. The kernel's own
    /// sequence number decides, so that bytes which went past the hooks leave a hole of the right size.
    #[inline(always)]
    pub(crate) fn advance(&mut self, sk: *const c_void, direction: Direction, length: u64) -> u64 {
        let seq = sequence(sk, direction);
        let mut moved = if self.known == 0 {
            length
        } else {
            u64::from(seq.wrapping_sub(self.seq))
        };
        // a receive that takes the last bytes and the FIN behind them counts the FIN as one more
        if direction == Direction::RECV && moved == length + 1 && has_ended(sk) {
            moved = length;
        }
        self.known = 1;
        self.seq = seq;
        self.end += moved;
        self.end.saturating_sub(length)
    }
}

/// The sequence number behind the last byte that the process wrote or read.
#[inline(always)]
fn sequence(sk: *const c_void, direction: Direction) -> u32 {
    let offset = if direction == Direction::SEND {
        &WRITE_SEQ
    } else {
        &COPIED_SEQ
    };
    // `struct sock` is the start of `struct tcp_sock`
    member(sk, offset).unwrap_or(0)
}

/// The peer has sent its FIN.
#[inline(always)]
fn has_ended(sk: *const c_void) -> bool {
    const TCP_ESTABLISHED: u8 = 1;
    const TCP_FIN_WAIT1: u8 = 4;
    const TCP_FIN_WAIT2: u8 = 5;
    let state: u8 = member(sk, &SKC_STATE).unwrap_or(TCP_ESTABLISHED);
    !matches!(state, TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2)
}
