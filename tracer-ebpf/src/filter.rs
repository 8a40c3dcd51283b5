//! Which processes are captured.
//!
//! The map holds a verdict per process. A process that is not in it is captured, and user space, told by the
//! first OPEN record, decides. So no process loses its first bytes, and a denied one costs one lookup.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use tracer_abi::{FILTER_ENTRIES, filter};

#[btf_map]
static PROCESSES: HashMap<u32, u32, { FILTER_ENTRIES as usize }> = HashMap::new();

/// Is this process to be left alone?
#[inline(always)]
pub(crate) fn denied(tgid: u32) -> bool {
    verdict(tgid) == Some(filter::DENY)
}

/// Remembers a process that has a RocketMQ connection, so that its end is reported. An existing verdict stays.
#[inline(always)]
pub(crate) fn remember(tgid: u32) {
    const BPF_NOEXIST: u64 = 1;
    // a full map only means that this process's end goes unreported; its connections still close
    let _ = PROCESSES.insert(tgid, filter::UNDECIDED, BPF_NOEXIST);
}

/// Forgets a process. True if it was known.
#[inline(always)]
pub(crate) fn forget(tgid: u32) -> bool {
    verdict(tgid).is_some() && PROCESSES.remove(tgid).is_ok()
}

#[inline(always)]
fn verdict(tgid: u32) -> Option<u32> {
    let value = PROCESSES.get_ptr(tgid)?;
    // SAFETY: a non-null map value; user space replaces it as a whole word.
    Some(unsafe { core::ptr::read_volatile(value) })
}
