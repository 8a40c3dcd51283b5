//! Facts about the kernel and loaded programs that aya does not give.

use std::os::fd::{AsRawFd, BorrowedFd};

/// `uname -r`.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |s| s.trim().into())
}

/// Whether process ids mean the same here as in records, which carry those of the host. True where it is not known.
pub(crate) fn is_host_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the same on every machine.
    const HOST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").map_or(true, |name| name.as_os_str() == HOST)
}

/// How often the kernel skipped a program because it was already running on that CPU: each may have cost an
/// operation, which then shows as a hole in the stream. `None` on kernels before 5.12.
pub(crate) fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    /// `BPF_OBJ_GET_INFO_BY_FD`
    const COMMAND: libc::c_long = 15;
    /// Offset of `recursion_misses` in `struct bpf_prog_info` (uapi, never moves).
    const AT: usize = 208;

    /// The part of `union bpf_attr` that the command takes.
    #[repr(C)]
    struct Attr {
        fd: u32,
        length: u32,
        info: u64,
    }

    let mut info = [0u8; AT + 8];
    let mut attr = Attr {
        fd: program.as_raw_fd() as u32,
        length: info.len() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `attr` is what the command expects and `info` has the length it says; the kernel writes no more.
    let failed = unsafe { libc::syscall(libc::SYS_bpf, COMMAND, &raw mut attr, size_of::<Attr>()) } < 0;
    let known = attr.length as usize >= info.len();
    let value = info.get(AT..)?.try_into().ok().map(u64::from_ne_bytes);
    if failed || !known { None } else { value }
}
