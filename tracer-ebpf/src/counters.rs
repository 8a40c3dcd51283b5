//! The counters, one set per CPU: see `tracer_abi::Counter`.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use tracer_abi::{Counter, counter::COUNTERS as COUNT};

#[btf_map]
static COUNTERS: PerCpuArray<u64, { COUNT as usize }> = PerCpuArray::new();

/// Adds `n` to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter, n: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a non-null map value of this CPU. Another program that preempts this one may lose an
        // addition; the places where that would matter are counted from the stream offsets in user space too.
        unsafe { *value += n };
    }
}
