//! Frames from pieces in order: where each starts and ends, and what becomes of it when bytes are missing.

use std::collections::VecDeque;

use super::{
    Cause, Counters, Event, Gap, MAX_HEADER, PATIENCE, Times,
    body::Reader,
    order::{Kind, Piece},
    search::{self, Envelope, Examined, Search, examine},
};
use crate::{
    model::Timestamp,
    wire::{Frame, Header},
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    /// Envelope and header, as far as they have come, of the frame that has begun.
    head: Vec<u8>,
    begun: Begun,
    trust: Trust,
    search: Search,
    /// Offset behind the last piece.
    end: u64,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

/// Where the next byte stands.
#[derive(Debug)]
enum State {
    /// At a frame's start, or within its envelope and header.
    Head,
    /// In the body; this many bytes of it are left, never zero. Boxed, because most streams are at a frame's start most of the time.
    Body(Box<Partial>, u32),
    /// In a frame that will not come out; this many bytes of it are left, never zero.
    Damaged(u32),
    /// Anywhere.
    Search,
}

/// The start of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    offset: u64,
    start: Timestamp,
}

/// A frame whose header is there.
#[derive(Debug)]
struct Partial {
    begun: Begun,
    length: u32,
    header: Header,
    body_length: u32,
    body: Reader,
}

/// Whether the boundary is known, or was found by search and may still be contradicted by what follows.
#[derive(Debug)]
enum Trust {
    Sure,
    /// The frame that was found has not ended.
    Found,
    /// It has; the next frame's head, or time, confirms it.
    Held(Box<Frame>),
}

impl Machine {
    pub(super) fn new() -> Machine {
        Machine {
            state: State::Head,
            head: Vec::new(),
            begun: Begun::default(),
            trust: Trust::Sure,
            search: Search::default(),
            end: 0,
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes in the next piece of the stream.
    pub(super) fn piece(&mut self, piece: Piece<'_>) {
        self.end = piece.end();
        match piece.kind {
            Kind::Bytes(bytes) => {
                self.counters.bytes = self.counters.bytes.saturating_add(bytes.len() as u64);
                self.bytes(piece.offset, bytes, piece.times);
            }
            Kind::Elided(length) => {
                self.counters.bytes = self.counters.bytes.saturating_add(length);
                self.counters.elided = self.counters.elided.saturating_add(length);
                self.hole(piece.offset, length, piece.times, false);
            }
            Kind::Lost(length) => {
                self.counters.lost = self.counters.lost.saturating_add(length);
                self.counters.gaps += 1;
                self.gap(piece.offset, piece.end(), Cause::Lost);
                self.hole(piece.offset, length, piece.times, true);
            }
        }
    }

    /// When a held frame has waited long enough for a contradiction.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.trust {
            Trust::Held(frame) => Some(frame.end.plus(PATIENCE)),
            _ => None,
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.confirm();
        }
    }

    /// Nothing more will come.
    pub(super) fn flush(&mut self) {
        self.confirm();
        if let State::Search = self.state {
            let from = self.search.give_up(self.end);
            self.searched(from, self.end);
        }
    }

    fn bytes(&mut self, mut offset: u64, mut input: &[u8], times: Times) {
        while !input.is_empty() {
            let taken = if let State::Search = self.state {
                let part = input.get(..search::STEP).unwrap_or(input);
                self.search.push(offset, part, times);
                self.resume();
                part.len()
            } else {
                self.advance(offset, input, times)
            };
            offset += taken as u64;
            input = input.get(taken..).unwrap_or_default();
        }
    }

