//! What the kernel side and user space of rmqtrace share: record layout, map values, limits, and the
//! rule that judges a connection by its first bytes.
//!
//! Everything here is plain data without padding, read with `zerocopy` on both sides. Integers are in the
//! machine's byte order: both sides run on the same machine.
#![no_std]

pub mod counter;
pub mod filter;
pub mod limits;
pub mod record;
pub mod sniff;

pub use counter::Counter;
pub use limits::*;
pub use record::{Close, Direction, Header, Kind, Open, Process, Protocol, Role};
