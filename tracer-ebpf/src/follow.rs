//! Follows one direction of a stream from frame to frame, so that message bodies never leave the kernel.
//!
//! Only lengths are read: a frame's, its header's, and in message lists each record's. Everything else is copied
//! or skipped, and what is skipped is said to be. The state lives with the socket; a frame may be split anywhere.
//!
//! ```text
//! HEAD 8 bytes → CODE 20 bytes of the header → HEADER the rest of it → PEEK 12 bytes of the body
//!   → a stored message (§4.1): RECORD, fixed part; skip its body; TAIL, topic and properties; next RECORD
//!   → a batch record (§4.5): BATCH, fixed part; skip its body; PROPERTIES, their length; TAIL, they; next BATCH
//!   → the body of a send: skip it, unless it is a client's own message trace (see [`crate::group`])
//!   → protocol data (heartbeat, offsets, …): copy up to a limit, skip the rest
//! ```
//!
//! Section numbers are those of docs/protocol.md.

use tracer_abi::BODY_BYTES;

/// Longest look-ahead: the fixed part of a stored message with two IPv6 hosts.
pub(crate) const WINDOW: usize = 112;

/// Where in a frame the stream is.
mod state {
    /// Bytes of the body up to the frame's end; then another frame starts.
    pub(super) const END: u8 = 0;
    /// Length, codec, header length.
    pub(super) const HEAD: u8 = 1;
    /// The start of the header, where the code is.
    pub(super) const CODE: u8 = 2;
    /// The rest of the header.
    pub(super) const HEADER: u8 = 3;
    /// The start of the body. Not copied before it is known what it is.
    pub(super) const PEEK: u8 = 4;
    /// A stored message up to its sysFlag.
    pub(super) const RECORD: u8 = 5;
    /// A stored message up to its body.
    pub(super) const RECORD_FIXED: u8 = 6;
    /// The body of a stored message.
    pub(super) const RECORD_BODY: u8 = 7;
    /// A stored message behind its body.
    pub(super) const RECORD_TAIL: u8 = 8;
    /// A batch record up to its body.
    pub(super) const BATCH: u8 = 9;
    /// The body of a batch record.
    pub(super) const BATCH_BODY: u8 = 10;
    /// The length of a batch record's properties.
    pub(super) const BATCH_PROPERTIES: u8 = 11;
    /// The properties of a batch record.
    pub(super) const BATCH_TAIL: u8 = 12;
}

/// Whether it is known where frames start.
pub(crate) mod place {
    // 0: no frame was found yet
    /// It is known.
    pub(crate) const KNOWN: u8 = 1;
    /// It was known, until bytes went past or were no frame.
    pub(crate) const LOST: u8 = 2;
}

/// What a frame's code says about its body.
mod body {
    /// An application's: skipped, unless it is a batch.
    pub(super) const MESSAGE: u8 = 0;
    /// The protocol's: copied.
    pub(super) const PROTOCOL: u8 = 1;
    /// As `MESSAGE`, unless the header names the group that carries clients' own trace.
    pub(super) const SEND: u8 = 2;
}

/// The place in the stream. All zero: at the end of a frame, so before the next one.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Follow {
    /// Bytes to copy before the next decision.
    pub(crate) copy: u32,
    /// Bytes to skip before the next decision.
    pub(crate) skip: u32,
    /// Bytes of this frame from here on.
    left: u32,
    /// Bytes of this record behind its body.
    tail: u32,
    /// Bytes of the window that the next decision needs.
    pub(crate) need: u16,
    /// Bytes that are in the window.
    pub(crate) have: u16,
    state: u8,
    body: u8,
    /// One of [`place`].
    pub(crate) place: u8,
    /// 1: a frame went by that only clients send, and that no answer looks like.
    pub(crate) from_client: u8,
}

/// What to do with the bytes of the window that were not copied yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// There are none.
    None,
    /// They are part of what is copied.
    Copy,
    /// They are part of what is skipped.
    Skip,
}

impl Follow {
    /// A frame starts here.
    pub(crate) const START: Follow = Follow {
        copy: 0,
        skip: 0,
        left: 0,
        tail: 0,
        need: 0,
        have: 0,
        state: state::END,
        body: body::MESSAGE,
        place: place::KNOWN,
        from_client: 0,
    };

