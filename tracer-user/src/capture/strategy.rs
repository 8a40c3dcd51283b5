//! The capture strategies: which programs each consists of, and which one the running kernel allows.
//!
//! | Strategy | Where | Kernels |
//! |---|---|---|
//! | `socktrace` | socket tracepoints | 6.3 and later |
//! | `fentry` | entry and exit of `tcp_sendmsg` and `tcp_recvmsg` | 6.1 and later, where trampolines are allowed |
//!
//! `socktrace` is preferred: tracepoints keep their arguments over the versions, and most kernels cannot preempt a program
//! at a tracepoint, so none is skipped.

use std::fmt;

use aya::Btf as AyaBtf;
use aya_obj::btf::BtfKind;

use super::{btf::Btf, error::CaptureError, info};

/// A strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strategy {
    /// The socket tracepoints (tracer-ebpf/src/hooks/socktrace.rs).
    Socktrace,
    /// Functions (tracer-ebpf/src/hooks/fentry.rs).
    Fentry,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Socktrace => "socktrace",
            Strategy::Fentry => "fentry",
        })
    }
}

/// A kernel event that a program is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A tracepoint, with typed arguments.
    Tracepoint(&'static str),
    /// Entry of a function whose first parameters have these names.
    Entry(&'static str, &'static [&'static str]),
    /// Its exit.
    Exit(&'static str, &'static [&'static str]),
}

impl Event {
    /// Name of the tracepoint or function.
    pub(crate) fn name(self) -> &'static str {
        let (Event::Tracepoint(name) | Event::Entry(name, _) | Event::Exit(name, _)) = self;
        name
    }

    /// A function, which needs a trampoline.
    pub(crate) fn is_function(self) -> bool {
        !matches!(self, Event::Tracepoint(_))
    }

    /// Why it cannot be attached to: what the running kernel lacks.
    fn lack(self, btf: &AyaBtf, functions: &Btf<'_>) -> Option<String> {
        match self {
            Event::Tracepoint(name) => {
                let found = btf.id_by_type_name_kind(&format!("btf_trace_{name}"), BtfKind::Typedef);
                found.is_err().then(|| format!("tracepoint `{name}`"))
            }
            Event::Entry(name, wanted) | Event::Exit(name, wanted) => {
                let Some(found) = functions.parameters(name) else {
                    return Some(format!("function `{name}`"));
                };
                let same = found.get(..wanted.len()).is_some_and(|first| first == wanted);
                (!same).then(|| format!("function `{name}({}, …)`", wanted.join(", ")))
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Event::Tracepoint(_) => "tracepoint",
            Event::Entry(..) => "entry of",
            Event::Exit(..) => "exit of",
        };
        write!(f, "{kind} `{}`", self.name())
    }
}

/// What a strategy needs a program for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Without it the strategy does not work.
    Required,
    /// It tells when a send starts; without it, a send starts when its call ends. The first of them that the kernel has is
    /// taken.
    SendStart,
}

/// One program of the object and the kernel event that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hook {
    /// Name in the object.
    pub(crate) program: &'static str,
    /// The event.
    pub(crate) event: Event,
    /// What for.
    pub(crate) need: Need,
}

const fn hook(program: &'static str, event: Event, need: Need) -> Hook {
    Hook { program, event, need }
}

const TCP_SENDMSG: (&str, &[&str]) = ("tcp_sendmsg", &["sk", "msg", "size"]);
const TCP_RECVMSG: (&str, &[&str]) = ("tcp_recvmsg", &["sk", "msg", "len", "flags"]);

/// Connections and processes. They come first, so that no connection slips through between the hooks without its
/// beginning.
const COMMON: [Hook; 4] = {
    use Need::Required;
    [
        hook(
            "connection_state",
            Event::Tracepoint("inet_sock_set_state"),
            Required,
        ),
        hook(
            "connection_destroyed",
            Event::Tracepoint("tcp_destroy_sock"),
            Required,
        ),
        hook("process_exec", Event::Tracepoint("sched_process_exec"), Required),
        hook("process_exit", Event::Tracepoint("sched_process_exit"), Required),
    ]
};

const SOCKTRACE: [Hook; 4] = {
    use Need::{Required, SendStart};
    [
        hook(
            "socktrace_send_started",
            Event::Tracepoint("tcp_sendmsg_locked"),
            SendStart,
        ),
        hook(
            "fentry_send_started",
            Event::Entry(TCP_SENDMSG.0, TCP_SENDMSG.1),
            SendStart,
        ),
        hook(
            "socktrace_received",
            Event::Tracepoint("sock_recv_length"),
            Required,
        ),
        hook("socktrace_sent", Event::Tracepoint("sock_send_length"), Required),
    ]
};

const FENTRY: [Hook; 3] = {
    use Need::Required;
    [
        hook(
            "fentry_send_started",
            Event::Entry(TCP_SENDMSG.0, TCP_SENDMSG.1),
            Required,
        ),
        hook(
            "fentry_received",
            Event::Exit(TCP_RECVMSG.0, TCP_RECVMSG.1),
            Required,
        ),
        hook("fentry_sent", Event::Exit(TCP_SENDMSG.0, TCP_SENDMSG.1), Required),
    ]
};

impl Strategy {
    /// Its hooks, in the order of attaching.
    pub(crate) fn hooks(self) -> impl Iterator<Item = Hook> {
        let own: &[Hook] = match self {
            Strategy::Socktrace => &SOCKTRACE,
            Strategy::Fentry => &FENTRY,
        };
        COMMON.iter().chain(own).copied()
    }
}

/// The functions that any of them needs to know.
pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    [TCP_SENDMSG.0, TCP_RECVMSG.0].into_iter()
}

/// The strategy to use, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    pub(crate) strategy: Strategy,
    pub(crate) reason: String,
    /// Hooks that the kernel has the events of.
    pub(crate) hooks: Vec<Hook>,
}

/// Chooses for the running kernel, whose types these are, in both readings. `forced`: that one or none.
pub(crate) fn choose(
    forced: Option<Strategy>,
    btf: &AyaBtf,
    functions: &Btf<'_>,
) -> Result<Choice, CaptureError> {
    let release = info::kernel_release();
    if let Some(strategy) = forced {
        return consider(strategy, btf, functions, "it was asked for".into()).map_err(|missing| {
            CaptureError::NoEvent {
                release,
                strategy,
                missing,
            }
        });
    }
    let reason = "this kernel has the socket tracepoints".into();
    consider(Strategy::Socktrace, btf, functions, reason).or_else(|missing| {
        let reason = format!("this kernel has no {missing}");
        consider(Strategy::Fentry, btf, functions, reason).map_err(|also| CaptureError::NoStrategy {
            release,
            missing: format!("{missing} (strategy socktrace) and no {also} (strategy fentry)"),
        })
    })
}

/// The choice of one strategy, or what it lacks.
fn consider(strategy: Strategy, btf: &AyaBtf, functions: &Btf<'_>, reason: String) -> Result<Choice, String> {
    let mut hooks = Vec::new();
    for hook in strategy.hooks() {
        match (hook.event.lack(btf, functions), hook.need) {
            (None, _) => hooks.push(hook),
            (Some(_), Need::SendStart) => {}
            (Some(lack), Need::Required) => return Err(lack),
        }
    }
    Ok(Choice {
        strategy,
        reason,
        hooks,
    })
}
