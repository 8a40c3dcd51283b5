//! Datagrams from their fragments. A bounded number wait; the one that began first is given up for another.

use std::net::IpAddr;

use etherparse::{IpFragOffset, IpNumber, defrag::IpDefragBuf};
use hashlink::LinkedHashMap;

use crate::limits;

/// Which datagram a fragment belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) identification: u32,
    pub(crate) protocol: IpNumber,
}

/// One fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) key: Key,
    pub(crate) offset: IpFragOffset,
    pub(crate) more: bool,
    pub(crate) payload: &'a [u8],
}

/// What waits, and what was complete a moment ago: its fragments may have been captured on several devices.
#[derive(Debug, Default)]
pub(crate) struct Fragments(LinkedHashMap<Key, Datagram>);

#[derive(Debug)]
struct Datagram {
    /// `None` once it was complete.
    buffer: Option<IpDefragBuf>,
    /// Fragments so far.
    count: u64,
    /// When the first one came.
    since: u64,
}

impl Fragments {
    /// Takes in a fragment that was captured at `time`. Gives the payload of its datagram when that is complete, and how
    /// many fragments were given up.
    pub(crate) fn add(&mut self, time: u64, fragment: &Fragment<'_>) -> (Option<Vec<u8>>, u64) {
        let mut lost = self.expire(time);
        let (mut datagram, old) = match self.0.remove(&fragment.key) {
            Some(known) if !known.is_over(time) => (known, 0),
            known => (
                Datagram {
                    buffer: Some(IpDefragBuf::new(fragment.key.protocol, Vec::new(), Vec::new())),
                    count: 0,
                    since: time,
                },
                known.map_or(0, |old| old.lost()),
            ),
        };
        lost += old;
        datagram.count += 1;
        let mut complete = None;
        if let Some(mut buffer) = datagram.buffer.take() {
            // one that contradicts the others, or one too many: the datagram is not what it seems
            if buffer
                .add(fragment.offset, fragment.more, fragment.payload)
                .is_err()
                || datagram.count > limits::FRAGMENTS as u64
            {
                return (None, lost + datagram.count);
            }
            if buffer.is_complete() {
                complete = Some(buffer.take_bufs().0);
            } else {
                datagram.buffer = Some(buffer);
            }
        }
        if self.0.len() >= limits::DATAGRAMS {
            lost += self.0.pop_front().map_or(0, |(_, oldest)| oldest.lost());
        }
        self.0.insert(fragment.key, datagram);
        (complete, lost)
    }

    /// Fragments that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.values().map(Datagram::lost).sum()
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, time: u64) -> u64 {
        let mut lost = 0;
        while let Some((_, oldest)) = self.0.front()
            && oldest.is_over(time)
        {
            lost += self.0.pop_front().map_or(0, |(_, oldest)| oldest.lost());
        }
        lost
    }
}

impl Datagram {
    /// What comes under its identification now belongs to another.
    fn is_over(&self, now: u64) -> bool {
        let most = match self.buffer {
            Some(_) => limits::REASSEMBLY,
            None => limits::REORDERING,
        };
        u128::from(now.abs_diff(self.since)) > most.as_nanos()
    }

    /// Fragments that are of no use if it ends here.
    fn lost(&self) -> u64 {
        match self.buffer {
            Some(_) => self.count,
            None => 0,
        }
    }
}
