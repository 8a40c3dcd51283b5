//! Loads and attaches the programs of a strategy.

use std::{
    io,
    time::{Duration, Instant},
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError},
};

use super::{
    error::CaptureError,
    info,
    strategy::{Choice, Event, Hook, Need, Strategy},
};

/// An attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Name in the object.
    pub(crate) program: &'static str,
    /// Kernel event.
    pub(crate) event: Event,
    /// Instructions that the verifier walked through.
    pub(crate) verified_instructions: Option<u32>,
    /// How long the kernel took to take it: mostly the verifier.
    pub(crate) load_time: Duration,
}

/// What became of each hook of the strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// What is attached.
    pub(crate) strategy: Strategy,
    /// Why that one.
    pub(crate) reason: String,
    /// In the order of attaching.
    pub(crate) attached: Vec<Attached>,
    /// Whether it is known when a send starts.
    pub(crate) sees_send_start: bool,
}

/// Loads and attaches what was chosen. The links live as long as `ebpf`.
///
/// Everything is loaded before anything is attached: the kernel looks at a program for tens of milliseconds, and in
/// that time a hook that is there already would see one half of each exchange.
pub(crate) fn attach(ebpf: &mut Ebpf, btf: &Btf, choice: Choice) -> Result<Hooks, CaptureError> {
    let mut hooks = Hooks {
        strategy: choice.strategy,
        reason: choice.reason,
        attached: Vec::new(),
        sees_send_start: choice.strategy == Strategy::Fentry,
    };
    let mut loaded = Vec::with_capacity(choice.hooks.len());
    for hook in choice.hooks {
        if hook.need == Need::SendStart && hooks.sees_send_start {
            continue;
        }
        let started = Instant::now();
        match load(ebpf, &hook, btf) {
            Ok(()) => {
                hooks.sees_send_start |= hook.need == Need::SendStart;
                loaded.push((hook, started.elapsed()));
            }
            Err(error) if hook.need == Need::SendStart => {
                tracing::debug!(program = hook.program, %error, "not loaded");
            }
            Err(error) => return Err(explain(&hook, error)),
        }
    }
    for (hook, load_time) in loaded {
        if let Err(error) = attach_one(ebpf, &hook) {
            if hook.need == Need::SendStart {
                tracing::debug!(program = hook.program, %error, "not attached");
                hooks.sees_send_start = false;
                continue;
            }
            return Err(explain(&hook, error));
        }
        let info = program(ebpf, &hook)?.info().ok();
        hooks.attached.push(Attached {
            program: hook.program,
            event: hook.event,
            verified_instructions: info.and_then(|i| i.verified_instruction_count()),
            load_time,
        });
    }
    Ok(hooks)
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &Hook) -> Result<&'a mut Program, CaptureError> {
    ebpf.program_mut(hook.program)
        .ok_or(CaptureError::Map(hook.program))
}

/// What can go wrong: the object is another one, or the kernel says no.
type Refused = Result<(), ProgramError>;

fn load(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf) -> Refused {
    let program = ebpf.program_mut(hook.program).ok_or(ProgramError::NotLoaded)?;
    match hook.event {
        Event::Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, btf),
        Event::Entry(name, _) => <&mut FEntry>::try_from(program)?.load(name, btf),
        Event::Exit(name, _) => <&mut FExit>::try_from(program)?.load(name, btf),
    }
}

fn attach_one(ebpf: &mut Ebpf, hook: &Hook) -> Refused {
    let program = ebpf.program_mut(hook.program).ok_or(ProgramError::NotLoaded)?;
    match hook.event {
        Event::Tracepoint(_) => <&mut BtfTracePoint>::try_from(program)?.attach().map(drop),
        Event::Entry(..) => <&mut FEntry>::try_from(program)?.attach().map(drop),
        Event::Exit(..) => <&mut FExit>::try_from(program)?.attach().map(drop),
    }
}

fn explain(hook: &Hook, error: ProgramError) -> CaptureError {
    let &Hook { program, event, .. } = hook;
    // programs at tracepoints come first: who may load those has the privilege
    if event.is_function()
        && let Some(code) = errno(&error).filter(|code| NO_TRAMPOLINES.contains(code))
    {
        return CaptureError::NoTrampolines {
            release: info::kernel_release(),
            function: event.name(),
            said: said(code),
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

/// The errno of a load or attach, where the verifier had nothing to say: it is not the program that the kernel dislikes.
fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if verifier_log.to_string().trim().is_empty() => io_error.raw_os_error(),
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        _ => None,
    }
}

fn refused(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EPERM | libc::EACCES))
}

/// What kernels say that do not let programs be attached to functions: forbidden, or not built in, as on arm64 before 6.4.
const NO_TRAMPOLINES: [i32; 4] = [libc::EPERM, libc::EACCES, libc::EOPNOTSUPP, ENOTSUPP];

/// The kernel's own (include/linux/errno.h): not meant for user space, and yet seen there.
const ENOTSUPP: i32 = 524;

/// What an error number says; the C library has no words for the kernel's own.
fn said(code: i32) -> io::Error {
    if code == ENOTSUPP {
        io::Error::new(io::ErrorKind::Unsupported, "ENOTSUPP")
    } else {
        io::Error::from_raw_os_error(code)
    }
}