    /// No frame was found yet.
    pub(crate) const NONE: Follow = Follow {
        place: 0,
        ..Follow::START
    };

    /// Bytes that go into the window now are not copied before it is decided what they are.
    #[inline(always)]
    pub(crate) fn withholds(&self) -> bool {
        self.state == state::PEEK
    }

    /// Bytes in the window that are neither copied nor skipped yet.
    #[inline(always)]
    pub(crate) fn withheld(&self) -> u64 {
        if self.withholds() { self.have.into() } else { 0 }
    }

    /// The code is what is looked at: the header starts with the window.
    #[inline(always)]
    pub(crate) fn is_at_code(&self) -> bool {
        self.state == state::CODE
    }

    /// A send's header has passed, and it is not known yet whether its body is a client's trace.
    #[inline(always)]
    pub(crate) fn is_behind_header_of_send(&self) -> bool {
        self.body == body::SEND
            && self.copy == 0
            && (self.state == state::HEADER || self.state == state::PEEK)
    }

    /// The start of a body is in the window, and it may be a client's trace: a record, or zlib. Whether it is the header
    /// tells.
    #[inline(always)]
    pub(crate) fn may_be_trace(&self, w: &[u8; 2 * WINDOW]) -> bool {
        self.body == body::SEND && self.state == state::PEEK && {
            let start = u32::from_be_bytes([w[0], w[1], w[2], w[3]]);
            // zlib: the second byte makes the two a multiple of 31 (RFC 1950)
            (w[0] == 0x78 && (0x7800 | u32::from(w[1])).is_multiple_of(31))
                || matches!(
                    &start.to_be_bytes(),
                    b"Pub\x01" | b"SubB" | b"SubA" | b"EndT" | b"Reca"
                )
        }
    }

    /// What the header told about a send's body.
    #[inline(always)]
    pub(crate) fn set_trace(&mut self, trace: bool) {
        self.body = if trace { body::PROTOCOL } else { body::MESSAGE };
    }

    /// `n` bytes of the stream have been dealt with.
    #[inline(always)]
    pub(crate) fn consumed(&mut self, n: u32) {
        if self.state != state::HEAD {
            self.left = self.left.saturating_sub(n);
        }
    }

    /// `n` bytes went past unseen.
    #[inline(always)]
    pub(crate) fn missed(&mut self, n: u64) {
        let partial = self.have != 0 && self.have < self.need;
        if n <= u64::from(self.skip) && self.copy == 0 && !partial {
            self.skip -= n as u32;
            self.left = self.left.saturating_sub(n as u32);
        } else if n <= u64::from(self.left) && self.state != state::HEAD {
            // still inside the frame: its end is known, its inside is not
            let left = self.left - n as u32;
            *self = Follow {
                skip: left,
                left,
                ..Follow::START
            };
        } else {
            *self = Follow {
                place: place::LOST,
                from_client: self.from_client,
                ..Follow::START
            };
        }
    }

    /// Decides what comes next; call when nothing is to be copied or skipped and the window is full.
    #[inline(always)]
    pub(crate) fn decide(&mut self, window: &[u8; 2 * WINDOW]) -> Withheld {
        match self.state {
            state::END => self.end(),
            state::HEAD => self.head(window),
            state::CODE => self.code(window),
            state::HEADER => return self.header(),
            state::PEEK => return self.peek(window),
            state::RECORD => self.record(window),
            state::RECORD_FIXED => self.record_fixed(window),
            state::RECORD_BODY => self.go(state::RECORD_TAIL, self.tail, 0),
            state::RECORD_TAIL => self.next(state::RECORD, 40, 91),
            state::BATCH => self.batch(window),
            state::BATCH_BODY => self.next(state::BATCH_PROPERTIES, 2, 2),
            state::BATCH_PROPERTIES => self.properties(window),
            _ => self.next(state::BATCH, 20, 22),
        }
        Withheld::None
    }

