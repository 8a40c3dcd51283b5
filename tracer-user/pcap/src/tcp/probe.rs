//! Is this RocketMQ, and which end is the client? Asked of a connection until it is known; its bytes are held.
//!
//! The first bytes of a connection seen from its start tell what it is, and the handshake tells who the client is. Of a
//! connection that was open before the capture both come from its frames: a header at the start of a segment, or a frame
//! that a stream finds in what passes.

use tracer_abi::{
    PREFIX,
    sniff::{Verdict, sniff},
};
use tracer_core::{
    exchange::{Side, sender},
    model::Timestamp,
    stream::{Event, Stream},
    wire::{Header, header::Codec},
};

use super::{End, way::Piece};
use crate::limits;

/// What a load balancer writes before the client's own bytes (PROXY protocol 1 and 2).
const PROXY: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing.
    NotYet,
    /// It is something else.
    Foreign,
    /// It is RocketMQ, and this end is the client.
    Client(End),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Probe {
    ends: [Half; 2],
    held: Vec<HeldPiece>,
    held_bytes: usize,
    client: Option<End>,
    foreign: bool,
    frame: bool,
}

/// What one end sends.
#[derive(Debug, Default)]
struct Half {
    stream: Option<Stream>,
    /// The first bytes, as long as they tell nothing.
    start: Vec<u8>,
    judged: bool,
}

#[derive(Debug)]
struct HeldPiece {
    time: u64,
    end: End,
    offset: u64,
    length: u32,
    bytes: Box<[u8]>,
    lost: u64,
}

impl Probe {
    /// Captured bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.held_bytes
    }

    /// Time of the first piece.
    pub(super) fn since(&self) -> Option<u64> {
        self.held.first().map(|piece| piece.time)
    }

    /// Takes in what this end sent.
    pub(super) fn push(&mut self, end: End, from_start: bool, piece: &Piece<'_>) {
        self.held_bytes += piece.bytes.len();
        self.held.push(HeldPiece {
            time: piece.time,
            end,
            offset: piece.offset,
            length: piece.length,
            bytes: piece.bytes.into(),
            lost: piece.lost,
        });
        let half = match end {
            End::First => &mut self.ends[0],
            End::Second => &mut self.ends[1],
        };
        if from_start && !half.judged {
            half.start.extend_from_slice(piece.bytes);
            let whole = piece.lost == 0 && piece.offset as usize + piece.bytes.len() == half.start.len();
            match judge(&half.start) {
                _ if !whole => half.judged = true,
                Verdict::More if piece.bytes.len() as u64 == u64::from(piece.length) => {}
                Verdict::Frame => (self.frame, half.judged) = (true, true),
                Verdict::Other => (self.foreign, half.judged) = (true, true),
                _ => half.judged = true,
            }
            if half.judged {
                half.start = Vec::new();
            }
        }
        let mut sides: Vec<Side> = header(piece.bytes)
            .and_then(|h| sender(&h, None))
            .into_iter()
            .collect();
        let stream = half.stream.get_or_insert_with(|| {
            if from_start {
                Stream::starting_at(0)
            } else {
                Stream::new()
            }
        });
        let time = Timestamp(piece.time);
        stream.push(piece.offset, piece.length, piece.bytes, time, time);
        while let Some(event) = stream.poll() {
            if let Event::Frame(frame) = event {
                self.frame = true;
                sides.extend(sender(&frame.header, Some(&frame.body)));
            }
        }
        if let (None, Some(side)) = (self.client, sides.first()) {
            self.client = Some(match side {
                Side::Client => end,
                Side::Server => end.other(),
            });
        }
    }

    /// What is known; `opener` is the end that opened the connection, where that was seen.
    pub(super) fn verdict(&self, opener: Option<End>) -> Found {
        match (opener, self.client) {
            (Some(opener), _) if self.frame => Found::Client(opener),
            (None, Some(client)) => Found::Client(client),
            (Some(opener), Some(_)) => Found::Client(opener),
            _ if self.foreign || self.held_bytes > limits::PROBE_BYTES => Found::Foreign,
            _ => Found::NotYet,
        }
    }

    /// Passes on what is held.
    pub(super) fn replay(self, mut each: impl FnMut(End, &Piece<'_>)) {
        for held in self.held {
            let piece = Piece {
                time: held.time,
                offset: held.offset,
                length: held.length,
                bytes: &held.bytes,
                lost: held.lost,
            };
            each(held.end, &piece);
        }
    }
}

/// The first bytes of a stream.
fn judge(start: &[u8]) -> Verdict {
    if PROXY
        .iter()
        .any(|proxy| start.starts_with(proxy) || proxy.starts_with(start))
    {
        return if start.len() < PREFIX {
            Verdict::More
        } else {
            Verdict::FrameIf { at: 0, value: 0 }
        };
    }
    let mut prefix = [0; PREFIX];
    let have = start.len().min(PREFIX);
    prefix.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
    match sniff(&prefix, have) {
        Verdict::FrameIf { at, value } => {
            let word = start.get(at as usize..).and_then(|rest| rest.first_chunk());
            match word.map(|word| u32::from_be_bytes(*word)) {
                Some(word) if word == value => Verdict::Frame,
                Some(_) => Verdict::Other,
                None => Verdict::More,
            }
        }
        other => other,
    }
}

/// The header of the frame that starts here, if it is all there.
fn header(bytes: &[u8]) -> Option<Header> {
    if judge(bytes) != Verdict::Frame {
        return None;
    }
    let [_, _, _, _, codec, a, b, c] = *bytes.first_chunk()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let header = bytes.get(8..8 + length)?;
    Header::parse(Codec::from_wire(codec)?, header).ok()
}
