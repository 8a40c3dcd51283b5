//! Which programs a capture strategy consists of, and attaching them.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, ProgramError},
};

use super::{error::CaptureError, info};

/// One program of the object and the kernel event that it belongs to.
struct Hook {
    program: &'static str,
    tracepoint: &'static str,
    /// Without it the strategy does not work.
    required: bool,
}

/// The socket tracepoints (see tracer-ebpf/src/hooks/socktrace.rs). Connections first, so that none slips through
/// between the hooks without its beginning.
const SOCKTRACE: &[Hook] = &[
    Hook {
        program: "connection_state",
        tracepoint: "inet_sock_set_state",
        required: true,
    },
    Hook {
        program: "connection_destroyed",
        tracepoint: "tcp_destroy_sock",
        required: true,
    },
    Hook {
        program: "process_exec",
        tracepoint: "sched_process_exec",
        required: true,
    },
    Hook {
        program: "process_exit",
        tracepoint: "sched_process_exit",
        required: true,
    },
    Hook {
        program: "socktrace_send_started",
        tracepoint: "tcp_sendmsg_locked",
        required: false,
    },
    Hook {
        program: "socktrace_received",
        tracepoint: "sock_recv_length",
        required: true,
    },
    Hook {
        program: "socktrace_sent",
        tracepoint: "sock_send_length",
        required: true,
    },
];

/// An attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Name in the object.
    pub(crate) program: &'static str,
    /// Kernel event.
    pub(crate) tracepoint: &'static str,
    /// Instructions that the verifier walked through.
    pub(crate) verified_instructions: Option<u32>,
}

/// What became of each hook of the strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// In the order of attaching.
    pub(crate) attached: Vec<Attached>,
    /// Tracepoints that this kernel lacks and that only make the result less exact.
    pub(crate) missing: Vec<&'static str>,
}

/// Loads and attaches the `socktrace` strategy. The links live as long as `ebpf`.
///
/// Everything is loaded before anything is attached: the kernel looks at a program for tens of milliseconds, and in
/// that time a hook that is there already would see one half of each exchange.
pub(crate) fn attach_socktrace(ebpf: &mut Ebpf, btf: &Btf) -> Result<Hooks, CaptureError> {
    let mut hooks = Hooks::default();
    let mut loaded = Vec::with_capacity(SOCKTRACE.len());
    for hook in SOCKTRACE {
        match program(ebpf, hook)?.load(hook.tracepoint, btf) {
            Ok(()) => loaded.push(hook),
            Err(error) if is_absent(&error) && !hook.required => hooks.missing.push(hook.tracepoint),
            Err(error) => return Err(explain(hook, error)),
        }
    }
    for hook in loaded {
        let program = program(ebpf, hook)?;
        program.attach().map_err(|error| explain(hook, error))?;
        let verified_instructions = program.info().ok().and_then(|i| i.verified_instruction_count());
        hooks.attached.push(Attached {
            program: hook.program,
            tracepoint: hook.tracepoint,
            verified_instructions,
        });
    }
    Ok(hooks)
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &Hook) -> Result<&'a mut BtfTracePoint, CaptureError> {
    ebpf.program_mut(hook.program)
        .and_then(|p| p.try_into().ok())
        .ok_or(CaptureError::Map(hook.program))
}

/// The kernel has no such tracepoint.
fn is_absent(error: &ProgramError) -> bool {
    matches!(error, ProgramError::Btf(_))
}

fn explain(hook: &Hook, error: ProgramError) -> CaptureError {
    let &Hook {
        program, tracepoint, ..
    } = hook;
    if is_absent(&error) {
        let missing = format!("tracepoint `{tracepoint}`");
        return CaptureError::KernelTooOld {
            release: info::kernel_release(),
            missing,
        };
    }
    if refused(&error) {
        return CaptureError::Privilege {
            what: format!("loading `{program}`: {error}"),
        };
    }
    CaptureError::Program {
        program,
        source: error,
    }
}

/// The kernel said EPERM or EACCES without a verifier log: it is not the program that it dislikes.
fn refused(error: &ProgramError) -> bool {
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => denied(io_error) && verifier_log.to_string().trim().is_empty(),
        ProgramError::SyscallError(e) => denied(&e.io_error),
        _ => false,
    }
}