    /// As [`Follow::decide`], where nothing is in the window: `there` bytes, those that are needed at least, stand at the start
    /// of `bytes`. Also says how many of them are dealt with; those that are not are looked at again with more.
    #[inline(always)]
    pub(crate) fn decide_ahead(&mut self, bytes: &[u8; 2 * WINDOW], there: u64) -> (Withheld, u64) {
        let (need, left) = (self.need, self.left);
        self.consumed(need.into());
        self.have = need;
        let withheld = self.decide(bytes);
        if self.have == 0 {
            return (withheld, need.into());
        }
        self.have = 0;
        self.left = left;
        let need = self.need;
        if self.state == state::RECORD_FIXED && u64::from(need) <= there {
            self.consumed(need.into());
            self.record_fixed(bytes);
            return (Withheld::None, need.into());
        }
        (Withheld::None, 0)
    }

    #[inline(always)]
    fn look(&mut self, state: u8, need: u16) {
        self.state = state;
        self.need = need;
        self.have = 0;
    }

    /// The bytes of the next state are counted by `copy` and `skip`, not looked at.
    #[inline(always)]
    fn go(&mut self, state: u8, copy: u32, skip: u32) {
        self.look(state, 0);
        self.copy = copy;
        self.skip = skip;
    }

    /// What is left of the frame is skipped; then another one starts.
    #[inline(always)]
    fn end(&mut self) {
        if self.left != 0 {
            self.give_up()
        } else {
            self.look(state::HEAD, 8)
        }
    }

    /// §1.1: `u32` length of what follows, codec, 24 bits header length.
    #[inline(always)]
    fn head(&mut self, w: &[u8; 2 * WINDOW]) {
        let length = u32::from_be_bytes([w[0], w[1], w[2], w[3]]);
        let header = u32::from_be_bytes([0, w[5], w[6], w[7]]);
        let sound = w[0] == 0 && w[4] <= 1 && (21..=length.saturating_sub(4)).contains(&header);
        if !sound {
            self.place = place::LOST;
            return;
        }
        self.left = length - 4;
        self.tail = header - 20;
        self.body = if w[4] == 0 { 0 } else { 1 };
        self.look(state::CODE, 20);
    }

    /// §1.2, §1.3: the code is the first thing in a binary header, and in a JSON header of every known client but
    /// those that write a table in any order; a body of theirs is never copied.
    #[inline(always)]
    fn code(&mut self, w: &[u8; 2 * WINDOW]) {
        let code = if self.body == 1 {
            u32::from(u16::from_be_bytes([w[0], w[1]]))
        } else {
            json_code(w)
        };
        // HEART_BEAT, UNREGISTER_CLIENT, GET_CONSUMER_LIST_BY_GROUP, GET_ROUTEINFO_BY_TOPIC, SEND_MESSAGE_V2,
        // SEND_BATCH, LITE_PULL: as numbers of answers they do not exist (§2.7)
        if matches!(code, 34 | 35 | 38 | 105 | 310 | 320 | 361) {
            self.from_client = 1;
        }
        self.body = match code {
            // SEND_MESSAGE, _V2
            10 | 310 => body::SEND,
            // SEND_BATCH, SEND_REPLY, _V2, PUSH_REPLY_TO_CLIENT; not known
            320 | 324 | 325 | 326 | u32::MAX => body::MESSAGE,
            _ => body::PROTOCOL,
        };
        self.go(state::HEADER, self.tail, 0);
    }

    #[inline(always)]
    fn header(&mut self) -> Withheld {
        if self.left >= 12 {
            self.look(state::PEEK, 12);
        } else if self.body == body::PROTOCOL {
            self.go(state::END, self.left, 0);
        } else {
            self.give_up();
        }
        Withheld::None
    }

    /// The first 12 bytes of the body.
    #[inline(always)]
    fn peek(&mut self, w: &[u8; 2 * WINDOW]) -> Withheld {
        let left = self.left;
        if w[4] == 0xda && w[5] == 0xa3 && w[6] == 0x20 && (w[7] == 0xa7 || w[7] == 0xab) {
            self.state = state::RECORD;
            self.need = 40;
            return Withheld::Copy;
        }
        if self.body == body::PROTOCOL {
            let copy = if left < BODY_BYTES { left } else { BODY_BYTES };
            self.go(state::END, copy, 0);
            return Withheld::Copy;
        }
        // §4.5: magic and checksum of a batch record are zero, its length is that of what there is or less, and some clients
        // leave its own four bytes out of it
        let total = u32::from_be_bytes([w[0], w[1], w[2], w[3]]);
        let zero = w[4] | w[5] | w[6] | w[7] | w[8] | w[9] | w[10] | w[11];
        if zero == 0 && total >= 18 && total - 12 <= left {
            self.state = state::BATCH;
            self.need = 20;
            return Withheld::Copy;
        }
        self.give_up();
        Withheld::Skip
    }