    /// Goes on from the frame that the search found, as long as it finds one.
    fn resume(&mut self) {
        while let Some(found) = self.search.find() {
            self.searched(found.from, found.window.offset());
            self.trust = if found.confirmed {
                Trust::Sure
            } else {
                Trust::Found
            };
            self.state = State::Head;
            for (offset, bytes, times) in found.window.pieces() {
                let taken = self.advance(offset, bytes, times);
                if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
                    self.search.push(offset + taken as u64, rest, times);
                }
            }
            if !matches!(self.state, State::Search) {
                return;
            }
        }
    }

    /// Takes in bytes for as long as the boundary is known. Returns how many.
    fn advance(&mut self, offset: u64, input: &[u8], times: Times) -> usize {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            taken += match &mut self.state {
                State::Search => return taken,
                State::Head => self.head(offset + taken as u64, rest, times),
                State::Body(frame, left) => {
                    let part = rest.get(..*left as usize).unwrap_or(rest);
                    frame.body.bytes(part, frame.body_length);
                    *left -= part.len() as u32;
                    if *left == 0 {
                        self.finish(times.end, false);
                    }
                    part.len()
                }
                State::Damaged(left) => {
                    let n = rest.len().min(*left as usize);
                    *left -= n as u32;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    n
                }
            };
        }
        taken
    }

    /// Takes in bytes of envelope and header. Returns how many; none where the state changed.
    fn head(&mut self, offset: u64, input: &[u8], times: Times) -> usize {
        if self.head.is_empty() {
            self.begun = Begun {
                offset,
                start: times.start,
            };
            // mostly the whole head is at hand
            if let Examined::Frame(envelope) = examine(input)
                && envelope.head <= MAX_HEADER
                && let Some(header) = input.get(8..envelope.head)
            {
                self.begin(envelope, header, times);
                return envelope.head;
            }
        }
        let need = match examine(&self.head) {
            Examined::More(need) => need,
            Examined::Frame(envelope) => envelope.head,
            Examined::NotAFrame => 0,
        };
        let part = input.get(..need.saturating_sub(self.head.len())).unwrap_or(input);
        self.head.extend_from_slice(part);
        match examine(&self.head) {
            Examined::NotAFrame => {
                self.counters.malformed += 1;
                self.contradict();
                let head = std::mem::take(&mut self.head);
                let start = self.begun.start;
                self.search.push(
                    self.begun.offset,
                    &head,
                    Times {
                        start,
                        end: times.end,
                    },
                );
            }
            Examined::Frame(envelope) if envelope.head > MAX_HEADER => {
                self.counters.malformed += 1;
                match self.trust {
                    Trust::Held(_) => self.contradict(),
                    _ => self.damage(envelope.length, self.head.len()),
                }
            }
            Examined::Frame(envelope) if envelope.head == self.head.len() => {
                let head = std::mem::take(&mut self.head);
                self.begin(envelope, head.get(8..).unwrap_or_default(), times);
            }
            Examined::Frame(_) | Examined::More(_) => {}
        }
        part.len()
    }

    /// A frame's header is there.
    fn begin(&mut self, envelope: Envelope, header: &[u8], times: Times) {
        let Ok(header) = Header::parse(envelope.codec, header) else {
            self.counters.malformed += 1;
            // the length is to be trusted where the boundary is
            return match self.trust {
                Trust::Held(_) => self.contradict(),
                _ => self.damage(envelope.length, envelope.head),
            };
        };
        if let Trust::Held(_) = self.trust {
            self.confirm();
        }
        let body_length = envelope.length.saturating_sub(envelope.head as u32);
        let body = Reader::new(&header, body_length);
        let frame = Partial {
            begun: self.begun,
            length: envelope.length,
            header,
            body_length,
            body,
        };
        if body_length == 0 {
            self.state = State::Head;
            self.passed(frame, times.end, false);
        } else {
            self.state = State::Body(Box::new(frame), body_length);
        }
    }

    /// The frame that has begun, of which `passed` bytes have passed, will not come out.
    fn damage(&mut self, length: u32, passed: usize) {
        self.counters.damaged += 1;
        self.head = Vec::new();
        self.gap(
            self.begun.offset,
            self.begun.offset.saturating_add(length.into()),
            Cause::Damaged,
        );
        self.state = match length.saturating_sub(passed as u32) {
            0 => State::Head,
            left => State::Damaged(left),
        };
    }

    /// The frame has passed. `lost`: its last byte never came, so its end is not known.
    fn finish(&mut self, end: Timestamp, lost: bool) {
        if let State::Body(frame, _) = std::mem::replace(&mut self.state, State::Head) {
            self.passed(*frame, end, lost);
        }
    }

    fn passed(&mut self, frame: Partial, end: Timestamp, lost: bool) {
        let (body, holed) = frame.body.finish(frame.body_length);
        let frame = Frame {
            start: frame.begun.start,
            end,
            offset: frame.begun.offset,
            length: frame.length,
            header: frame.header,
            body,
            incomplete: holed || lost,
        };
        match self.trust {
            Trust::Found => self.trust = Trust::Held(Box::new(frame)),
            _ => self.emit(frame),
        }
    }

    /// Bytes that are not there.
    fn hole(&mut self, mut offset: u64, mut length: u64, times: Times, lost: bool) {
        while length > 0 {
            let within = |left: u32| u32::try_from(length).map_or(left, |length| length.min(left));
            let passed = match &mut self.state {
                State::Search => {
                    self.search.interrupt();
                    return;
                }
                State::Head => {
                    match announced(&self.head) {
                        Some(length) => self.damage(length, self.head.len()),
                        None => {
                            let from = if self.head.is_empty() {
                                offset
                            } else {
                                self.begun.offset
                            };
                            self.head.clear();
                            self.lose_boundary(from);
                        }
                    }
                    0
                }
                State::Body(frame, left) => {
                    let n = within(*left);
                    frame.body.hole(n);
                    *left -= n;
                    if *left == 0 {
                        self.finish(times.end, lost);
                    }
                    n
                }
                State::Damaged(left) => {
                    let n = within(*left);
                    *left -= n;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    n
                }
            };
            offset += u64::from(passed);
            length -= u64::from(passed);
        }
    }

    /// What stands at the boundary is no frame. If the boundary comes from a search, it was none.
    fn contradict(&mut self) {
        let from = match std::mem::replace(&mut self.trust, Trust::Sure) {
            Trust::Held(frame) => frame.offset,
            _ => self.begun.offset,
        };
        self.lose_boundary(from);
    }

    /// The boundary is not known from `offset` on. What was held found no contradiction.
    fn lose_boundary(&mut self, offset: u64) {
        self.confirm();
        self.counters.resyncs += 1;
        self.search.begin(offset);
        self.state = State::Search;
    }

    /// Lets the held frame out.
    fn confirm(&mut self) {
        if let Trust::Held(frame) = std::mem::replace(&mut self.trust, Trust::Sure) {
            self.emit(*frame);
        }
    }

    fn emit(&mut self, frame: Frame) {
        self.counters.frames += 1;
        self.counters.incomplete += u64::from(frame.incomplete);
        self.events.push_back(Event::Frame(frame));
    }

    /// No frame was found in `from..to`.
    fn searched(&mut self, from: u64, to: u64) {
        self.counters.searched = self.counters.searched.saturating_add(to - from);
        self.gap(from, to, Cause::Unsynchronised);
    }

    fn gap(&mut self, from: u64, to: u64, why: Cause) {
        if from < to {
            self.events.push_back(Event::Gap(Gap { from, to, why }));
        }
    }
}

/// The length of the frame that starts with `head`, from its first four bytes.
fn announced(head: &[u8]) -> Option<u32> {
    let length = u32::from_be_bytes(*head.first_chunk()?);
    (25..=16_777_212).contains(&length).then_some(length + 4)
}
