//! Processes of this machine, or those that a capture file tells of.

use std::sync::Arc;

use tracer_core::model::Timestamp;

use super::{Process, Processes, Replayed};
use crate::clock::Anchor;

/// The table that a pipeline asks.
#[derive(Debug)]
pub(crate) enum Who {
    /// Of this machine: `/proc` says who they are.
    Live(Box<Processes>),
    /// Of capture files.
    Replayed(Replayed),
}

impl Who {
    /// A connection of this process was recognised at `time`.
    pub(crate) fn opened(&mut self, pid: u32, time: Timestamp, anchor: &Anchor) -> Arc<Process> {
        match self {
            Who::Live(processes) => processes.opened(pid, time, anchor),
            Who::Replayed(processes) => processes.of(pid, time),
        }
    }

    /// Who made a span that started at `time`.
    pub(crate) fn of(&mut self, pid: u32, time: Timestamp, anchor: &Anchor) -> Arc<Process> {
        match self {
            Who::Live(processes) => processes.of(pid, time, anchor),
            Who::Replayed(processes) => processes.of(pid, time),
        }
    }

    /// A process ended or runs another program since `time`.
    pub(crate) fn replaced(&mut self, pid: u32, time: Timestamp) {
        if let Who::Live(processes) = self {
            processes.replaced(pid, time);
        }
    }

    /// Forgets processes that are gone and whose spans are out.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        if let Who::Live(processes) = self {
            processes.sweep(now);
        }
    }

    /// Whether the process is known and, as far as is known, still runs the program that was looked at.
    pub(crate) fn is_running(&self, pid: u32) -> bool {
        match self {
            Who::Live(processes) => processes.is_running(pid),
            Who::Replayed(_) => true,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Who::Live(processes) => processes.len(),
            Who::Replayed(processes) => processes.len(),
        }
    }
}
