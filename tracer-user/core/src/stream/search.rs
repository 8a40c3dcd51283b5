//! Where the next frame starts, when the boundary was lost (§1.8).
//!
//! Every position is tried. A candidate must look like a frame, have its whole header within the window, and the
//! header must parse: a JSON object with code, opaque and flag, or a binary header whose lengths add up. What
//! stands behind the candidate's frame must be a frame by the same rule. As long as that is not there, the candidate
//! is held. A candidate that turns out to be none has let its bytes pass: a frame among them is not found, where it
//! would have been if all had been there at once.

use std::collections::VecDeque;

use tracer_abi::{
    PREFIX,
    sniff::{self, Verdict},
};

use super::{MAX_HEADER, SEARCH_WINDOW, Times};
use crate::wire::{Header, header::Codec};

/// Most bytes that may be pushed at once.
pub(super) const STEP: usize = SEARCH_WINDOW / 4;
/// A candidate whose header has not come within so many bytes is none.
const PATIENCE: usize = SEARCH_WINDOW - STEP;
/// Most operations that bytes of the window are told apart by.
const MAX_MARKS: usize = 256;

/// The first eight bytes of a frame (§1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    pub(super) codec: Codec,
    /// The whole frame's length.
    pub(super) length: u32,
    /// Length of envelope and header.
    pub(super) head: usize,
}

/// What bytes at a supposed boundary are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Examined {
    /// Too few to say; a frame has at least this many.
    More(usize),
    NotAFrame,
    /// A frame. Its header may not be there yet.
    Frame(Envelope),
}

/// The shortest frame: an empty binary header.
const SHORTEST: usize = 29;

/// Looks at what stands at a supposed boundary.
pub(super) fn examine(bytes: &[u8]) -> Examined {
    let mut first = [0; PREFIX];
    let n = bytes.len().min(PREFIX);
    for (to, from) in first.iter_mut().zip(bytes) {
        *to = *from;
    }
    match sniff::sniff(&first, n) {
        Verdict::More => Examined::More(SHORTEST),
        Verdict::Other => Examined::NotAFrame,
        // parsing the header checks the condition
        Verdict::Frame | Verdict::FrameIf { .. } => {
            let [a, b, c, d, kind, e, f, g, ..] = first;
            match Codec::from_wire(kind) {
                Some(codec) => Examined::Frame(Envelope {
                    codec,
                    length: u32::from_be_bytes([a, b, c, d]).saturating_add(4),
                    head: 8 + u32::from_be_bytes([0, e, f, g]) as usize,
                }),
                None => Examined::NotAFrame,
            }
        }
    }
}

/// Bytes in which a frame may start.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Stream offset where the boundary was lost.
    from: u64,
    window: Window,
    /// Bytes of the window that start no frame.
    tried: usize,
}

/// Bytes of the stream, with the operations that moved them.
#[derive(Debug, Default)]
pub(super) struct Window {
    offset: u64,
    bytes: Vec<u8>,
    /// From which stream offset on which operation; never empty where there are bytes.
    marks: VecDeque<(u64, Times)>,
}

/// A frame's start.
pub(super) struct Found {
    /// Where the boundary was lost.
    pub(super) from: u64,
    /// The bytes from the frame's start on.
    pub(super) window: Window,
    /// A further frame follows it: it is one.
    pub(super) confirmed: bool,
}

enum Judgement {
    No,
    Wait,
    Yes { confirmed: bool },
}

impl Search {
    /// Starts over: the boundary was lost at `from`.
    pub(super) fn begin(&mut self, from: u64) {
        *self = Search {
            from,
            ..Search::default()
        };
    }

    /// Ends without a find: the stream has reached `to`. Returns where the boundary was lost.
    pub(super) fn give_up(&mut self, to: u64) -> u64 {
        std::mem::replace(
            self,
            Search {
                from: to,
                ..Search::default()
            },
        )
        .from
    }

