//! Messages as they travel in bodies: stored messages (§4.1) and batch records (§4.5), without their bodies.

use std::net::SocketAddr;

use super::Properties;

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
    /// Topic it is stored under.
    pub topic: String,
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
    /// The offset message id (§5.2): store host and commit-log offset, upper-case hex.
    pub fn offset_message_id(&self) -> String {
        offset_message_id(self.store_host, self.physical_offset)
    }
}

/// Store host (4 or 16 bytes), port (4 bytes), commit-log offset (8 bytes), in upper-case hex (§5.2).
pub fn offset_message_id(store_host: SocketAddr, physical_offset: i64) -> String {
    let mut out = String::with_capacity(56);
    let mut push = |bytes: &[u8]| bytes.iter().for_each(|b| out.push_str(&format!("{b:02X}")));
    match store_host.ip() {
        std::net::IpAddr::V4(ip) => push(&ip.octets()),
        std::net::IpAddr::V6(ip) => push(&ip.octets()),
    }
    push(&u32::from(store_host.port()).to_be_bytes());
    push(&physical_offset.to_be_bytes());
    out
}
