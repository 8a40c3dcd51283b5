//! What is kept of a frame's body. Decided from the frame itself: a response may be seen before its request.

use bytes::Bytes;

use super::{MAX_RAW_BODY, records::Records};
use crate::wire::{
    BatchMessage, Body, Header, RequestCode, StoredMessage,
    client_trace::GROUP_PREFIX,
    message::{MIN_STORED, starts_stored},
};

/// Reads one body as it passes.
#[derive(Debug)]
pub(super) enum Reader {
    /// Nothing is kept.
    Skip,
    /// The first bytes decide.
    Probe(Vec<u8>),
    /// All of it is kept, up to the first hole.
    Raw {
        bytes: Vec<u8>,
        holed: bool,
    },
    Stored(Records<StoredMessage>),
    Batch(Records<BatchMessage>),
    /// It would have been kept, but its start was not there.
    Unknown,
}

/// Bytes that tell stored messages from anything else: size and magic.
const PROBE: usize = 8;

impl Reader {
    /// The reader for the body of `length` bytes behind `header`.
    pub(super) fn new(header: &Header, length: u32) -> Reader {
        if length == 0 {
            return Reader::Skip;
        }
        if header.is_response() {
            return if length >= MIN_STORED {
                Reader::Probe(Vec::new())
            } else {
                Reader::raw(length)
            };
        }
        match header.request_code() {
            RequestCode::SEND_BATCH_MESSAGE => match header.bool("m") {
                // the broker stores it as one message
                Some(false) => Reader::Skip,
                _ => Reader::Batch(Records::new(length)),
            },
            RequestCode::SEND_MESSAGE | RequestCode::SEND_REPLY_MESSAGE => {
                Reader::send(header, "batch", "producerGroup", length)
            }
            RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_REPLY_MESSAGE_V2 => {
                Reader::send(header, "m", "a", length)
            }
            // the body is a user's
            RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT => Reader::Skip,
            RequestCode::CHECK_TRANSACTION_STATE | RequestCode::CONSUME_MESSAGE_DIRECTLY => {
                Reader::Stored(Records::new(length))
            }
            _ => Reader::raw(length),
        }
    }

    /// A send is a batch by its flag, not by its code (§2.2). The one body that is read is that of clients' own
    /// message trace.
    fn send(header: &Header, flag: &str, group: &str, length: u32) -> Reader {
        match header.bool(flag) {
            Some(true) => Reader::Batch(Records::new(length)),
            _ if header
                .field(group)
                .is_some_and(|group| group.starts_with(GROUP_PREFIX)) =>
            {
                Reader::raw(length)
            }
            _ => Reader::Skip,
        }
    }

    fn raw(length: u32) -> Reader {
        if length <= MAX_RAW_BODY {
            Reader::Raw {
                bytes: Vec::new(),
                holed: false,
            }
        } else {
            Reader::Skip
        }
    }

    /// Takes in the next bytes; `length` is that of the whole body.
    pub(super) fn bytes(&mut self, input: &[u8], length: u32) {
        match self {
            Reader::Probe(start) => {
                let (part, rest) = input.split_at(input.len().min(PROBE - start.len()));
                start.extend_from_slice(part);
                let Ok(first) = <&[u8; PROBE]>::try_from(start.as_slice()) else {
                    return;
                };
                let mut reader = if starts_stored(first, length) {
                    Reader::Stored(Records::new(length))
                } else {
                    Reader::raw(length)
                };
                reader.bytes(first, length);
                reader.bytes(rest, length);
                *self = reader;
            }
            Reader::Raw { bytes, holed: false } => bytes.extend_from_slice(input),
            Reader::Stored(records) => records.bytes(input),
            Reader::Batch(records) => records.bytes(input),
            Reader::Skip | Reader::Raw { holed: true, .. } | Reader::Unknown => {}
        }
    }

    /// Lets `n` bytes pass that are not there.
    pub(super) fn hole(&mut self, n: u32) {
        match self {
            Reader::Probe(_) => *self = Reader::Unknown,
            Reader::Raw { holed, .. } => *holed = true,
            Reader::Stored(records) => records.hole(n),
            Reader::Batch(records) => records.hole(n),
            Reader::Skip | Reader::Unknown => {}
        }
    }

    /// What was kept of the body of `length` bytes, and whether something of it is missing.
    pub(super) fn finish(self, length: u32) -> (Body, bool) {
        match self {
            Reader::Skip if length == 0 => (Body::Empty, false),
            Reader::Skip => (Body::Skipped(length), false),
            // a body ends only after its length, which is more than a probe
            Reader::Probe(_) | Reader::Unknown => (Body::Skipped(length), true),
            Reader::Raw { bytes, holed } => (Body::Raw(Bytes::from(bytes)), holed),
            Reader::Stored(records) => {
                let (messages, incomplete) = records.finish();
                (Body::Messages(messages), incomplete)
            }
            Reader::Batch(records) => {
                let (messages, incomplete) = records.finish();
                (Body::Batch(messages), incomplete)
            }
        }
    }
}
