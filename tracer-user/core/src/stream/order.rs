//! Puts ranges into the order of their offsets. First-seen bytes win; what is already there is dropped.
//!
//! Ranges nearly always come in order and are passed on without a copy. What comes behind a hole is copied and
//! held until the hole is filled, has waited too long, or too much is held.

use std::collections::BTreeMap;

use super::{MAX_HELD_BYTES, MAX_HELD_RANGES, PATIENCE, Times};
use crate::model::Timestamp;

/// A part of the stream, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    pub(super) offset: u64,
    pub(super) kind: Kind<'a>,
    /// Of the operation that moved it; for lost bytes the moment at which the next operation started, or its times where that says
    /// that they are lost.
    pub(super) times: Times,
}

impl Piece<'_> {
    /// Offset behind its last byte.
    pub(super) fn end(&self) -> u64 {
        let length = match self.kind {
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::Elided(length) | Kind::Lost(length) => length,
        };
        self.offset + length
    }
}

/// What there is of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind<'a> {
    Bytes(&'a [u8]),
    /// This many bytes that were seen but not copied.
    Elided(u64),
    /// This many bytes that never came, or were said to be lost.
    Lost(u64),
}

/// A range of the stream, of which `bytes` are the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range<'a> {
    offset: u64,
    length: u64,
    bytes: &'a [u8],
    times: Times,
    /// Bytes behind `bytes` are lost, and not elided.
    missed: bool,
}

impl<'a> Range<'a> {
    pub(super) fn new(offset: u64, length: u32, bytes: &'a [u8], times: Times) -> Range<'a> {
        // offsets count from the connection's start: the top of the range is out of reach
        let length = u64::from(length).min(u64::MAX - offset);
        Range {
            offset,
            length,
            bytes,
            times,
            missed: false,
        }
        .part(offset, offset + length)
    }

    /// The same, of which all but the bytes is lost.
    pub(super) fn missed(self) -> Range<'a> {
        Range { missed: true, ..self }
    }

    fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// The part `from..to`, which must lie within the range.
    fn part(&self, from: u64, to: u64) -> Range<'a> {
        let index = |offset: u64| {
            usize::try_from(offset - self.offset)
                .unwrap_or(usize::MAX)
                .min(self.bytes.len())
        };
        let bytes = self.bytes.get(index(from)..index(to)).unwrap_or_default();
        Range {
            offset: from,
            length: to - from,
            bytes,
            ..*self
        }
    }

    fn deliver(&self, out: &mut impl FnMut(Piece<'_>)) {
        let Range {
            offset,
            bytes,
            times,
            missed,
            ..
        } = *self;
        if !bytes.is_empty() {
            out(Piece {
                offset,
                kind: Kind::Bytes(bytes),
                times,
            });
        }
        let captured = bytes.len() as u64;
        if captured < self.length {
            let rest = self.length - captured;
            out(Piece {
                offset: offset + captured,
                kind: if missed {
                    Kind::Lost(rest)
                } else {
                    Kind::Elided(rest)
                },
                times,
            });
        }
    }
}

/// A range behind a hole.
#[derive(Debug)]
struct Held {
    length: u64,
    bytes: Box<[u8]>,
    times: Times,
    missed: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Order {
    /// Offset of the next byte to pass on; `None` before the first range.
    next: Option<u64>,
    /// Ranges by offset, all behind `next`, without overlaps.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
}

impl Order {
    pub(super) fn new(next: Option<u64>) -> Order {
        Order {
            next,
            held: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    /// Takes in a range and passes on what is in order now. Returns how many of its bytes were repeated.
    pub(super) fn push(&mut self, range: Range<'_>, mut out: impl FnMut(Piece<'_>)) -> u64 {
        let next = *self.next.get_or_insert(range.offset);
        if next == range.offset && self.held.is_empty() {
            range.deliver(&mut out);
            self.next = Some(range.end());
            return 0;
        }
        let mut repeated = 0;
        let mut at = range.offset;
        while at < range.end() {
            let known = self.known_until(at).min(range.end());
            if at < known {
                repeated += known - at;
                at = known;
                continue;
            }
            let until = self
                .held
                .range(at..)
                .next()
                .map_or(range.end(), |(held, _)| range.end().min(*held));
            self.take(range.part(at, until), &mut out);
            at = until;
        }
        repeated
    }

    /// When the first hole has waited long enough.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.held
            .values()
            .map(|held| held.times.end)
            .min()
            .map(|since| since.plus(PATIENCE))
    }

