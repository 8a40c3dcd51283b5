//! What can keep the capture from starting, each with its remedy.

use super::{btf::BtfError, strategy::Strategy};

/// Why the capture could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The process may not load eBPF programs.
    #[error(
        "not allowed to load eBPF programs ({what}): run as root, or with the capabilities \
         CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE (in a container also without a seccomp profile that blocks bpf)"
    )]
    Privilege {
        /// The call that was refused.
        what: String,
    },
    /// The kernel has no type information.
    #[error(
        "/sys/kernel/btf/vmlinux cannot be read ({source}): rmqtrace needs a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as all current distributions build it; in a container, /sys must be mounted"
    )]
    NoBtf {
        /// What reading it said.
        source: std::io::Error,
    },
    /// The kernel does not say how many processors it has.
    #[error(
        "/sys/devices/system/cpu/possible cannot be read ({source}); in a container, /sys must be mounted"
    )]
    NoCpus {
        /// What reading it said.
        source: std::io::Error,
    },
    /// The kernel's type information lacks something.
    #[error("this kernel is not supported: {0}")]
    Offsets(#[from] BtfError),
    /// The kernel lacks an event that the strategy which was asked for needs.
    #[error(
        "this kernel ({release}) has no {missing}, which the strategy {strategy} needs; `--capture auto` takes what there is"
    )]
    NoEvent {
        /// `uname -r`.
        release: String,
        /// The strategy.
        strategy: Strategy,
        /// What is missing.
        missing: String,
    },
    /// The kernel lacks events that every strategy needs.
    #[error(
        "this kernel ({release}) has no {missing}: rmqtrace needs Linux 6.1 or later, and in 6.1 and 6.2 \
         programs at functions (CONFIG_FUNCTION_TRACER, on arm64 Linux 6.4)"
    )]
    NoStrategy {
        /// `uname -r`.
        release: String,
        /// What is missing, by strategy.
        missing: String,
    },
    /// The kernel has the function, but takes no program at functions.
    #[error(
        "this kernel ({release}) refuses programs at functions, here `{function}` ({said}), which the strategy fentry \
         needs: it was built without them, as any for arm64 before 6.4, or forbids them; socket tracepoints do without \
         (Linux 6.3 and later)"
    )]
    NoTrampolines {
        /// `uname -r`.
        release: String,
        /// The function.
        function: &'static str,
        /// What the kernel said.
        said: std::io::Error,
    },
    /// The kernel's verifier refused a program, or attaching failed.
    #[error("the kernel refused the program `{program}`: {source}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// What the kernel said.
        source: aya::programs::ProgramError,
    },
    /// The object could not be loaded.
    #[error("the eBPF object could not be loaded: {0}")]
    Load(#[from] aya::EbpfError),
    /// The object file could not be read.
    #[cfg(not(feature = "embed"))]
    #[error("the eBPF object {path} cannot be read ({source}): build it with `cargo xtask build`")]
    NoObject {
        /// Where it was looked for.
        path: String,
        /// What reading it said.
        source: std::io::Error,
    },
    /// A map of the object is missing or of another type: object and binary are not of the same build.
    #[error(
        "the eBPF object does not fit this binary (map `{0}`): build both again with `cargo xtask build`"
    )]
    Map(&'static str),
    /// The ring buffer cannot be watched.
    #[error("the ring buffer cannot be watched: {0}")]
    Ring(std::io::Error),
    /// A size that the kernel does not take.
    #[error(
        "capture.ring_bytes is {0}: it must be a power of two, a multiple of the page size, from 64 KiB to 1 GiB"
    )]
    RingBytes(u32),
}

impl CaptureError {
    /// The lack is one of privilege.
    pub(crate) fn is_privilege(&self) -> bool {
        matches!(self, CaptureError::Privilege { .. })
    }

    /// The kernel cannot do it.
    pub(crate) fn is_kernel(&self) -> bool {
        use CaptureError::{NoBtf, NoEvent, NoStrategy, NoTrampolines, Offsets, Program};
        matches!(
            self,
            NoBtf { .. }
                | Offsets(_)
                | NoEvent { .. }
                | NoStrategy { .. }
                | NoTrampolines { .. }
                | Program { .. }
        )
    }
}
