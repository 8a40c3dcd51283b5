//! What one end of a connection sends, put in order.
//!
//! Offsets count from the first byte, or from the first byte that was seen; they are 64 bits wide, so sequence numbers
//! may wrap. The bytes that came first win.

use std::collections::BTreeMap;

use crate::limits;

/// A part of the stream that is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    /// When it could be read.
    pub(super) time: u64,
    /// Offset of its first byte.
    pub(super) offset: u64,
    /// Length on the wire; what is behind `bytes` the capture cut off.
    pub(super) length: u32,
    pub(super) bytes: &'a [u8],
    /// Length of the hole before it.
    pub(super) lost: u64,
}

impl Piece<'_> {
    /// No bytes: it says where the stream begins.
    pub(super) fn nothing(time: u64) -> Piece<'static> {
        Piece {
            time,
            offset: 0,
            length: 0,
            bytes: &[],
            lost: 0,
        }
    }
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pushed {
    /// Bytes that were there already.
    pub(super) repeated: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Sequence number of offset 0.
    origin: Option<u32>,
    /// Offset 0 is the connection's first byte.
    from_start: bool,
    /// Offset and sequence number of the next byte to pass on.
    next: u64,
    next_sequence: u32,
    /// Ranges by offset, without overlaps.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Holes that were passed on, `from..to`, youngest last.
    holes: Vec<(u64, u64)>,
    /// Offset behind the last byte that the other end acknowledged.
    acknowledged: u64,
    /// Offset behind the last byte, and when that was said.
    finished: Option<(u64, u64)>,
    /// Time of what was passed on last.
    last: u64,
    /// Packets in a row that were far from everything: number of the last one, and how many.
    strays: Option<(u32, u32)>,
}

#[derive(Debug)]
struct Held {
    length: u32,
    bytes: Box<[u8]>,
    since: u64,
}

impl Way {
    /// It is known where the stream starts: its first byte has this number.
    pub(super) fn start(&mut self, sequence: u32) {
        if self.is_only_acknowledged() {
            self.origin = None;
        }
        self.place(sequence);
        self.from_start |= self.origin == Some(sequence);
    }

    /// Where it is, is known from an acknowledgement at most. Anything else tells better: an acknowledgement may have been
    /// captured before the bytes that it is about.
    fn is_only_acknowledged(&self) -> bool {
        self.is_placed() && self.next == 0 && self.held.is_empty() && !self.from_start
    }

    /// What comes first, as far as is known now, has this number.
    fn place(&mut self, sequence: u32) {
        if self.origin.is_none() {
            self.origin = Some(sequence);
            self.next_sequence = sequence;
        }
    }

    /// Some number is known.
    pub(super) fn is_placed(&self) -> bool {
        self.origin.is_some()
    }

    /// Whether the byte with this number is the first one.
    pub(super) fn starts_at(&self, sequence: u32) -> bool {
        self.origin == Some(sequence)
    }

    /// Offset 0 is the connection's first byte.
    pub(super) fn is_from_start(&self) -> bool {
        self.from_start
    }

    /// Whether this number is far from where the stream is.
    pub(super) fn is_far(&self, sequence: u32) -> bool {
        self.origin.is_some() && distance(sequence, self.next_sequence) > limits::WINDOW
    }

    /// Whether a packet with this number is none of this stream's: it is left over from a connection that had the same
    /// addresses before, or made up. No end would take it, since it is beyond any window. Several in a row that are close to one
    /// another are the stream itself, of which a large part was not captured.
    pub(super) fn is_stray(&mut self, sequence: u32) -> bool {
        // the number wraps with its width
        let ahead = self.acknowledged.saturating_sub(self.next) as u32;
        let acknowledged = self.next_sequence.wrapping_add(ahead);
        if !self.is_far(sequence) || distance(sequence, acknowledged) <= limits::WINDOW {
            self.strays = None;
            return false;
        }
        let count = match self.strays {
            Some((last, count)) if distance(sequence, last) <= limits::WINDOW => count + 1,
            _ => 1,
        };
        self.strays = Some((sequence, count)).filter(|_| count <= limits::STRAYS);
        count <= limits::STRAYS
    }