    /// Gives up holes that have waited long enough.
    pub(super) fn expire(&mut self, now: Timestamp, mut out: impl FnMut(Piece<'_>)) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.lose_first_hole(&mut out);
        }
    }

    /// Gives up all holes.
    pub(super) fn flush(&mut self, mut out: impl FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            self.lose_first_hole(&mut out);
        }
    }

    fn next(&self) -> u64 {
        self.next.unwrap_or_default()
    }

    /// The end of what is there without a hole from `at` on; not more than `at` if its byte is not there.
    fn known_until(&self, at: u64) -> u64 {
        let held = self
            .held
            .range(..=at)
            .next_back()
            .map_or(0, |(offset, held)| offset + held.length);
        held.max(self.next())
    }

    /// Passes a range on, or holds it. No byte of it is there yet.
    fn take(&mut self, range: Range<'_>, out: &mut impl FnMut(Piece<'_>)) {
        while range.offset != self.next() {
            if self.held.len() < MAX_HELD_RANGES && self.held_bytes + range.bytes.len() <= MAX_HELD_BYTES {
                self.held_bytes += range.bytes.len();
                let held = Held {
                    length: range.length,
                    bytes: range.bytes.into(),
                    times: range.times,
                    missed: range.missed,
                };
                self.held.insert(range.offset, held);
                return;
            }
            match self.held.first_key_value() {
                Some((first, _)) if *first < range.offset => self.lose_first_hole(out),
                _ => self.lose(range.offset, range.times, out),
            }
        }
        range.deliver(out);
        self.next = Some(range.end());
        self.drain(out);
    }

    /// Passes on what is held and in order now.
    fn drain(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        while let Some(first) = self.held.first_entry() {
            if *first.key() != self.next.unwrap_or_default() {
                return;
            }
            let (offset, held) = first.remove_entry();
            self.held_bytes -= held.bytes.len();
            Range {
                offset,
                length: held.length,
                bytes: &held.bytes,
                times: held.times,
                missed: held.missed,
            }
            .deliver(out);
            self.next = Some(offset + held.length);
        }
    }

    fn lose_first_hole(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if let Some((to, times)) = self
            .held
            .first_key_value()
            .map(|(offset, held)| (*offset, held.times))
        {
            self.lose(to, times, out);
            self.drain(out);
        }
    }

    /// Declares `next..to` lost; `after` are the times of what stands at `to`.
    fn lose(&mut self, to: u64, after: Times, out: &mut impl FnMut(Piece<'_>)) {
        let times = Times {
            start: after.start,
            end: after.start,
        };
        out(Piece {
            offset: self.next(),
            kind: Kind::Lost(to - self.next()),
            times,
        });
        self.next = Some(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an order passed on: offset and text, `-` for elided and `?` for lost bytes.
    struct Log(Order, Vec<(u64, String)>, u64);

    impl Log {
        fn new() -> Log {
            Log(Order::new(Some(0)), Vec::new(), 0)
        }

        fn push_at(&mut self, offset: u64, length: u32, text: &str, at: u64) {
            let times = Times {
                start: Timestamp(at),
                end: Timestamp(at),
            };
            let Log(order, log, repeated) = self;
            *repeated += order.push(Range::new(offset, length, text.as_bytes(), times), |p| {
                note(log, p)
            });
        }

        fn push(&mut self, offset: u64, text: &str) {
            self.push_at(offset, text.len() as u32, text, 0);
        }

        fn text(&self) -> String {
            let mut next = 0;
            for (offset, text) in &self.1 {
                assert_eq!(*offset, next, "{:?}", self.1);
                next += text.len() as u64;
            }
            self.1.iter().map(|(_, text)| text.as_str()).collect()
        }
    }

    fn note(log: &mut Vec<(u64, String)>, piece: Piece<'_>) {
        let text = match piece.kind {
            Kind::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Kind::Elided(n) => "-".repeat(n as usize),
            Kind::Lost(n) => "?".repeat(n as usize),
        };
        log.push((piece.offset, text));
    }

    /// Said to be lost: at once where it is in order, and in its place where it is not.
    #[test]
    fn what_is_said_to_be_lost() {
        let mut log = Log::new();
        let miss = |log: &mut Log, offset, length| {
            let Log(order, pieces, _) = log;
            let range = Range::new(offset, length, &[], Times::default());
            order.push(range.missed(), |p| note(pieces, p));
        };
        miss(&mut log, 0, 3);
        log.push(3, "abc");
        miss(&mut log, 8, 2);
        log.push(10, "xyz");
        log.push(6, "de");
        assert_eq!(log.text(), "???abcde??xyz");
        assert!(log.0.held.is_empty());
    }

    #[test]
    fn in_order_and_out_of_order() {
        let mut log = Log::new();
        log.push(0, "ab");
        log.push(4, "ef");
        log.push(7, "h");
        assert_eq!(log.text(), "ab");
        log.push(2, "cd");
        assert_eq!(log.text(), "abcdef");
        log.push(6, "g");
        assert_eq!((log.text().as_str(), log.2), ("abcdefgh", 0));
        assert_eq!((log.0.held_bytes, log.0.deadline()), (0, None));
    }

    #[test]
    fn first_seen_bytes_win() {
        let mut log = Log::new();
        log.push(0, "ab");
        log.push(0, "XXc");
        log.push(5, "fg");
        log.push(9, "j");
        log.push(4, "eXXhiXk");
        assert_eq!(log.text(), "abc");
        log.push(1, "XXdXX");
        assert_eq!((log.text().as_str(), log.2), ("abcdefghijk", 2 + 3 + 2 + 2));
    }

    #[test]
    fn elided_ends() {
        let mut log = Log::new();
        log.push_at(3, 4, "d", 0);
        log.push_at(0, 5, "a", 0);
        assert_eq!((log.text().as_str(), log.2), ("a--d---", 2));
        log.push_at(7, 1, "toolong", 0);
        assert_eq!(log.text(), "a--d---t");
    }

    #[test]
    fn holes_expire() {
        let mut log = Log::new();
        log.push_at(2, 1, "c", 10);
        log.push_at(4, 1, "e", 20);
        let patience = PATIENCE.as_nanos() as u64;
        assert_eq!(log.0.deadline(), Some(Timestamp(10 + patience)));
        let Log(order, out, _) = &mut log;
        order.expire(Timestamp(9 + patience), |p| note(out, p));
        assert!(out.is_empty());
        order.expire(Timestamp(10 + patience), |p| note(out, p));
        assert_eq!(order.deadline(), Some(Timestamp(20 + patience)));
        assert_eq!(log.text(), "??c");
        let Log(order, out, _) = &mut log;
        order.flush(|p| note(out, p));
        assert_eq!(log.text(), "??c?e");
        log.push(0, "abcd");
        assert_eq!((log.text().as_str(), log.2), ("??c?e", 4));
    }

    #[test]
    fn holding_is_bounded() {
        let mut log = Log::new();
        for i in 1..=MAX_HELD_RANGES as u64 {
            log.push(2 * i, "x");
        }
        assert_eq!(log.text(), "");
        log.push(2 * MAX_HELD_RANGES as u64 + 2, "x");
        assert_eq!(log.text(), "??x");

        let mut log = Log::new();
        let half = "y".repeat(MAX_HELD_BYTES / 2);
        log.push(1, &half);
        log.push(1_000_000, &half);
        assert_eq!(log.text(), "");
        log.push(999_999, "z");
        assert_eq!(log.text(), format!("?{half}"));
        // more than may be held at all: what is before it is given up
        let mut log = Log::new();
        log.push(1, &"y".repeat(MAX_HELD_BYTES + 1));
        assert_eq!(log.text().len(), MAX_HELD_BYTES + 2);
    }

    #[test]
    fn end_of_the_offsets() {
        let mut order = Order::new(None);
        let range = Range::new(u64::MAX - 1, 8, b"abc", Times::default());
        let mut pieces = Vec::new();
        order.push(range, |p| pieces.push(p.kind == Kind::Bytes(b"a")));
        assert_eq!(pieces, [true]);
    }
}