    /// Adds bytes, at most [`STEP`]. They follow those that are there, or a hole.
    pub(super) fn push(&mut self, offset: u64, bytes: &[u8], times: Times) {
        if offset != self.window.end() {
            self.interrupt();
        }
        self.window.push(offset, bytes, times);
    }

    /// Bytes are missing: what is there is not continued.
    pub(super) fn interrupt(&mut self) {
        self.window = Window::default();
        self.tried = 0;
    }

    /// Looks for a frame's start in what is there. `None`: more bytes are needed.
    pub(super) fn find(&mut self) -> Option<Found> {
        loop {
            let rest = self.window.bytes.get(self.tried..).unwrap_or_default();
            // the first byte of a frame is zero
            let Some(at) = rest.iter().position(|b| *b == 0) else {
                self.interrupt();
                return None;
            };
            self.tried += at;
            match judge(rest.get(at..).unwrap_or_default()) {
                Judgement::No => self.tried += 1,
                Judgement::Wait => {
                    self.window.drop_front(self.tried);
                    self.tried = 0;
                    return None;
                }
                Judgement::Yes { confirmed } => {
                    let mut window = std::mem::take(&mut self.window);
                    window.drop_front(self.tried);
                    self.tried = 0;
                    return Some(Found {
                        from: self.from,
                        window,
                        confirmed,
                    });
                }
            }
        }
    }
}

fn judge(bytes: &[u8]) -> Judgement {
    let envelope = match examine(bytes) {
        Examined::NotAFrame => return Judgement::No,
        Examined::More(_) => return Judgement::Wait,
        Examined::Frame(envelope) => envelope,
    };
    if envelope.head > PATIENCE.min(MAX_HEADER) {
        return Judgement::No;
    }
    let Some(header) = bytes.get(8..envelope.head) else {
        return if bytes.len() < PATIENCE {
            Judgement::Wait
        } else {
            Judgement::No
        };
    };
    if !is_header(envelope.codec, header) {
        return Judgement::No;
    }
    let behind = bytes.get(envelope.length as usize..).unwrap_or_default();
    match examine(behind) {
        Examined::NotAFrame => Judgement::No,
        Examined::Frame(next) if next.head > MAX_HEADER => Judgement::No,
        Examined::Frame(next) => match behind.get(8..next.head) {
            None => Judgement::Yes { confirmed: false },
            Some(header) if is_header(next.codec, header) => Judgement::Yes { confirmed: true },
            Some(_) => Judgement::No,
        },
        Examined::More(_) => Judgement::Yes { confirmed: false },
    }
}

fn is_header(codec: Codec, bytes: &[u8]) -> bool {
    Header::parse(codec, bytes).is_ok()
}

impl Window {
    /// Stream offset of the first byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes, by the operation that moved them.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, &[u8], Times)> {
        let ends = self
            .marks
            .iter()
            .skip(1)
            .map(|(offset, _)| *offset)
            .chain([self.end()]);
        self.marks.iter().zip(ends).map(|((offset, times), end)| {
            let index = |offset: u64| (offset - self.offset) as usize;
            (
                *offset,
                self.bytes.get(index(*offset)..index(end)).unwrap_or_default(),
                *times,
            )
        })
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn push(&mut self, offset: u64, bytes: &[u8], times: Times) {
        if self.bytes.is_empty() {
            self.offset = offset;
            self.marks.clear();
        }
        self.bytes.extend_from_slice(bytes);
        let full = self.marks.len() == MAX_MARKS;
        match self.marks.back_mut() {
            // many tiny operations: the last ones count as one
            Some((_, last)) if full || *last == times => last.end = times.end,
            _ => self.marks.push_back((offset, times)),
        }
    }

    fn drop_front(&mut self, n: usize) {
        self.bytes.drain(..n.min(self.bytes.len()));
        self.offset += n as u64;
        // the last mark at or before the new start stays, and starts there
        while self
            .marks
            .get(1)
            .is_some_and(|(offset, _)| *offset <= self.offset)
        {
            self.marks.pop_front();
        }
        if let Some((offset, _)) = self.marks.front_mut() {
            *offset = self.offset.max(*offset);
        }
    }
}
