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

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Fragments(LinkedHashMap<Key, (IpDefragBuf, u64)>);

impl Fragments {
    /// Takes in a fragment. Gives the payload of its datagram when that is complete, and how many fragments were
    /// given up.
    pub(crate) fn add(&mut self, fragment: &Fragment<'_>) -> (Option<Vec<u8>>, u64) {
        let mut lost = 0;
        let (mut buffer, count) = self
            .0
            .remove(&fragment.key)
            .unwrap_or_else(|| (IpDefragBuf::new(fragment.key.protocol, Vec::new(), Vec::new()), 0));
        let count = count + 1;
        // one that contradicts the others, or one too many: the datagram is not what it seems
        if buffer
            .add(fragment.offset, fragment.more, fragment.payload)
            .is_err()
            || count > limits::FRAGMENTS as u64
        {
            return (None, count);
        }
        if buffer.is_complete() {
            return (Some(buffer.take_bufs().0), 0);
        }
        if self.0.len() >= limits::DATAGRAMS {
            lost = self.0.pop_front().map_or(0, |(_, (_, count))| count);
        }
        self.0.insert(fragment.key, (buffer, count));
        (None, lost)
    }

    /// Fragments that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.values().map(|(_, count)| count).sum()
    }
}
