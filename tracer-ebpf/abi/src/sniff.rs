//! The rule that recognises a RocketMQ remoting stream by its first bytes.
//!
//! Facts: RocketMQ remoting, frame layout (`RemotingCommand`, `RocketMQSerializable`): `u32 length`, then one
//! byte serialize type (0 JSON, 1 binary) and 24 bits header length, then the header. See docs/protocol.md.

use crate::{limits::PREFIX, record::Protocol};

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Too few bytes to say.
    More,
    /// A RocketMQ remoting frame starts here.
    Frame,
    /// A binary header with a remark: it is a frame if the `u32` at `at` (from the frame's start) is `value`.
    FrameIf {
        /// Offset of the extFields length.
        at: u32,
        /// The value that makes the header's length identity hold.
        value: u32,
    },
    /// Something else, or not the start of a frame.
    Other,
}

/// Judges the first `n` bytes of `b`. Never reads behind `n`.
#[inline(always)]
pub fn sniff(b: &[u8; PREFIX], n: usize) -> Verdict {
    // byte 0: the largest frame is 16 MiB, so the high byte of the length is zero (specification §1.7)
    if n < 1 {
        return Verdict::More;
    }
    if b[0] != 0 {
        return Verdict::Other;
    }
    if n < 5 {
        return Verdict::More;
    }
    let length = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
    if b[4] > 1 || !(25..=16_777_212).contains(&length) {
        return Verdict::Other;
    }
    if n < 8 {
        return Verdict::More;
    }
    let header = u32::from_be_bytes([0, b[5], b[6], b[7]]);
    if header > length - 4 {
        return Verdict::Other;
    }
    if b[4] == 0 {
        sniff_json(b, n, header)
    } else {
        sniff_binary(b, n, header)
    }
}

/// `{"` and then a lower-case key, as every known client writes its header object (§1.8).
#[inline(always)]
fn sniff_json(b: &[u8; PREFIX], n: usize, header: u32) -> Verdict {
    if header < 40 {
        return Verdict::Other;
    }
    if n < 12 {
        return Verdict::More;
    }
    let key = b[10].is_ascii_lowercase() && b[11].is_ascii_lowercase();
    if b[8] == b'{' && b[9] == b'"' && key {
        Verdict::Frame
    } else {
        Verdict::Other
    }
}

/// The length identity `H == 21 + R + E` (§1.3), language, version and flag in range.
#[inline(always)]
fn sniff_binary(b: &[u8; PREFIX], n: usize, header: u32) -> Verdict {
    if header < 21 {
        return Verdict::Other;
    }
    if n < 29 {
        return Verdict::More;
    }
    let version = u16::from_be_bytes([b[11], b[12]]);
    let flag = u32::from_be_bytes([b[17], b[18], b[19], b[20]]);
    let remark = u32::from_be_bytes([b[21], b[22], b[23], b[24]]);
    if b[10] > 13 || version >= 1024 || flag > 3 || remark > header - 21 {
        return Verdict::Other;
    }
    if remark != 0 {
        return Verdict::FrameIf {
            at: 25 + remark,
            value: header - 21 - remark,
        };
    }
    let ext = u32::from_be_bytes([b[25], b[26], b[27], b[28]]);
    if header - 21 == ext {
        Verdict::Frame
    } else {
        Verdict::Other
    }
}

/// What a stream that is not RocketMQ remoting carries, by the first `n` bytes of an operation: a TLS record (content type 20
/// to 23, major version 3: RFC 8446 §5.1), or the preface of an HTTP/2 client (RFC 9113 §3.4).
#[inline(always)]
pub fn foreign(b: &[u8; PREFIX], n: usize) -> Option<Protocol> {
    if n >= 3 && b[0] >= 20 && b[0] <= 23 && b[1] == 3 && b[2] <= 4 {
        return Some(Protocol::TLS);
    }
    if n >= 6 && b[0] == b'P' && b[1] == b'R' && b[2] == b'I' && b[3] == b' ' && b[4] == b'*' && b[5] == b' '
    {
        return Some(Protocol::HTTP2);
    }
    None
}

#[cfg(test)]
mod tests;
