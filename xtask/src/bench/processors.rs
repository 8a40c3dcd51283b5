//! Who runs where: what is measured has a processor of its own, as long as there are two.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of this thread. What it starts inherits them; dropping this gives it back those it had.
pub(super) struct Processors {
    all: CpuSet,
    first: CpuSet,
    others: CpuSet,
}

impl Processors {
    /// Keeps this thread on the first of its processors.
    pub(super) fn take_first() -> Result<Processors> {
        let all = sched_getaffinity(None).context("the processors of this thread")?;
        let (mut first, mut others) = (CpuSet::new(), all);
        if let Some(cpu) = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)) {
            first.set(cpu);
            others.unset(cpu);
        }
        if others.count() == 0 {
            others = all;
        }
        let processors = Processors { all, first, others };
        set(&processors.first)?;
        Ok(processors)
    }

    /// Starts something on the other ones.
    pub(super) fn elsewhere<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        set(&self.others)?;
        let started = start();
        set(&self.first)?;
        started
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        // they were this thread's, so they can be again
        let _ = set(&self.all);
    }
}

fn set(processors: &CpuSet) -> Result<()> {
    sched_setaffinity(None, processors).context("choosing processors")
}
