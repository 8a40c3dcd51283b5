//! Message records in a body, read as they pass: heads and tails are taken, message bodies are not, but those of inner
//! batches, whose messages come out in place of the record around them.
//!
//! Limit: an inner batch of more than [`MAX_WRAPPED`] bytes, or with a hole, comes out as it is.

use crate::wire::record::{Head, Record};

use super::MAX_MESSAGES;

/// Longest body of an inner batch that is taken apart. Messages, and so batches, have 4 MiB at most.
const MAX_WRAPPED: usize = 4 * 1024 * 1024;

/// Reads the records of one body.
#[derive(Debug)]
pub(super) struct Records<R: Record> {
    messages: Vec<R>,
    step: Step,
    /// What the head of the record said that is in its body or tail.
    fixed: Option<R::Fixed>,
    /// What has come of the head or tail being read.
    buffer: Vec<u8>,
    /// What has come of an inner batch.
    wrapped: Option<Vec<u8>>,
    /// Bytes of the body that have not passed yet.
    left: usize,
    /// Something is missing from `messages`.
    incomplete: bool,
}

/// Where in a record the next byte stands.
#[derive(Clone, Copy, Debug)]
enum Step {
    Head,
    /// In the message body.
    Body {
        left: usize,
        tail: usize,
    },
    Tail {
        need: usize,
    },
    /// In a filler, or in a record that will not come out.
    Skip {
        left: usize,
    },
    /// It is not known where the next record starts.
    Lost,
}

impl<R: Record> Records<R> {
    pub(super) fn new(length: u32) -> Records<R> {
        let left = length as usize;
        Records {
            messages: Vec::new(),
            step: Step::Head,
            fixed: None,
            buffer: Vec::new(),
            wrapped: None,
            left,
            incomplete: false,
        }
    }

    /// Takes in the body's next bytes.
    pub(super) fn bytes(&mut self, mut input: &[u8]) {
        // a step may be complete without any input; every turn without input ends a step or returns
        loop {
            self.step = match self.step {
                Step::Head if self.left == 0 && self.buffer.is_empty() => return,
                Step::Head => match self.head(&mut input) {
                    Some(step) => step,
                    None => return,
                },
                Step::Body { left, tail } => {
                    let part = self.take(&mut input, left);
                    if let Some(wrapped) = &mut self.wrapped {
                        wrapped.extend_from_slice(part);
                    }
                    match left - part.len() {
                        0 => Step::Tail { need: tail },
                        left => {
                            self.step = Step::Body { left, tail };
                            return;
                        }
                    }
                }
                Step::Tail { need } => {
                    let part = self.take(&mut input, need - self.buffer.len());
                    let whole = self.buffer.is_empty() && part.len() == need;
                    if whole && R::tail_length(part, need) == need {
                        self.complete(part);
                        Step::Head
                    } else {
                        self.buffer.extend_from_slice(part);
                        if self.buffer.len() < need {
                            return;
                        }
                        match R::tail_length(&self.buffer, need) {
                            length if length > need && length - need <= self.left => {
                                Step::Tail { need: length }
                            }
                            _ => {
                                let tail = std::mem::take(&mut self.buffer);
                                self.complete(&tail);
                                self.buffer = tail;
                                self.buffer.clear();
                                Step::Head
                            }
                        }
                    }
                }
                Step::Skip { left } => match left - self.take(&mut input, left).len() {
                    0 => Step::Head,
                    left => {
                        self.step = Step::Skip { left };
                        return;
                    }
                },
                Step::Lost => {
                    self.take(&mut input, usize::MAX);
                    return;
                }
            };
        }
    }

    /// Lets `length` bytes pass that are not there.
    pub(super) fn hole(&mut self, length: u32) {
        let mut length = (length as usize).min(self.left);
        self.left -= length;
        while length > 0 {
            let mut pass = |left: usize| {
                let n = left.min(length);
                length -= n;
                left - n
            };
            self.step = match self.step {
                Step::Body { left, tail } if self.wrapped.is_some() => {
                    self.wrapped = None;
                    self.incomplete = true;
                    Step::Body { left, tail }
                }
                Step::Body { left, tail } => match pass(left) {
                    0 => Step::Tail { need: tail },
                    left => Step::Body { left, tail },
                },
                Step::Skip { left } => match pass(left) {
                    0 => Step::Head,
                    left => Step::Skip { left },
                },
                // the record is lost, but its end is known
                Step::Tail { need } => {
                    self.incomplete = true;
                    let left = need - self.buffer.len();
                    self.buffer.clear();
                    Step::Skip { left }
                }
                Step::Head | Step::Lost => {
                    self.incomplete = true;
                    self.buffer.clear();
                    length = 0;
                    Step::Lost
                }
            };
        }
    }

    /// The messages, and whether some are missing. The body has passed.
    pub(super) fn finish(self) -> (Vec<R>, bool) {
        let ended = matches!(self.step, Step::Head) && self.buffer.is_empty();
        (self.messages, self.incomplete || !ended)
    }

    /// Reads a head. `None`: more bytes are needed.
    fn head(&mut self, input: &mut &[u8]) -> Option<Step> {
        loop {
            let have = self.buffer.len();
            let view = if have == 0 { *input } else { &self.buffer };
            // the bytes of this record that are still to pass
            let room = self.left;
            match R::parse_head(view) {
                Ok(Head::More(need)) if need - have <= room => {
                    let part = self.take(input, need - have);
                    self.buffer.extend_from_slice(part);
                    if self.buffer.len() < need {
                        return None;
                    }
                }
                Ok(Head::Record {
                    fixed,
                    head,
                    body,
                    tail,
                }) if head as usize + body as usize + tail as usize <= room + have => {
                    self.take(input, head as usize - have);
                    self.buffer.clear();
                    let wraps = R::wraps(&fixed) && body as usize <= MAX_WRAPPED;
                    self.wrapped = wraps.then(Vec::new);
                    self.fixed = Some(fixed);
                    return Some(Step::Body {
                        left: body as usize,
                        tail: tail as usize,
                    });
                }
                Ok(Head::Filler(total)) if total as usize <= room + have => {
                    self.buffer.clear();
                    return Some(Step::Skip {
                        left: total as usize - have,
                    });
                }
                _ => {
                    self.incomplete = true;
                    self.buffer.clear();
                    return Some(Step::Lost);
                }
            }
        }
    }

    /// The tail of a record is there.
    fn complete(&mut self, tail: &[u8]) {
        let Some(fixed) = self.fixed.take() else {
            self.incomplete = true;
            return;
        };
        let Ok(message) = R::parse_tail(fixed, tail, self.messages.last()) else {
            self.incomplete = true;
            return;
        };
        let room = MAX_MESSAGES.saturating_sub(self.messages.len());
        let Some(wrapped) = self.wrapped.take() else {
            if room > 0 {
                self.messages.push(message);
            } else {
                self.incomplete = true;
            }
            return;
        };
        match message.unwrap(&wrapped) {
            Some(inner) => {
                self.incomplete |= inner.len() > room;
                self.messages.extend(inner.into_iter().take(room));
            }
            // nobody can tell what is in it
            None => {
                self.incomplete = true;
                if room > 0 {
                    self.messages.push(message);
                }
            }
        }
    }

    /// Up to `n` of the input's bytes, which pass.
    fn take<'a>(&mut self, input: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(n.min(input.len()));
        self.left = self.left.saturating_sub(taken.len());
        *input = rest;
        taken
    }
}
