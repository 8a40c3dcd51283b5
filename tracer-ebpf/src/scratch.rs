//! Scratch memory for one operation at a time.
//!
//! A per-CPU map is not enough: programs can be preempted, and another one may then run on the same CPU in the
//! middle of this one. So each CPU has a few slots, taken with an atomic exchange.

use aya_ebpf::{btf_maps::Array, helpers::generated::bpf_get_smp_processor_id, macros::btf_map};
use tracer_abi::{CHUNK, Header, SLOTS_PER_CPU};

use crate::{
    copy::Cursor,
    follow::{Follow, WINDOW},
    group::Search,
    source::Vector,
};

/// One slot.
///
/// VERIFIER: the cursor lives here and not on the stack. Linux 6.7 and later verify the callback of `bpf_loop` as
/// a real loop: counters on the stack are tracked and never converge; loads from a map value are unknown scalars
/// and converge at once (tried on 6.1, 6.12, 6.18, 7.2).
#[repr(C)]
pub(crate) struct Slot {
    busy: u64,
    pub(crate) cursor: Cursor,
    /// The user memory behind bytes that were held before the operation.
    pub(crate) after_held: Vector,
    /// The stream's place, while the operation is copied.
    pub(crate) follow: Follow,
    /// Search for the group of a client's own trace: the bytes of `data` from `searched` to `search_end`.
    pub(crate) search: Search,
    pub(crate) searched: u64,
    pub(crate) search_end: u64,
    /// 1: a part of the name was found among them.
    pub(crate) named: u64,
    /// Bytes that the next decision is made by; twice what is used, as `data`.
    pub(crate) window: [u8; 2 * WINDOW],
    /// The record that is being put together; `data` must follow it directly.
    pub(crate) header: Header,
    /// Its bytes, at most [`CHUNK`].
    ///
    /// VERIFIER: twice as long, because it does not relate "bytes there" and "bytes to add": each alone is at most
    /// [`CHUNK`].
    pub(crate) data: [u8; 2 * CHUNK],
}

/// User space sets the size: [`SLOTS_PER_CPU`] for each possible CPU.
#[btf_map]
static SCRATCH: Array<Slot, { SLOTS_PER_CPU as usize }> = Array::new();

/// Takes a free slot of this CPU: its index, to be given back with [`release`].
#[inline(always)]
pub(crate) fn take() -> Option<u32> {
    // SAFETY: takes no pointer.
    let first = unsafe { bpf_get_smp_processor_id() } * SLOTS_PER_CPU;
    let mut i = 0;
    while i < SLOTS_PER_CPU {
        let slot = SCRATCH.get_ptr_mut(first + i)?;
        // SAFETY: a non-null map value; `busy` is only touched by exchange and by `release`.
        if exchange(unsafe { &raw mut (*slot).busy }, 1) == 0 {
            return Some(first + i);
        }
        i += 1;
    }
    None
}

/// The slot with this index.
#[inline(always)]
pub(crate) fn slot(index: u32) -> Option<&'static mut Slot> {
    let slot = SCRATCH.get_ptr_mut(index)?;
    // SAFETY: a non-null map value. Whoever took the slot is its only user until it is released.
    Some(unsafe { &mut *slot })
}

/// Gives a slot back.
#[inline(always)]
pub(crate) fn release(index: u32) {
    if let Some(slot) = SCRATCH.get_ptr_mut(index) {
        // SAFETY: as above; a plain store of one word is atomic.
        unsafe { core::ptr::write_volatile(&raw mut (*slot).busy, 0) };
    }
}

/// Atomic exchange. `core` has no read-modify-write atomics for bpf; the instruction needs `-C target-cpu=v3`.
#[inline(always)]
pub(crate) fn exchange(at: *mut u64, value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut out = value;
        // SAFETY: `at` points to an aligned word of a map value.
        unsafe { core::arch::asm!("{v} = xchg_64({p} + 0, {v})", p = in(reg) at, v = inout(reg) out) };
        out
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = (at, value);
        0
    }
}
