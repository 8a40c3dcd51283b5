//! Messages as they travel in bodies: stored messages (§4.1) and batch records (§4.5), without their bodies.

mod batch;
mod stored;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub(crate) use stored::{MIN_STORED, starts_stored};

use super::{Malformed, Properties, SysFlag, record::Record};

/// A message of the commit log, as a pull answer carries it; its body is not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredMessage {
    /// Queue id.
    pub queue_id: i32,
    /// Flag of the application.
    pub flag: i32,
    /// Offset in the queue.
    pub queue_offset: i64,
    /// Offset in the commit log.
    pub physical_offset: i64,
    /// Bits of §4.2.
    pub sys_flag: i32,
    /// Producer's clock, epoch milliseconds.
    pub born_timestamp: i64,
    /// Producer's address as the broker saw it.
    pub born_host: SocketAddr,
    /// Broker's clock, epoch milliseconds.
    pub store_timestamp: i64,
    /// Broker's address.
    pub store_host: SocketAddr,
    /// How many times the group has already been given it.
    pub reconsume_times: i32,
    /// Commit-log offset of the half message of a transaction.
    pub prepared_transaction_offset: i64,
    /// Length of the body as it travels.
    pub body_length: u32,
    /// Topic it is stored under; the messages of one answer share it.
    pub topic: Arc<str>,
    /// Its properties.
    pub properties: Properties,
}

/// A message of a batch send; its body is not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchMessage {
    /// Flag of the application.
    pub flag: i32,
    /// Length of the body.
    pub body_length: u32,
    /// Its properties.
    pub properties: Properties,
}

impl StoredMessage {
    /// Reads one record: all of `bytes` (§4.1, either magic).
    ///
    /// # Errors
    /// [`Malformed`] where its fields do not end exactly at `totalSize` and at the end of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<StoredMessage, Malformed> {
        Record::parse_whole(bytes)
    }

    /// The offset message id (§5.2): store host and commit-log offset, upper-case hex.
    pub fn offset_message_id(&self) -> String {
        offset_message_id(self.store_host, self.physical_offset)
    }

    /// `sys_flag` with names.
    pub fn system_flags(&self) -> SysFlag {
        SysFlag(self.sys_flag)
    }
}

impl BatchMessage {
    /// Reads one record: all of `bytes` (§4.5).
    ///
    /// # Errors
    /// [`Malformed`] where its fields do not end exactly at `totalSize` and at the end of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<BatchMessage, Malformed> {
        Record::parse_whole(bytes)
    }
}

/// Store host (4 or 16 bytes), port (4 bytes), commit-log offset (8 bytes), in upper-case hex (§5.2).
pub fn offset_message_id(store_host: SocketAddr, physical_offset: i64) -> String {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'A' + n - 10 };
    let (mut id, mut length) = ([0; 56], 0);
    let mut push = |bytes: &[u8]| {
        let room = id.get_mut(length..).unwrap_or_default();
        for (pair, byte) in room.as_chunks_mut().0.iter_mut().zip(bytes) {
            *pair = [byte >> 4, byte & 15].map(digit);
        }
        length += 2 * bytes.len();
    };
    match store_host.ip() {
        IpAddr::V4(ip) => push(&ip.octets()),
        IpAddr::V6(ip) => push(&ip.octets()),
    }
    push(&u32::from(store_host.port()).to_be_bytes());
    push(&physical_offset.to_be_bytes());
    let id = id.get(..length).unwrap_or_default();
    std::str::from_utf8(id).unwrap_or_default().to_owned()
}
