//! Processes that end or replace their program, so that verdicts never apply to another program.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    emit, filter,
    kernel::{SIGNAL_LIVE, TASK_SIGNAL, current, member, now},
};

/// After a successful `exec`.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn process_exec(_ctx: BtfTracePointContext) -> i32 {
    gone(false);
    0
}

/// When a thread exits; only the last one of its process counts.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const c_void = ctx.arg(0);
    let signal: u64 = member(task, &TASK_SIGNAL).unwrap_or(0);
    let live: i32 = member(signal as *const c_void, &SIGNAL_LIVE).unwrap_or(0);
    if live == 0 {
        gone(true);
    }
    0
}

#[inline(always)]
fn gone(ended: bool) {
    let (tgid, _) = current();
    if filter::forget(tgid) {
        emit::process(tgid, now(), ended);
    }
}
