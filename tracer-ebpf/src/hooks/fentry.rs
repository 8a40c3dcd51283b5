//! Capture strategy `fentry`: entry and exit of the functions that send and receive on a TCP socket.
//!
//! `int tcp_sendmsg(sk, msg, size)` and `int tcp_recvmsg(sk, msg, len, flags, …)` (net/ipv4/tcp.c): the first four
//! parameters are the same from Linux 5.19 on, those behind them are not (7.2 has no `addr_len`), so the result is asked for and not
//! taken from its place behind them. Needs trampolines: some kernels are built without, or refuse them.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_func_ret,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use tracer_abi::Direction;

use crate::capture;

/// A send begins. Also used beside the socket tracepoints, where those do not tell of it.
#[fentry(function = "tcp_sendmsg")]
pub(crate) fn fentry_send_started(ctx: FEntryContext) -> i32 {
    capture::send_started(ctx.arg(0));
    0
}

/// A send ends.
#[fexit(function = "tcp_sendmsg")]
pub(crate) fn fentry_sent(ctx: FExitContext) -> i32 {
    moved(&ctx, Direction::SEND, 0);
    0
}

/// A receive ends.
#[fexit(function = "tcp_recvmsg")]
pub(crate) fn fentry_received(ctx: FExitContext) -> i32 {
    moved(&ctx, Direction::RECV, ctx.arg(3));
    0
}

#[inline(always)]
fn moved(ctx: &FExitContext, direction: Direction, flags: i32) {
    let sk: *mut c_void = ctx.arg(0);
    // SAFETY: the first argument of both functions is a TCP socket.
    unsafe { capture::returned(sk, direction, returned(ctx), flags) };
}

/// What the function returned.
///
/// VERIFIER: without a look at the helper's own result, which is always 0 at the exit of a function. The verifier of Linux
/// 6.1 takes the two for one value where both are looked at, and then believes that everything behind is never run.
#[inline(always)]
fn returned(ctx: &FExitContext) -> i32 {
    let mut value = 0u64;
    // SAFETY: the context of this program, and 8 bytes of our stack.
    unsafe { bpf_get_func_ret(ctx.as_ptr(), &raw mut value) };
    // SAFETY: it lives on; volatile, because the compiler knows of no write.
    unsafe { core::ptr::read_volatile(&raw const value) as i32 }
}