    /// Takes in a segment's bytes.
    pub(super) fn push(&mut self, time: u64, sequence: u32, length: u32, bytes: &[u8]) -> Pushed {
        // a single byte may be that of a keep-alive probe, which repeats what the capture does not have
        if self.origin.is_none() && length == 1 {
            return Pushed::default();
        }
        if let Ok(before) = u64::try_from(-self.offset(sequence))
            && length > 1
            && self.is_only_acknowledged()
        {
            self.origin = None;
            self.acknowledged += before;
        }
        self.place(sequence);
        let mut pushed = Pushed::default();
        let start = self.offset(sequence);
        let end = start + i64::from(length);
        // what is before the origin was never asked for
        let mut at = u64::try_from(start).unwrap_or(0);
        let end = u64::try_from(end).unwrap_or(0);
        while at < end {
            let known = self.known_until(at).min(end);
            if at < known {
                pushed.repeated += known - at;
                at = known;
                continue;
            }
            let until = self.free_until(at).min(end);
            let index = |offset: u64| {
                usize::try_from(i64::try_from(offset).unwrap_or(i64::MAX) - start)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len())
            };
            let part = bytes.get(index(at)..index(until)).unwrap_or_default();
            self.held_bytes += part.len();
            let held = Held {
                length: u32::try_from(until - at).unwrap_or(u32::MAX),
                bytes: part.into(),
                since: time,
            };
            self.held.insert(at, held);
            at = until;
        }
        pushed
    }

    /// The other end has everything before this number. Of a stream of which nothing was seen, that is where the capture
    /// begins.
    pub(super) fn acknowledge(&mut self, sequence: u32) {
        self.place(sequence);
        if let Ok(offset) = u64::try_from(self.offset(sequence)) {
            self.acknowledged = self.acknowledged.max(offset);
        }
    }

    /// The byte with this number does not come any more: the stream ends before it.
    pub(super) fn finish(&mut self, time: u64, sequence: u32) {
        self.place(sequence);
        if let Ok(end) = u64::try_from(self.offset(sequence)) {
            self.finished.get_or_insert((end, time));
        }
    }

    /// The stream has ended, and all of it was passed on or is lost.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.is_some_and(|(end, _)| self.next >= end)
    }

    /// Offset behind the last byte that is known to have been.
    pub(super) fn known_end(&self) -> u64 {
        match self.finished {
            Some((end, _)) => end.max(self.next),
            None => self.next.max(self.acknowledged),
        }
    }

    /// Captured bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.held_bytes
    }

    /// Since when something waits.
    pub(super) fn waits_since(&self) -> Option<u64> {
        let end = self
            .finished
            .filter(|(end, _)| *end > self.next)
            .map(|(_, since)| since);
        self.held.values().map(|held| held.since).chain(end).min()
    }

    /// Passes on what is in order at `now`; with `all` also what waits behind holes. Returns how many bytes are lost
    /// behind the last ones.
    pub(super) fn drain(&mut self, now: u64, all: bool, mut each: impl FnMut(&Piece<'_>)) -> u64 {
        let mut after_loss = false;
        while let Some((&offset, held)) = self.held.first_key_value() {
            let end = offset + u64::from(held.length);
            let lost = offset.saturating_sub(self.next);
            let too_much = self.held_bytes > limits::HELD_BYTES || self.held.len() > limits::HELD_RANGES;
            let given_up = all || too_much || self.is_given_up(offset, held.since, now);
            if lost > 0 && !given_up {
                break;
            }
            if lost > 0 {
                after_loss = true;
                if self.holes.len() >= limits::LATE_HOLES {
                    self.holes.remove(0);
                }
                self.holes.push((self.next, offset));
            }
            let Some((_, held)) = self.held.pop_first() else {
                break;
            };
            self.held_bytes -= held.bytes.len();
            // what waited for bytes that came is there now; what waited in vain was there all the time
            let time = if after_loss { held.since } else { now };
            let step = u128::from(self.last.saturating_sub(time)) > limits::CLOCK_STEP.as_nanos();
            // a clock that was set back goes on from there
            self.last = if step { time } else { self.last.max(time) };
            each(&Piece {
                time: self.last,
                offset,
                length: held.length,
                bytes: &held.bytes,
                lost,
            });
            if end > self.next {
                self.advance(end);
            } else {
                self.fill_hole(offset, end);
            }
        }
        match self.finished {
            Some((end, since)) if end > self.next && self.held.is_empty() => {
                if !all && !self.is_given_up(end, since, now) {
                    return 0;
                }
                let lost = end - self.next;
                self.advance(end);
                lost
            }
            // the other end has bytes that never came; a single one is the number of an end that was not seen
            None if all && self.acknowledged > self.next + 1 => {
                let lost = self.acknowledged - self.next;
                self.advance(self.acknowledged);
                lost
            }
            _ => 0,
        }
    }

    /// Whether the hole before `offset`, known since then, will not be filled: the other end has had its bytes for a
    /// while.
    fn is_given_up(&self, offset: u64, since: u64, now: u64) -> bool {
        let grace = u64::try_from(limits::REORDERING.as_nanos()).unwrap_or(u64::MAX);
        self.acknowledged >= offset && now.abs_diff(since) >= grace
    }

    /// When the end of the stream was told.
    pub(super) fn finished_at(&self) -> Option<u64> {
        self.finished.map(|(_, time)| time)
    }

    /// Drops what waits.
    pub(super) fn forget(&mut self) {
        self.held = BTreeMap::new();
        self.held_bytes = 0;
        self.holes = Vec::new();
    }

    /// Negative before the origin. Numbers are within 2 GiB of the next byte.
    fn offset(&self, sequence: u32) -> i64 {
        let distance = sequence.wrapping_sub(self.next_sequence).cast_signed();
        i64::try_from(self.next)
            .unwrap_or(i64::MAX)
            .saturating_add(distance.into())
    }

    fn advance(&mut self, to: u64) {
        let distance = to.saturating_sub(self.next);
        // the number wraps with its width
        self.next_sequence = self.next_sequence.wrapping_add(distance as u32);
        self.next = to;
    }

    /// The end of what is there without a hole from `at` on; not more than `at` if its byte is not there.
    fn known_until(&self, at: u64) -> u64 {
        let held = self
            .held
            .range(..=at)
            .next_back()
            .map_or(0, |(offset, held)| offset + u64::from(held.length));
        let passed = if at < self.next {
            // passed on, but for the holes
            let holes = || self.holes.iter();
            match holes().find(|(from, to)| (*from..*to).contains(&at)) {
                Some(_) => at,
                None => holes()
                    .map(|(from, _)| *from)
                    .filter(|from| *from > at)
                    .min()
                    .unwrap_or(self.next),
            }
        } else {
            0
        };
        held.max(passed)
    }

    /// The end of the free range that starts at `at`.
    fn free_until(&self, at: u64) -> u64 {
        let held = self
            .held
            .range(at..)
            .next()
            .map_or(u64::MAX, |(offset, _)| *offset);
        let hole = self
            .holes
            .iter()
            .find(|(from, to)| (*from..*to).contains(&at))
            .map_or(u64::MAX, |(_, to)| *to);
        held.min(hole)
    }

    /// `from..to` of a hole came after all.
    fn fill_hole(&mut self, from: u64, to: u64) {
        let holes = std::mem::take(&mut self.holes);
        for (start, end) in holes {
            if (start..end).contains(&from) {
                self.holes
                    .extend([(start, from), (to, end)].into_iter().filter(|(a, b)| a < b));
            } else {
                self.holes.push((start, end));
            }
        }
    }
}

/// How far two sequence numbers are from one another.
fn distance(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b).cast_signed().unsigned_abs()
}
