//! Loads and attaches the programs of a strategy.

use std::{
    collections::HashMap,
    io,
    panic::resume_unwind,
    thread,
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
    /// How long the kernel took to take it, while it took others: mostly the verifier.
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
    let (starts, required): (Vec<_>, Vec<_>) = choice
        .hooks
        .into_iter()
        .partition(|hook| hook.need == Need::SendStart);
    let mut loaded = Vec::with_capacity(required.len() + 1);
    for hook in starts {
        if hooks.sees_send_start {
            break;
        }
        match load(program(ebpf, &hook)?, &hook, btf) {
            Ok(time) => {
                hooks.sees_send_start = true;
                loaded.push((hook, time));
            }
            Err(error) => tracing::debug!(program = hook.program, %error, "not loaded"),
        }
    }
    loaded.extend(load_together(ebpf, required, btf)?);
    for (hook, load_time) in loaded {
        let program = program(ebpf, &hook)?;
        if let Err(error) = attach_one(program, &hook) {
            if hook.need == Need::SendStart {
                tracing::debug!(program = hook.program, %error, "not attached");
                hooks.sees_send_start = false;
                continue;
            }
            return Err(explain(&hook, error));
        }
        let info = program.info().ok();
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

/// Loads all of them at the same time, since the verifier takes a core for each.
fn load_together(
    ebpf: &mut Ebpf,
    hooks: Vec<Hook>,
    btf: &Btf,
) -> Result<Vec<(Hook, Duration)>, CaptureError> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    thread::scope(|scope| {
        let mut loading = Vec::with_capacity(hooks.len());
        for hook in hooks {
            let program = programs
                .remove(hook.program)
                .ok_or(CaptureError::Map(hook.program))?;
            loading.push((hook, scope.spawn(move || load(program, &hook, btf))));
        }
        let loaded = loading.into_iter().map(|(hook, thread)| {
            let loaded = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((hook, loaded.map_err(|error| explain(&hook, error))?))
        });
        loaded.collect()
    })
}

/// Loads a program; how long the kernel took.
fn load(program: &mut Program, hook: &Hook, btf: &Btf) -> Result<Duration, ProgramError> {
    let started = Instant::now();
    match hook.event {
        Event::Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, btf),
        Event::Entry(name, _) => <&mut FEntry>::try_from(program)?.load(name, btf),
        Event::Exit(name, _) => <&mut FExit>::try_from(program)?.load(name, btf),
    }?;
    Ok(started.elapsed())
}

fn attach_one(program: &mut Program, hook: &Hook) -> Result<(), ProgramError> {
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
