//! One direction of a connection: ranges of bytes by stream offset in, frames out.
//!
//! ```text
//! ranges ─ order ─▶ bytes, elided and lost ranges, in order ─ machine ─▶ frames and gaps
//!                                                              ├ search: a frame's start after lost bytes
//!                                                              └ body ─ records: what is kept of a body
//! ```
//!
//! A range may come out of order, twice, without its bytes (elided: they were left out on purpose), or never (lost), which may be
//! said of it or found.
//! Offsets are exact, so a boundary stays known as long as the length of the current frame was seen:
//!
//! | missing | effect |
//! |---|---|
//! | within a message body, or a body that is skipped anyway | none |
//! | within a part of a body that is kept | the frame comes out with what there was, `incomplete` |
//! | within the header | no frame; the next one is read as usual |
//! | from a frame's start on | the start of a frame is searched for in the bytes that follow |
//!
//! Invariant: a frame is only ever made from the bytes of one frame of the peer. In step, what a body contains
//! is never looked at for frames. In a search, a candidate needs a whole header that parses, and comes out only
//! when what follows it does not contradict it.
//!
//! Memory: what is held for reordering, the search window, headers, kept bodies and the number of messages in a
//! frame have the bounds of this module; a length that is only announced allocates nothing.

mod body;
mod machine;
mod order;
mod records;
mod search;

use std::{collections::VecDeque, mem, time::Duration};

use self::{
    machine::Machine,
    order::{Order, Range},
};
use crate::{model::Timestamp, record::Data, wire::Frame};

/// How long a hole may wait to be filled, and a frame found by search for a contradiction. A thread that lost its core between
/// moving bytes and recording that leaves a hole until it goes on: on a machine with ten threads for each core that took
/// longer than 200 ms.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Most captured bytes held behind a hole.
pub const MAX_HELD_BYTES: usize = 256 * 1024;
/// Most ranges held behind a hole: what a busy connection moves while a hole waits.
pub const MAX_HELD_RANGES: usize = 512;
/// Longest header that is read. Properties have at most 32 KiB, six times that as JSON escapes.
pub const MAX_HEADER: usize = 256 * 1024;
/// Longest body that is kept as it is.
pub const MAX_RAW_BODY: u32 = 256 * 1024;
/// Most messages of one frame.
pub const MAX_MESSAGES: usize = 64 * 1024;
/// Most bytes kept while a frame's start is searched for.
pub const SEARCH_WINDOW: usize = 64 * 1024;

/// Events that room is kept for when all are taken out: one takes almost half a KiB.
const IDLE_EVENTS: usize = 64;

/// What came out of a stream.
#[derive(Clone, PartialEq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all events are frames; a box would cost each of them an allocation"
)]
pub enum Event {
    /// A whole frame.
    Frame(Frame),
    /// A part of the stream from which no frame came, or not all that it held.
    Gap(Gap),
}

/// The range `from..to` of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Stream offset of its first byte.
    pub from: u64,
    /// Stream offset behind its last byte.
    pub to: u64,
    /// What is the matter with it.
    pub why: Cause,
}

/// Why there is a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// These bytes never came, or were said to be lost.
    Lost,
    /// One frame whose header was lost, elided, too long or malformed.
    Damaged,
    /// The start of a frame was searched for; what these bytes held is not known.
    Unsynchronised,
}

/// What went through a stream. Numbers only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Bytes of the stream that were seen, elided ones included, repeated and lost ones not.
    pub bytes: u64,
    /// Bytes in ranges without bytes.
    pub elided: u64,
    /// Bytes that never came, or were said to be lost.
    pub lost: u64,
    /// Ranges of lost bytes.
    pub gaps: u64,
    /// Bytes that came again, or after they were declared lost.
    pub repeated: u64,
    /// Frames that came out.
    pub frames: u64,
    /// Of those, frames with [`Frame::incomplete`].
    pub incomplete: u64,
    /// Frames that did not come out because their header was not there.
    pub damaged: u64,
    /// Frames, or what was thought to be one, that are not what the protocol says.
    pub malformed: u64,
    /// Times a frame's start was searched for.
    pub resyncs: u64,
    /// Bytes passed over in those searches.
    pub searched: u64,
}

/// When an operation on the socket started and ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Times {
    start: Timestamp,
    end: Timestamp,
}

/// One direction of a connection. Push ranges, then poll until there is nothing; call [`Stream::expire`] at
/// [`Stream::deadline`].
#[derive(Debug)]
pub struct Stream {
    order: Order,
    machine: Machine,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream::new()
    }
}

impl Stream {
    /// A stream that starts where its first range starts, supposedly with a frame. What comes later but stands
    /// before it is dropped and counted as repeated.
    pub fn new() -> Stream {
        Stream {
            order: Order::new(None),
            machine: Machine::new(),
        }
    }

    /// A stream whose first byte is known to have this offset, also if a later range comes first.
    pub fn starting_at(offset: u64) -> Stream {
        Stream {
            order: Order::new(Some(offset)),
            machine: Machine::new(),
        }
    }

    /// Takes in the range `offset..offset + length`, of which `bytes` are the first; the operation that moved
    /// it ran from `start` to `end`. Bytes beyond `length` are ignored.
    pub fn push(&mut self, offset: u64, length: u32, bytes: &[u8], start: Timestamp, end: Timestamp) {
        self.range(Range::new(offset, length, bytes, Times { start, end }));
    }

    /// Takes in a record of this direction, which may say that bytes are lost.
    pub(crate) fn take(&mut self, data: &Data<'_>) {
        let times = Times {
            start: data.start,
            end: data.end,
        };
        let range = Range::new(data.offset, data.length, data.bytes, times);
        self.range(if data.missed { range.missed() } else { range });
    }

    fn range(&mut self, range: Range<'_>) {
        let Stream { order, machine } = self;
        let repeated = order.push(range, |p| machine.piece(p));
        machine.counters.repeated += repeated;
    }

    /// Swaps the room for what comes out, which belongs to nobody while it is empty: many streams of which one at a time is
    /// worked on need no room of their own.
    pub(crate) fn swap_events(&mut self, room: &mut VecDeque<Event>) {
        mem::swap(&mut self.machine.events, room);
    }

    /// What came out next.
    pub fn poll(&mut self) -> Option<Event> {
        let event = self.machine.events.pop_front();
        if event.is_none() {
            // one range with hundreds of frames must not hold their memory for good
            self.machine.events.shrink_to(IDLE_EVENTS);
        }
        event
    }

    /// When [`Stream::expire`] has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        [self.order.deadline(), self.machine.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Gives up the holes that have waited for [`PATIENCE`] at `now`.
    pub fn expire(&mut self, now: Timestamp) {
        let Stream { order, machine } = self;
        order.expire(now, |p| machine.piece(p));
        machine.expire(now);
    }

    /// Gives up all holes: nothing more will come. A frame that has not ended does not come out.
    pub fn flush(&mut self) {
        let Stream { order, machine } = self;
        order.flush(|p| machine.piece(p));
        machine.flush();
    }

    /// What went through so far.
    pub fn counters(&self) -> Counters {
        self.machine.counters
    }
}
