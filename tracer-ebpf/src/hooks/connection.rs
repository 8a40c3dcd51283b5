//! Connections that begin and end, in every strategy.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_abi::Role;

use crate::{
    capture,
    socket::{is_tcp, tcp},
};

/// When a connection is established, where its streams start; and when it ends, where they end.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn connection_state(ctx: BtfTracePointContext) -> i32 {
    let sk: *mut c_void = ctx.arg(0);
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    let role = match old {
        tcp::SYN_SENT => Role::CLIENT,
        tcp::SYN_RECV => Role::SERVER,
        _ => Role::UNKNOWN,
    };
    // SAFETY: the first argument of the tracepoint is a socket.
    if !unsafe { is_tcp(sk) } {
        return 0;
    }
    if role == Role::UNKNOWN {
        capture::moved_on(sk, old, new);
    } else if new == tcp::ESTABLISHED {
        capture::established(sk, role);
    }
    0
}

/// When a TCP socket is destroyed, after its last byte.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub(crate) fn connection_destroyed(ctx: BtfTracePointContext) -> i32 {
    capture::closed(ctx.arg(0));
    0
}
