//! Ways to say things so that the verifier understands them. They change no value.
//!
//! Linux 6.1 to 6.3 compares every register by its range where a program has callbacks, before it takes two paths for the
//! same, and looks at each difference by itself; later versions look only at what matters.

/// The smaller one of a value and a constant bound.
///
/// The compiler sees nothing of the value before the comparison, so that it does not leave the comparison out for what it
/// knows and the verifier does not; and nothing after it, so that it uses the register that was compared, and not a copy.
#[inline(always)]
pub(crate) fn at_most(value: u64, bound: u64) -> u64 {
    let value = opaque(value);
    opaque(if value < bound { value } else { bound })
}

/// The same value, of which the verifier knows nothing any more: paths that came here with different values go on as one.
/// `key` is any value that it knows nothing of.
#[inline(always)]
pub(crate) fn forget(value: u64, key: u64) -> u64 {
    opaque(value ^ key) ^ key
}

/// The same value, of which the compiler does not know that it is the same.
#[inline(always)]
fn opaque(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut out = value;
        // SAFETY: changes nothing. There is an instruction, because two lines of debug information at one place are refused
        // by the kernel.
        unsafe {
            core::arch::asm!("{v} = {v}", v = inout(reg) out, options(pure, nomem, nostack, preserves_flags))
        };
        out
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

/// The same place, of which the compiler knows that a callback writes to it too: what is read from it behind a helper's call is
/// read again.
#[inline(always)]
pub(crate) fn shared<T>(place: &mut T) -> &mut T {
    #[cfg(target_arch = "bpf")]
    {
        let mut out: *mut T = place;
        // SAFETY: changes nothing. Without `nomem`, so for all that the compiler knows the place is known elsewhere from here on.
        unsafe {
            core::arch::asm!("{p} = {p}", p = inout(reg) out, options(nostack, preserves_flags));
            &mut *out
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    place
}
