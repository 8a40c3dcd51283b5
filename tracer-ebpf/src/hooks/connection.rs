//! Connections that begin and end, in every strategy.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::{Direction, Role};

use crate::{
    capture,
    socket::{self, is_tcp},
};

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
