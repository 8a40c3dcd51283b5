//! Capture strategy `socktrace`: the socket tracepoints, as typed BTF tracepoints.
//!
//! `sock_send_length(sk, ret, flags)` and `sock_recv_length(sk, ret, flags)` fire once per call on any socket, after
//! the bytes were copied (Linux 6.3 and later, include/trace/events/sock.h). Nothing is hooked on the system call
//! path itself, so that a process without sockets pays nothing.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{Direction, Role};

use crate::{
    capture,
    socket::{self, is_tcp},
};

/// Bytes stay in the receive queue.
const MSG_PEEK: i32 = 0x2;
/// Bytes are thrown away instead of copied.
const MSG_TRUNC: i32 = 0x20;
/// No stream bytes at all: the error queue.
const MSG_ERRQUEUE: i32 = 0x2000;

#[inline(always)]
fn moved(ctx: &BtfTracePointContext, direction: Direction) {
    let sk: *mut c_void = ctx.arg(0);
    let ret: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    // SAFETY: the first argument of both tracepoints is a socket.
    if !unsafe { is_tcp(sk) } {
        return;
    }
    if ret <= 0 {
        capture::nothing_moved(sk, direction);
        return;
    }
    let received = direction == Direction::RECV;
    if received && flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let readable = !(received && flags & MSG_TRUNC != 0);
    // SAFETY: as above, and it is a TCP socket.
    unsafe { capture::operation(sk, direction, ret as u64, readable) };
}

/// After each send on any socket.
#[btf_tracepoint(function = "sock_send_length")]
pub(crate) fn socktrace_sent(ctx: BtfTracePointContext) -> i32 {
    moved(&ctx, Direction::SEND);
    0
}

/// After each receive on any socket.
#[btf_tracepoint(function = "sock_recv_length")]
pub(crate) fn socktrace_received(ctx: BtfTracePointContext) -> i32 {
    moved(&ctx, Direction::RECV);
    0
}

/// When a send starts to fill a buffer (Linux 6.16 and later). Where it is missing, a send starts when it ends.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub(crate) fn socktrace_send_started(ctx: BtfTracePointContext) -> i32 {
    capture::send_started(ctx.arg(0));
    0
}

/// When a connection is established: its streams start here.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn connection_state(ctx: BtfTracePointContext) -> i32 {
    const ESTABLISHED: i32 = 1;
    const SYN_SENT: i32 = 2;
    const SYN_RECV: i32 = 3;
    let sk: *mut c_void = ctx.arg(0);
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    let role = match old {
        SYN_SENT => Role::CLIENT,
        SYN_RECV => Role::SERVER,
        _ => return 0,
    };
    // SAFETY: the first argument of the tracepoint is a socket.
    if new == ESTABLISHED && unsafe { is_tcp(sk) } {
        established(sk, role);
    }
    0
}

#[inline(always)]
fn established(sk: *mut c_void, role: Role) {
    let Some(conn) = socket::get_or_create(sk) else {
        return;
    };
    conn.role = role;
    conn.from_start = 1;
    conn.sent.begin(sk, Direction::SEND);
    conn.received.begin(sk, Direction::RECV);
    // data that a fast open put into the SYN was started before this; it is not a client of ours
    conn.send_start_ns = 0;
}

/// When a TCP socket is destroyed, after its last byte.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub(crate) fn connection_destroyed(ctx: BtfTracePointContext) -> i32 {
    capture::closed(ctx.arg(0));
    0
}
