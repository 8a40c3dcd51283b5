//! The table of traced processes.
//!
//! A process enters when its first connection is recognised, because later it may be gone, and stays until the
//! last span of it can be out. A process id is used again, and a process may run another program
//! (`exec`): each gets its own entry with the time from which it holds, so that a late span finds the one that
//! made it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracer_core::model::Timestamp;

use super::{
    Facts, Host, Resource, facts,
    instrumented::{self, Agent},
    resource::Context,
};
use crate::{
    clock::Anchor,
    filter::{ProcessFilter, ServiceRules, Verdict},
};

/// A traced or filtered-out process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Who it is.
    pub(crate) resource: Resource,
    /// What the filter says.
    pub(crate) verdict: Verdict,
    /// Who makes its RocketMQ spans already.
    pub(crate) agent: Option<Agent>,
    start_ticks: Option<u64>,
    since: Timestamp,
}

impl Process {
    /// A process that nobody looked at: a capture file's, or a test's.
    pub(crate) fn of_resource(resource: Resource) -> Process {
        Process::recorded(resource, None)
    }

    /// A process that somebody looked at when it was recorded.
    pub(crate) fn recorded(resource: Resource, agent: Option<Agent>) -> Process {
        Process {
            resource,
            verdict: Verdict::Allow,
            agent,
            start_ticks: None,
            since: Timestamp(0),
        }
    }

    /// From when on it is this one.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    /// It ended, or runs another program.
    ended: Option<Timestamp>,
    /// When it was last seen to be this process.
    seen: Timestamp,
}

/// How long a process is taken for the one that it was without looking: a client may open thousands of connections at
/// once, and each look costs tens of microseconds. That a process ends, the kernel side tells; looking is for when that was
/// lost.
const SURE: Duration = Duration::from_millis(100);

/// The processes, at most as many as allowed.
#[derive(Debug)]
pub(crate) struct Processes {
    entries: HashMap<u32, Vec<Entry>>,
    count: usize,
    host: Host,
    filter: ProcessFilter,
    rules: ServiceRules,
    configured: Vec<(String, String)>,
    /// How long an ended process is remembered.
    keep: Duration,
    most: usize,
    /// It was said that `/proc` is closed.
    said: bool,
}

impl Processes {
    /// An empty table. `configured` are resource attributes for all, `keep` is how long after a process ended
    /// spans of it may come.
    pub(crate) fn new(
        filter: ProcessFilter,
        rules: ServiceRules,
        configured: Vec<(String, String)>,
        keep: Duration,
        most: usize,
    ) -> Processes {
        let host = Host::read();
        Processes {
            entries: HashMap::new(),
            count: 0,
            host,
            filter,
            rules,
            configured,
            keep,
            most,
            said: false,
        }
    }

    /// A connection of this process was recognised at `time`. Looks at the process when it is not known yet.
    pub(crate) fn opened(&mut self, pid: u32, time: Timestamp, anchor: &Anchor) -> Arc<Process> {
        if let Some(latest) = self.entries.get_mut(&pid).and_then(|e| e.last_mut())
            && latest.ended.is_none()
        {
            if time.since(latest.seen) < SURE {
                return latest.process.clone();
            }
            let ticks = facts::start_ticks(pid);
            latest.seen = time;
            // gone already, or its id in use again already: then it is the one that was here last
            if ticks.is_none_or(|ticks| of_ticks(ticks) > time) || ticks == latest.process.start_ticks {
                return latest.process.clone();
            }
            latest.ended = Some(time);
        }
        self.look(pid, time, anchor)
    }

    /// Who made a span that started at `time`.
    pub(crate) fn of(&mut self, pid: u32, time: Timestamp, anchor: &Anchor) -> Arc<Process> {
        let known = self.entries.get(&pid).and_then(|entries| {
            let holding = entries.iter().rev().find(|e| e.process.since <= time);
            holding.or(entries.first()).map(|e| e.process.clone())
        });
        known.unwrap_or_else(|| self.look(pid, time, anchor))
    }

    /// A process ended or runs another program since `time`.
    pub(crate) fn replaced(&mut self, pid: u32, time: Timestamp) {
        if let Some(latest) = self.entries.get_mut(&pid).and_then(|e| e.last_mut()) {
            latest.ended.get_or_insert(time);
        }
    }

