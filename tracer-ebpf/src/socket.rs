//! The state that lives with a socket (`BPF_MAP_TYPE_SK_STORAGE`): it goes when the socket goes.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::SkStorage,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_storage_get},
    macros::btf_map,
};
use tracer_abi::{Direction, PREFIX, Role};

use crate::{
    follow::{Follow, WINDOW},
    kernel::{
        BYTES_SENT, COPIED_SEQ, RCV_NXT, SK_PROTOCOL, SKC_FAMILY, SKC_FLAGS, SOCK_DONE, WRITE_SEQ, member,
        trusted,
    },
    scratch::exchange,
};

/// `AF_INET`
pub(crate) const IPV4: u16 = 2;
/// `AF_INET6`
pub(crate) const IPV6: u16 = 10;
const IPPROTO_TCP: u16 = 6;

/// States of a TCP socket (include/net/tcp_states.h), which the kernel keeps as they are for programs like this one: `BPF_TCP_ESTABLISHED` and others
/// (include/uapi/linux/bpf.h).
pub(crate) mod tcp {
    pub(crate) const ESTABLISHED: i32 = 1;
    pub(crate) const SYN_SENT: i32 = 2;
    pub(crate) const SYN_RECV: i32 = 3;
    pub(crate) const FIN_WAIT1: i32 = 4;
    pub(crate) const CLOSE: i32 = 7;
    pub(crate) const CLOSE_WAIT: i32 = 8;
    pub(crate) const LAST_ACK: i32 = 9;
}

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
    /// 1 while a program is at work on this direction: see [`Way::enter`].
    busy: u64,
    /// Stream offset behind the last byte seen.
    pub(crate) end: u64,
    /// TCP sequence number that belongs to `end`.
    seq: u32,
    /// TCP sequence number behind the last byte there will ever be; holds if `over`.
    last: u32,
    /// `seq` and `end` are set.
    known: u8,
    /// Bytes in `prefix`.
    pub(crate) held: u8,
    /// 1: something of this direction was put into a record, or declared.
    pub(crate) begun: u8,
    /// 1: nothing is written any more, or the connection has ended.
    over: u8,
    unused: u32,
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
    /// 1: the last operation was that of a process that the filter denies.
    pub(crate) filtered: u8,
    unused: [u8; 6],
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

    /// The socket was just connected: its streams start here.
    #[inline(always)]
    pub(crate) fn begin(&mut self, sk: *const c_void, role: Role) {
        self.role = role;
        self.from_start = 1;
        // a fast open has put bytes into the SYN
        let early: u64 = member(sk, &BYTES_SENT).unwrap_or(0);
        self.sent
            .begin(sequence(sk, Direction::SEND).wrapping_sub(early as u32));
        self.received.begin(sequence(sk, Direction::RECV));
        // a send with a fast open began before this
        self.send_start_ns = 0;
    }

    /// The socket was connected before.
    #[inline(always)]
    pub(crate) fn has_ended(&self) -> bool {
        self.received.over != 0
    }

    /// Something was read from it.
    #[inline(always)]
    pub(crate) fn has_received(&self) -> bool {
        self.received.known != 0
    }

    /// A socket that was connected before is to be connected anew. Its number stays the same.
    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        self.send_start_ns = 0;
        self.opened = 0;
        self.tries = 0;
        self.verdict = verdict::OPEN;
        self.role = Role::UNKNOWN;
        self.from_start = 0;
        self.filtered = 0;
        self.sent.reset();
        self.received.reset();
    }

    /// The socket goes from one of the states of [`tcp`] to another one: where do its streams end?
    ///
    /// What is written ends where an established connection ceases to be one; a FIN is not counted yet then. What is read
    /// can go on until the socket is gone, but a connection that is cut off (`SO_LINGER` of 0) moves both numbers after this.
    #[inline(always)]
    pub(crate) fn moved_on(&mut self, sk: *const c_void, old: i32, new: i32) {
        let written = old == tcp::ESTABLISHED || old == tcp::CLOSE_WAIT;
        if written && (new == tcp::FIN_WAIT1 || new == tcp::LAST_ACK || new == tcp::CLOSE) {
            self.sent.ends(sequence(sk, Direction::SEND));
        }
        if new == tcp::CLOSE {
            self.received.ends(sequence(sk, Direction::RECV));
        }
    }

    /// The socket goes away: moves both directions behind the last byte there was, and returns how many bytes went past
    /// unseen at the end of each.
    #[inline(always)]
    pub(crate) fn finish(&mut self, sk: *const c_void) -> (u64, u64) {
        let written = sequence(sk, Direction::SEND).wrapping_sub(self.sent.last);
        // nothing but a FIN was added: so the number of what was read still counts what was read
        if self.sent.over != 0 && written <= 1 {
            self.received.ends(sequence(sk, Direction::RECV));
        }
        let sent = self.sent.finish();
        (sent, self.received.finish())
    }
}

