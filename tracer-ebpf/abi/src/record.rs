//! The records in the ring buffer.
//!
//! Every record starts with a [`Header`]; `kind` says what follows it:
//!
//! | kind | follows |
//! |---|---|
//! | [`Kind::DATA`] | `captured` payload bytes |
//! | [`Kind::OPEN`] | the rest of [`Open`] |
//! | [`Kind::CLOSE`] | the rest of [`Close`] |
//! | [`Kind::PROCESS`] | the rest of [`Process`] |
//! | [`Kind::FOREIGN`] | the rest of [`Open`]; `flags` is a [`Protocol`] |

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a record is about. A newtype, so that an unknown number survives.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Kind(pub u8);

impl Kind {
    /// A connection was judged to carry RocketMQ remoting frames. Precedes its data.
    pub const OPEN: Kind = Kind(1);
    /// Bytes of one direction of a connection: the range `offset .. offset + original`, of which the first
    /// `captured` bytes follow the header.
    pub const DATA: Kind = Kind(2);
    /// A judged connection was destroyed.
    pub const CLOSE: Kind = Kind(3);
    /// A process of interest replaced its program or ended.
    pub const PROCESS: Kind = Kind(4);
    /// A connection was judged to be something else, which a RocketMQ client may be behind.
    pub const FOREIGN: Kind = Kind(5);
}

/// [`Header::flags`] of [`Kind::DATA`]: what the record stands for and does not carry was not seen, for a cause that is counted.
/// Without it, it was left out on purpose: message bodies.
pub const MISSED: u16 = 1;

/// What a foreign connection carries. A newtype, so that an unknown number survives.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Protocol(pub u16);

impl Protocol {
    /// TLS records.
    pub const TLS: Protocol = Protocol(1);
    /// HTTP/2 without TLS, as gRPC speaks it.
    pub const HTTP2: Protocol = Protocol(2);
}

/// The direction of bytes, as the owner of the socket sees it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Direction(pub u8);

impl Direction {
    /// Written by the traced process.
    pub const SEND: Direction = Direction(0);
    /// Read by the traced process.
    pub const RECV: Direction = Direction(1);
}

/// Which end of the connection the traced process is.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Role(pub u8);

impl Role {
    /// The kernel side could not tell.
    pub const UNKNOWN: Role = Role(0);
    /// The process opened the connection (`connect`).
    pub const CLIENT: Role = Role(1);
    /// The process accepted the connection (`accept`).
    pub const SERVER: Role = Role(2);
}

/// The first 48 bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// [`Kind::DATA`]: which way the bytes went.
    pub direction: Direction,
    /// [`Kind::FOREIGN`]: the [`Protocol`]; [`Kind::DATA`]: [`MISSED`] or zero; otherwise zero.
    pub flags: u16,
    /// [`Kind::DATA`]: payload bytes behind this header.
    pub captured: u32,
    /// The socket's cookie (`bpf_get_socket_cookie`): identity of the connection on this machine.
    pub cookie: u64,
    /// When the operation ended, nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// [`Kind::DATA`]: stream offset of the first byte, from the TCP sequence numbers.
    pub offset: u64,
    /// [`Kind::DATA`]: bytes of the stream that this record stands for. More than `captured` means that the
    /// rest was not copied: left out, or [`MISSED`].
    pub original: u32,
    /// Nanoseconds between the start of the operation and `time_ns`; 0 where the start is not known.
    pub elapsed_ns: u32,
    /// Process id (thread group) of the caller. [`Kind::CLOSE`]: of the owner seen last.
    pub tgid: u32,
    /// Thread id of the caller.
    pub tid: u32,
}

/// A connection judged to be RocketMQ remoting.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Open {
    /// `kind` is [`Kind::OPEN`].
    pub header: Header,
    /// Local address: 16 bytes of IPv6, or 4 bytes of IPv4 and 12 zero bytes.
    pub local_addr: [u8; 16],
    /// Remote address, same form.
    pub remote_addr: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// How the connection came to be, where the kernel side saw it.
    pub role: Role,
    /// 1: seen from its first byte; 0: it was open before the tracer, offsets start at the first byte seen.
    pub from_start: u8,
    /// Zero.
    pub reserved: u32,
}

/// A judged connection was destroyed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Close {
    /// `kind` is [`Kind::CLOSE`].
    pub header: Header,
    /// Stream offset behind the last byte written; 0 for a connection whose bytes were kept to the kernel side.
    pub sent_end: u64,
    /// Stream offset behind the last byte read; likewise.
    pub received_end: u64,
}

/// A process in the filter map replaced its program (`exec`) or ended.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Process {
    /// `kind` is [`Kind::PROCESS`]; `tgid` is the process.
    pub header: Header,
    /// 1: ended; 0: another program now runs under this id.
    pub ended: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bytes of [`Header`].
pub const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 48);
const _: () = assert!(size_of::<Open>() == 48 + 48);
const _: () = assert!(size_of::<Close>() == 48 + 16);
const _: () = assert!(size_of::<Process>() == 48 + 8);

#[cfg(test)]
mod tests;
