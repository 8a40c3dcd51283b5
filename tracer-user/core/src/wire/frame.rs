//! One frame: envelope, header, and what is kept of its body (§1.1).

use bytes::Bytes;

use super::{BatchMessage, Header, StoredMessage};
use crate::model::Timestamp;

/// A whole frame of one direction of a connection.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// Start of the operation that carried the first byte.
    pub start: Timestamp,
    /// End of the operation that carried the last byte.
    pub end: Timestamp,
    /// Stream offset of the first byte.
    pub offset: u64,
    /// Whole length in bytes, with the four length bytes.
    pub length: u32,
    /// The decoded header.
    pub header: Header,
    /// What is kept of the body.
    pub body: Body,
    /// Bytes of the body that mattered were lost: `body` holds what there was.
    pub incomplete: bool,
}

/// What is kept of a frame's body. Message bodies never are.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// No body.
    Empty,
    /// A body that says nothing about messages: its length only.
    Skipped(u32),
    /// Protocol data (heartbeat, lock and offset tables, …), whole, within a limit.
    Raw(Bytes),
    /// Stored messages, as pull answers carry them (§4.1), in order.
    Messages(Vec<StoredMessage>),
    /// The messages of a batch send (§4.5), in order.
    Batch(Vec<BatchMessage>),
}
