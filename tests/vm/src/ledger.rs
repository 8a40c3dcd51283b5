//! Every byte of every connection, accounted for: what a recording has against what the players moved.
//!
//! The ranges of a direction must follow one another from its first byte to its last. Bytes that were captured must be those that
//! moved. Bytes that ordinary calls let the tracer see and another way does not are that way's unseen bytes.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    path::Path,
};

use anyhow::Result;
use tracer_abi::Direction;
use tracer_core::record::{Close, ConnectionId, Data, Open, Record};

use crate::{
    script::{Action, Script, records},
    way::{Sees, Way},
};

/// What a recording has.
#[derive(Default)]
pub(crate) struct Ledger {
    connections: HashMap<ConnectionId, Seen>,
}

struct Seen {
    open: Open,
    sent: Vec<Entry>,
    received: Vec<Entry>,
    close: Option<Close>,
    processes: BTreeSet<u32>,
}

/// A range and the bytes that were captured of its start.
struct Entry {
    range: Range<u64>,
    bytes: Vec<u8>,
}

/// Captured ranges of a direction of a connection, in order.
type Captured = HashMap<(usize, bool), Vec<Range<u64>>>;

/// What there is to be said of a way.
pub(crate) struct Account {
    /// Processes that used its connections.
    pub(crate) processes: BTreeSet<u32>,
    /// Bytes that its connections moved.
    pub(crate) moved: u64,
    /// Bytes that ordinary calls would have shown.
    pub(crate) unseen: u64,
    /// What is wrong.
    pub(crate) problems: Vec<String>,
    captured: Captured,
}

impl Ledger {
    /// Reads a recording.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read(recording: &Path) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        records(recording, |record| ledger.enter(record))?;
        Ok(ledger)
    }

    fn enter(&mut self, record: &Record<'_>) {
        match record {
            Record::Open(open) => {
                self.connections.entry(open.connection).or_insert(Seen {
                    open: *open,
                    sent: Vec::new(),
                    received: Vec::new(),
                    close: None,
                    processes: BTreeSet::from([open.process.0]),
                });
            }
            Record::Data(data) => {
                if let Some(seen) = self.connections.get_mut(&data.connection) {
                    seen.processes.insert(data.process.0);
                    seen.data(data);
                }
            }
            Record::Close(close) => {
                if let Some(seen) = self.connections.get_mut(&close.connection) {
                    seen.close = Some(*close);
                }
            }
            Record::Process(_) => {}
        }
    }

    /// Looks at what a way played in this network namespace. `reference`: the ordinary way of the same scenario.
    pub(crate) fn check(
        &self,
        way: &Way,
        script: &Script,
        namespace: u32,
        reference: Option<&Account>,
    ) -> Account {
        let mut account = Account {
            processes: BTreeSet::new(),
            moved: 0,
            unseen: 0,
            problems: Vec::new(),
            captured: Captured::new(),
        };
        for (number, connection) in script.connections.iter().enumerate() {
            let ours = |seen: &&Seen| {
                let Open {
                    netns, local, remote, ..
                } = seen.open;
                (netns, local, remote) == (namespace, connection.local, connection.remote)
            };
            let found: Vec<&Seen> = self.connections.values().filter(ours).collect();
            match (&found[..], way.sees) {
                ([], Sees::Nothing) => {}
                ([seen], Sees::All | Sees::Some) => account.connection(number, seen, script),
                _ => account
                    .problems
                    .push(format!("connection {number} was announced {} times", found.len())),
            }
        }
        if let Some(reference) = reference {
            account.unseen = reference
                .captured
                .iter()
                .map(|(key, ranges)| without(ranges, account.captured.get(key).map_or(&[], Vec::as_slice)))
                .sum();
        }
        account
    }
}

impl Seen {
    fn data(&mut self, data: &Data<'_>) {
        let entry = Entry {
            range: data.offset..data.offset + u64::from(data.length),
            bytes: data.bytes.to_vec(),
        };
        if data.direction == Direction::SEND {
            self.sent.push(entry);
        } else {
            self.received.push(entry);
        }
    }
}

impl Account {
    fn connection(&mut self, number: usize, seen: &Seen, script: &Script) {
        self.processes.extend(&seen.processes);
        for sent in [true, false] {
            let truth = bytes_of(script, number, sent);
            self.moved += truth.len() as u64;
            let (entries, end) = if sent {
                (&seen.sent, seen.close.map(|close| close.sent_end))
            } else {
                (&seen.received, seen.close.map(|close| close.received_end))
            };
            let what = format!("connection {number}, {}", if sent { "sent" } else { "received" });
            self.direction((number, sent), entries, &truth, &what);
            if end.is_some_and(|end| end != truth.len() as u64) {
                self.problems
                    .push(format!("{what}: ends at {end:?} of {}", truth.len()));
            }
        }
    }

    fn direction(&mut self, key: (usize, bool), entries: &[Entry], truth: &[u8], what: &str) {
        let mut entries: Vec<&Entry> = entries.iter().collect();
        entries.sort_by_key(|entry| entry.range.start);
        let mut next = 0;
        for Entry { range, bytes } in entries {
            if range.start != next {
                self.problems
                    .push(format!("{what}: {next} is followed by {range:?}"));
            }
            next = range.end;
            let captured = range.start..range.start + bytes.len() as u64;
            let real = truth.get(captured.start as usize..captured.end as usize);
            if real != Some(bytes) {
                self.problems.push(format!("{what}: other bytes in {captured:?}"));
            }
            if !bytes.is_empty() {
                self.captured.entry(key).or_default().push(captured);
            }
        }
        if next != truth.len() as u64 {
            self.problems
                .push(format!("{what}: accounted up to {next} of {}", truth.len()));
        }
    }
}

/// All bytes that a connection moves in one direction.
fn bytes_of(script: &Script, connection: usize, sent: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for step in &script.steps {
        match &step.action {
            Action::Send(of, bytes) if sent && *of == connection => all.extend(bytes),
            Action::Receive(of, bytes) if !sent && *of == connection => all.extend(bytes),
            _ => {}
        }
    }
    all
}

/// Length of the first ranges without the second ones; both are in order.
fn without(ranges: &[Range<u64>], others: &[Range<u64>]) -> u64 {
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let mut common = 0;
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (ranges.get(i), others.get(j)) {
        common += a.end.min(b.end).saturating_sub(a.start.max(b.start));
        if a.end <= b.end {
            i += 1;
        } else {
            j += 1;
        }
    }
    total - common
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn ranges_without_others() {
        let all = std::slice::from_ref(&(0..10));
        assert_eq!(without(all, &[]), 10);
        assert_eq!(without(all, &[0..4, 4..10]), 0);
        assert_eq!(without(&[0..4, 4..10, 20..30], &[2..5, 25..40]), 2 + 5 + 5);
    }
}