    /// Marks processes that are gone and forgets those whose spans are out.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        let keep = self.keep;
        for (pid, entries) in &mut self.entries {
            for entry in entries.iter_mut().filter(|e| e.ended.is_none()) {
                let ticks = facts::start_ticks(*pid);
                if ticks.is_none() || ticks != entry.process.start_ticks {
                    entry.ended = Some(now);
                }
            }
            entries.retain(|e| e.ended.is_none_or(|ended| now.since(ended) < keep));
        }
        self.entries.retain(|_, entries| !entries.is_empty());
        self.count = self.entries.values().map(Vec::len).sum();
    }

    /// Whether the process is known and, as far as is known, still runs the program that was looked at.
    pub(crate) fn is_running(&self, pid: u32) -> bool {
        self.entries
            .get(&pid)
            .and_then(|entries| entries.last())
            .is_some_and(|latest| latest.ended.is_none())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn look(&mut self, pid: u32, time: Timestamp, anchor: &Anchor) -> Arc<Process> {
        if self.count >= self.most {
            self.evict();
        }
        let mut facts = Facts::read(pid);
        if facts.start_ticks.is_some_and(|ticks| of_ticks(ticks) > time) {
            // the process is gone and its id in use again: all this is about another one
            facts = Facts {
                pid,
                ..Facts::default()
            };
        }
        if facts.start_ticks.is_some() && facts.exe.is_none() && !self.said {
            self.said = true;
            tracing::warn!(
                pid,
                "what runs in this process cannot be read from /proc (CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH are missing): \
                 services have no names, and filters by executable let nothing through"
            );
        }
        let started = facts.start_ticks.map(of_ticks);
        let verdict = self.filter.verdict(&facts);
        let context = Context {
            host: &self.host,
            rule: self.rules.name(&facts),
            configured: &self.configured,
            started: started.map(|t| SystemTime::from(anchor.wall(t))),
        };
        let resource = Resource::new(&facts, &context);
        let entries = self.entries.entry(pid).or_default();
        // the first program of a process holds from its start, a later one from when it was seen
        let again = entries.iter().any(|e| e.process.start_ticks == facts.start_ticks);
        let since = started.filter(|_| !again).unwrap_or(time);
        let process = Arc::new(Process {
            resource,
            verdict,
            agent: instrumented::agent(&facts),
            start_ticks: facts.start_ticks,
            since,
        });
        entries.push(Entry {
            process: process.clone(),
            ended: None,
            seen: time,
        });
        self.count += 1;
        process
    }

    /// Forgets the process that ended first, else the oldest.
    fn evict(&mut self) {
        let all = self
            .entries
            .iter()
            .flat_map(|(pid, e)| e.first().map(|e| (*pid, e)));
        let key = |(_, e): &(u32, &Entry)| (e.ended.is_none(), e.ended.unwrap_or(e.process.since));
        if let Some((pid, _)) = all.min_by_key(key) {
            if let Some(entries) = self.entries.get_mut(&pid) {
                entries.remove(0);
                self.count -= 1;
            }
            self.entries.retain(|_, entries| !entries.is_empty());
        }
    }
}

/// Clock ticks since boot as a moment.
fn of_ticks(ticks: u64) -> Timestamp {
    Timestamp(ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1)))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::config::Config;

    fn table(most: usize) -> Processes {
        let config = Config::default();
        Processes::new(
            ProcessFilter::new(&config.filter).unwrap(),
            ServiceRules::new(&config.services).unwrap(),
            Vec::new(),
            Duration::from_secs(10),
            most,
        )
    }

    fn child() -> Child {
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    fn end(mut child: Child) -> u32 {
        drop(child.stdin.take());
        child.wait().unwrap();
        child.id()
    }

    fn soon() -> Timestamp {
        crate::clock::boot_now()
    }

    #[test]
    fn a_process_is_looked_at_once_and_kept_until_its_spans_are_out() {
        let mut table = table(8);
        let anchor = Anchor::read();
        let child = child();
        let seen = table.opened(child.id(), soon(), &anchor);
        assert_eq!(&*seen.resource.service, "cat");
        assert!(Arc::ptr_eq(&seen, &table.opened(child.id(), soon(), &anchor)));
        let pid = end(child);
        let ended = soon();
        table.sweep(ended);
        assert!(Arc::ptr_eq(&seen, &table.of(pid, ended, &anchor)));
        table.sweep(ended.plus(Duration::from_secs(9)));
        assert_eq!(table.len(), 1);
        table.sweep(ended.plus(Duration::from_secs(11)));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn spans_from_before_an_exec_belong_to_the_program_before() {
        let mut table = table(8);
        let anchor = Anchor::read();
        let child = child();
        let before = soon();
        let first = table.opened(child.id(), before, &anchor);
        table.replaced(child.id(), soon());
        let second = table.opened(child.id(), soon(), &anchor);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first, &table.of(child.id(), before, &anchor)));
        assert!(Arc::ptr_eq(&second, &table.of(child.id(), soon(), &anchor)));
        end(child);
    }

    /// A record may be read after its process ended and another one got the id.
    #[test]
    fn a_process_that_started_later_is_another_one() {
        let mut table = table(8);
        let anchor = Anchor::read();
        let child = child();
        let seen = table.opened(child.id(), Timestamp(1), &anchor);
        assert_eq!(&*seen.resource.service, "unknown_service");
        assert!(Arc::ptr_eq(
            &seen,
            &table.opened(child.id(), Timestamp(2), &anchor)
        ));
        let own = table.opened(child.id(), soon(), &anchor);
        assert_eq!(&*own.resource.service, "cat");
        end(child);
        table.sweep(soon());
        table.sweep(soon().plus(Duration::from_secs(11)));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = table(2);
        let anchor = Anchor::read();
        for pid in [u32::MAX - 1, u32::MAX - 2, u32::MAX - 3, u32::MAX - 4] {
            table.opened(pid, soon(), &anchor);
        }
        assert_eq!(table.len(), 2);
    }
}
