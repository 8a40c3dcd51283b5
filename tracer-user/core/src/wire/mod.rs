//! The RocketMQ remoting protocol: frames, headers, messages. Pure parsing; what it means is decided above.
//!
//! Section numbers (`§1.3`) are those of docs/protocol.md.

pub mod client_trace;
pub mod code;
pub mod frame;
pub mod header;
pub mod heartbeat;
pub mod message;
pub mod pop;
pub mod property;
mod read;
pub(crate) mod record;
mod scan;
pub mod shared;
pub mod sys_flag;

pub use code::{Language, RequestCode, ResponseCode, version_text};
pub use frame::{Body, Frame};
pub use header::Header;
pub use heartbeat::Heartbeat;
pub use message::{BatchMessage, StoredMessage};
pub use property::Properties;
pub use shared::Shared;
pub use sys_flag::SysFlag;

/// Why bytes are not what the protocol says they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed {what} at byte {at}")]
pub struct Malformed {
    /// The thing that was being read.
    pub what: &'static str,
    /// Offset from the start of the bytes given to the parser.
    pub at: usize,
}