impl Way {
    /// Takes this direction for the running program. False: another one has it, on another processor or below this one;
    /// leave the bytes alone then. The next operation finds from the sequence number that they went past.
    ///
    /// Threads that write to one socket without a lock come here at the same time.
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> bool {
        exchange(&raw mut self.busy, 1) == 0
    }

    /// Gives it back.
    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        // an exchange, because what was written before must be seen by who enters next
        exchange(&raw mut self.busy, 0);
    }

    /// Sets offset 0 to this position, unless bytes were already seen.
    #[inline(always)]
    fn begin(&mut self, seq: u32) {
        if self.known == 0 {
            self.seq = seq;
            self.known = 1;
        }
    }

    #[inline(always)]
    fn reset(&mut self) {
        self.end = 0;
        self.known = 0;
        self.held = 0;
        self.begun = 0;
        self.over = 0;
        self.follow = Follow::NONE;
    }

    #[inline(always)]
    fn ends(&mut self, seq: u32) {
        self.last = seq;
        self.over = 1;
    }

    /// Bytes between the last one seen and the last one there is.
    #[inline(always)]
    fn rest(&self) -> u64 {
        let rest = self.last.wrapping_sub(self.seq) as i32;
        if self.known != 0 && self.over != 0 && rest > 0 {
            rest as u64
        } else {
            0
        }
    }

    #[inline(always)]
    fn finish(&mut self) -> u64 {
        let rest = self.rest();
        self.end += rest;
        rest
    }

    /// Moves behind an operation of `length` bytes. The kernel's own sequence number decides, so that bytes which went
    /// past the hooks leave a hole of the right size before them.
    ///
    /// Returns the length, or 0 where it has moved by less: an operation that began later was here first and took these
    /// bytes for a hole.
    #[inline(always)]
    pub(crate) fn advance(&mut self, sk: *const c_void, direction: Direction, length: u64) -> u64 {
        let seq = sequence(sk, direction);
        let moved = if self.known == 0 {
            length
        } else {
            u64::from(seq.wrapping_sub(self.seq))
        };
        self.known = 1;
        self.seq = seq;
        self.end += moved;
        if moved < length { 0 } else { length }
    }
}

/// The sequence number behind the last byte that the process wrote or read.
#[inline(always)]
fn sequence(sk: *const c_void, direction: Direction) -> u32 {
    // `struct sock` is the start of `struct tcp_sock`
    if direction == Direction::SEND {
        return member(sk, &WRITE_SEQ).unwrap_or(0);
    }
    // the kernel counts a FIN that was read as one byte; in this order, because the flag comes last when it arrives
    let ended = has_ended(sk);
    let read: u32 = member(sk, &COPIED_SEQ).unwrap_or(0);
    if ended && member(sk, &RCV_NXT) == Some(read) {
        read.wrapping_sub(1)
    } else {
        read
    }
}

/// The peer's FIN has arrived, so it is counted in `rcv_nxt`.
#[inline(always)]
fn has_ended(sk: *const c_void) -> bool {
    let flags: u64 = member(sk, &SKC_FLAGS).unwrap_or(0);
    flags >> (SOCK_DONE.load() & 63) & 1 != 0
}
