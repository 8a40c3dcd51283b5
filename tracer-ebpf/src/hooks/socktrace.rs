//! Capture strategy `socktrace`: the socket tracepoints, as typed BTF tracepoints.
//!
//! `sock_send_length(sk, ret, flags)` and `sock_recv_length(sk, ret, flags)` fire once per call on any socket, after
//! the bytes were copied (Linux 6.3 and later, include/trace/events/sock.h). Nothing is hooked on the system call
//! path itself, so that a process without sockets pays nothing.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::Direction;

use crate::{capture, socket::is_tcp};

#[inline(always)]
fn moved(ctx: &BtfTracePointContext, direction: Direction) {
    let sk: *mut c_void = ctx.arg(0);
    // SAFETY: the first argument of both tracepoints is a socket.
    if unsafe { is_tcp(sk) } {
        // SAFETY: as above, and it is a TCP socket.
        unsafe { capture::returned(sk, direction, ctx.arg(1), ctx.arg(2)) };
    }
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