    /// §4.1: length, magic, …, sysFlag at 36, which tells the width of the hosts.
    #[inline(always)]
    fn record(&mut self, w: &[u8; 2 * WINDOW]) {
        let flags = w[39];
        let born = if flags & 0x10 != 0 { 12 } else { 0 };
        let stored = if flags & 0x20 != 0 { 12 } else { 0 };
        if w[4] == 0xda && w[5] == 0xa3 && w[6] == 0x20 {
            self.state = state::RECORD_FIXED;
            self.need = 88 + born + stored;
        } else {
            self.give_up();
        }
    }

    /// §4.1: the body's length is the last word of the fixed part.
    #[inline(always)]
    fn record_fixed(&mut self, w: &[u8; 2 * WINDOW]) {
        // VERIFIER: three constant places instead of one that is computed
        let length = match self.need {
            88 => [w[84], w[85], w[86], w[87]],
            100 => [w[96], w[97], w[98], w[99]],
            _ => [w[108], w[109], w[110], w[111]],
        };
        let total = u32::from_be_bytes([w[0], w[1], w[2], w[3]]);
        let (body, fixed) = (u32::from_be_bytes(length), u32::from(self.need));
        let rest = total.saturating_sub(fixed);
        if total < fixed || rest > self.left || body > rest {
            self.give_up();
            return;
        }
        self.tail = rest - body;
        // the body of an inner batch is records again, so it is kept
        if w[39] & 0x80 != 0 {
            self.go(state::RECORD_BODY, body, 0)
        } else {
            self.go(state::RECORD_BODY, 0, body)
        }
    }

    /// §4.5: the body's length is the last word of the fixed part. The record's own length is not looked at, as brokers do.
    #[inline(always)]
    fn batch(&mut self, w: &[u8; 2 * WINDOW]) {
        let body = u32::from_be_bytes([w[16], w[17], w[18], w[19]]);
        if body > self.left {
            self.give_up()
        } else {
            self.go(state::BATCH_BODY, 0, body)
        }
    }

    #[inline(always)]
    fn properties(&mut self, w: &[u8; 2 * WINDOW]) {
        let length = u32::from(u16::from_be_bytes([w[0], w[1]]));
        if length > self.left {
            self.give_up()
        } else {
            self.go(state::BATCH_TAIL, length, 0)
        }
    }

    /// Another record, or the frame's end.
    #[inline(always)]
    fn next(&mut self, state: u8, need: u16, least: u32) {
        if self.left >= least {
            self.look(state, need)
        } else {
            self.give_up()
        }
    }

    /// What is left of this frame is not what it should be: skip it.
    #[inline(always)]
    fn give_up(&mut self) {
        self.go(state::END, 0, self.left);
    }
}

/// The number behind `{"code":`; `u32::MAX` where the header starts otherwise.
#[inline(always)]
fn json_code(w: &[u8; 2 * WINDOW]) -> u32 {
    let starts = w[0] == b'{' && w[1] == b'"' && w[2] == b'c' && w[3] == b'o' && w[4] == b'd' && w[5] == b'e';
    if !starts || w[6] != b'"' || w[7] != b':' {
        return u32::MAX;
    }
    let mut code = 0;
    let mut i = 8;
    // VERIFIER: a constant bound; the longest known code has six digits
    while i < 15 {
        let digit = w[i].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        code = code * 10 + u32::from(digit);
        i += 1;
    }
    match i {
        // a negative code: an error between servers, and the body, if any, is the protocol's
        8 if w[8] == b'-' => 1,
        8 => u32::MAX,
        _ => code,
    }
}

#[cfg(test)]
mod tests;
