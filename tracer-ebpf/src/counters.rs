//! The counters, one set per CPU: see `tracer_abi::Counter`.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use tracer_abi::{Counter, counter::COUNTERS as COUNT};

#[btf_map]
static COUNTERS: PerCpuArray<u64, { COUNT as usize }> = PerCpuArray::new();

/// Adds `n` to a counter. In one instruction: another program that preempts this one must not lose an addition, since
/// what was sent is what was seen and what was counted as lost.
#[inline(always)]
pub(crate) fn count(counter: Counter, n: u64) {
    count_at(counter as u32, n);
}

/// The same by the counter's index.
#[inline(always)]
pub(crate) fn count_at(counter: u32, n: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        add(value, n);
    }
}

/// Atomic addition. `core` has no read-modify-write atomics for bpf.
#[inline(always)]
fn add(at: *mut u64, n: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: `at` points to an aligned word of a map value of this CPU.
    unsafe {
        core::arch::asm!("lock *(u64 *)({p} + 0) += {n}", p = in(reg) at, n = in(reg) n)
    };
    #[cfg(not(target_arch = "bpf"))]
    let _ = (at, n);
}
