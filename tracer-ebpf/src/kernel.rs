//! What the running kernel's structures look like: member offsets and enumerators that user space reads from the kernel's BTF
//! and sets before loading, and the registers of a system call.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_probe_read_kernel,
        generated::{
            bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_task_pt_regs,
        },
    },
};

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub(crate) static $name: Global<u32> = Global::new(0);)*
    };
}

offsets! {
    /// `sock.__sk_common.skc_family`
    SKC_FAMILY;
    /// `sock.__sk_common.skc_rcv_saddr`
    SKC_RCV_SADDR;
    /// `sock.__sk_common.skc_daddr`
    SKC_DADDR;
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    SKC_V6_RCV_SADDR;
    /// `sock.__sk_common.skc_v6_daddr`
    SKC_V6_DADDR;
    /// `sock.__sk_common.skc_num`
    SKC_NUM;
    /// `sock.__sk_common.skc_dport`
    SKC_DPORT;
    /// `sock.__sk_common.skc_net`
    SKC_NET;
    /// `net.ns.inum`
    NET_INUM;
    /// `sock.sk_protocol`
    SK_PROTOCOL;
    /// `sock.__sk_common.skc_flags`
    SKC_FLAGS;
    /// `tcp_sock.write_seq`
    WRITE_SEQ;
    /// `tcp_sock.copied_seq`
    COPIED_SEQ;
    /// `tcp_sock.rcv_nxt`
    RCV_NXT;
    /// `tcp_sock.bytes_sent`
    BYTES_SENT;
    /// `task_struct.signal`
    TASK_SIGNAL;
    /// `signal_struct.live.counter`
    SIGNAL_LIVE;
    /// `SOCK_DONE` of `enum sock_flags`: a bit's number
    SOCK_DONE;
}

/// A member of a kernel structure, by one checked read. `None` where the address cannot be read.
#[inline(always)]
pub(crate) fn member<T: Copy>(base: *const c_void, offset: &Global<u32>) -> Option<T> {
    if base.is_null() {
        return None;
    }
    let at = base.cast::<u8>().wrapping_add(offset.load() as usize).cast::<T>();
    // SAFETY: bpf_probe_read_kernel checks the address and returns an error instead of faulting.
    unsafe { bpf_probe_read_kernel(at).ok() }
}

/// A member of a structure that a program argument points to: a plain load.
///
/// # Safety
/// `base` must be a pointer argument of the running tracing program (trusted by the verifier), `offset` a member
/// of type `T` of the structure it points to.
#[inline(always)]
pub(crate) unsafe fn trusted<T: Copy>(base: *const c_void, offset: &Global<u32>) -> T {
    // VERIFIER: `offset` is a frozen global, so this is a load at a constant offset.
    // SAFETY: by the contract above; volatile keeps the compiler from merging it with neighbours.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset.load() as usize).cast::<T>()) }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes no pointer.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// (thread group id, thread id) of the running task.
#[inline(always)]
pub(crate) fn current() -> (u32, u32) {
    // SAFETY: takes no pointer.
    let both = unsafe { bpf_get_current_pid_tgid() };
    ((both >> 32) as u32, both as u32)
}

/// The arguments of the system call that the running task is in.
#[derive(Clone, Copy)]
pub(crate) struct Syscall {
    /// Its number, in the numbering of a 64-bit task; another one for a 32-bit task, and for a task that is not inside
    /// a system call: io_uring finishes requests on the way back to user space, and in threads of the kernel, whose
    /// registers are left over from another call.
    pub(crate) number: u64,
    /// Second argument.
    pub(crate) second: u64,
    /// Third argument.
    pub(crate) third: u64,
}

impl Syscall {
    /// Reads the registers that the task entered the kernel with. They are intact while the call runs.
    #[inline(always)]
    pub(crate) fn current() -> Option<Syscall> {
        // SAFETY: both helpers take no pointer of ours; the registers belong to the running task, which cannot
        // go away under us.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const arch::Regs;
        if regs.is_null() {
            return None;
        }
        // SAFETY: a non-null result points to the task's saved registers, whose layout is ABI.
        Some(arch::syscall(unsafe { &*regs }))
    }
}

/// x86-64: layout of `struct pt_regs` and the system call convention.
#[cfg(not(bpf_target_arch = "aarch64"))]
pub(crate) mod arch {
    use super::Syscall;

    /// `struct pt_regs` up to `cs` (arch/x86/include/asm/ptrace.h).
    #[repr(C)]
    pub(crate) struct Regs {
        unused: [u64; 10],
        ax: u64,
        cx: u64,
        dx: u64,
        si: u64,
        di: u64,
        orig_ax: u64,
        ip: u64,
        cs: u64,
    }

    /// `__USER_CS`: a 64-bit task. 32-bit tasks have another numbering.
    const USER_CS: u64 = 0x33;
    /// `-ENOSYS`: what stands in place of the result until the call has one. A call that has ended has its own result
    /// there, a thread of io_uring zero.
    const NO_RESULT: u64 = -38i64 as u64;

    pub(super) fn syscall(regs: &Regs) -> Syscall {
        let number = if regs.cs & 0xffff == USER_CS && regs.ax == NO_RESULT {
            regs.orig_ax
        } else {
            u64::MAX
        };
        Syscall {
            number,
            second: regs.si,
            third: regs.dx,
        }
    }

    pub(crate) const READ: u64 = 0;
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const READV: u64 = 19;
    pub(crate) const WRITEV: u64 = 20;
    pub(crate) const SENDTO: u64 = 44;
    pub(crate) const RECVFROM: u64 = 45;
    pub(crate) const SENDMSG: u64 = 46;
    pub(crate) const RECVMSG: u64 = 47;
    pub(crate) const PREADV2: u64 = 327;
    pub(crate) const PWRITEV2: u64 = 328;
}

/// arm64: layout of `struct pt_regs` and the system call convention.
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) mod arch {
    use super::Syscall;

    /// `struct user_pt_regs`, then `orig_x0` and `syscallno` (arch/arm64/include/asm/ptrace.h).
    #[repr(C)]
    pub(crate) struct Regs {
        x: [u64; 31],
        sp: u64,
        pc: u64,
        pstate: u64,
        orig_x0: u64,
        syscallno: i32,
    }

    /// `PSR_MODE32_BIT`: a 32-bit task, which has another numbering.
    const MODE32: u64 = 0x10;

    pub(super) fn syscall(regs: &Regs) -> Syscall {
        // a call that has ended has its result in place of the first argument, a thread of io_uring zero
        let inside = regs.x[0] == regs.orig_x0;
        let number = if regs.pstate & MODE32 == 0 && inside {
            regs.syscallno as u64
        } else {
            u64::MAX
        };
        Syscall {
            number,
            second: regs.x[1],
            third: regs.x[2],
        }
    }

    pub(crate) const READ: u64 = 63;
    pub(crate) const WRITE: u64 = 64;
    pub(crate) const READV: u64 = 65;
    pub(crate) const WRITEV: u64 = 66;
    pub(crate) const SENDTO: u64 = 206;
    pub(crate) const RECVFROM: u64 = 207;
    pub(crate) const SENDMSG: u64 = 211;
    pub(crate) const RECVMSG: u64 = 212;
    pub(crate) const PREADV2: u64 = 286;
    pub(crate) const PWRITEV2: u64 = 287;
}
