//! The engine's input: what a source — the kernel's ring, a capture file, a fuzzer — saw on a connection.

use std::net::SocketAddr;

use tracer_abi::{self as abi, Direction, Kind, Protocol};
use zerocopy::FromBytes;

use crate::model::{ProcessId, Timestamp};

/// Identity of a connection within one source; for the kernel's ring the socket cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

/// Something seen on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// A connection was recognised.
    Open(Open),
    /// Bytes of one direction.
    Data(Data<'a>),
    /// A connection ended.
    Close(Close),
    /// A process ended or runs another program.
    Process(Process),
}

/// A recognised connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Which connection.
    pub connection: ConnectionId,
    /// Its owner.
    pub process: ProcessId,
    /// When it was recognised.
    pub time: Timestamp,
    /// The owner's address.
    pub local: SocketAddr,
    /// The peer's address, IPv4-mapped ones as IPv4.
    pub remote: SocketAddr,
    /// Network namespace, where known.
    pub netns: u32,
    /// Which end the owner is, where the source knows.
    pub role: abi::Role,
    /// The connection is seen from its first byte.
    pub from_start: bool,
}

impl Open {
    fn parse(bytes: &[u8]) -> Result<Open, RecordError> {
        let short = |_| RecordError::Short { length: bytes.len() };
        let (open, _) = abi::Open::read_from_prefix(bytes).map_err(short)?;
        Ok(Open {
            connection: ConnectionId(open.header.cookie),
            process: ProcessId(open.header.tgid),
            time: Timestamp(open.header.time_ns),
            local: address(open.family, open.local_addr, open.local_port)?,
            remote: address(open.family, open.remote_addr, open.remote_port)?,
            netns: open.netns,
            role: open.role,
            from_start: open.from_start != 0,
        })
    }
}

/// A range of one direction's bytes: `offset .. offset + length`, of which `bytes` are the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a> {
    /// Which connection.
    pub connection: ConnectionId,
    /// The process that wrote or read.
    pub process: ProcessId,
    /// Which way, as the owner sees it.
    pub direction: Direction,
    /// When the operation started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Stream offset of the first byte.
    pub offset: u64,
    /// Length of the range; bytes behind `bytes` were not captured.
    pub length: u32,
    /// The captured bytes; at most `length`.
    pub bytes: &'a [u8],
    /// What is not captured was not seen; otherwise it was left out on purpose.
    pub missed: bool,
}

/// An ended connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    /// Which connection.
    pub connection: ConnectionId,
    /// When.
    pub time: Timestamp,
    /// Stream offset behind the last byte written.
    pub sent_end: u64,
    /// Stream offset behind the last byte read.
    pub received_end: u64,
}

/// A process ended, or replaced its program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// Which process.
    pub process: ProcessId,
    /// When.
    pub time: Timestamp,
    /// It ended.
    pub ended: bool,
}

/// A connection that is not RocketMQ remoting but may have a RocketMQ client behind it. It is nothing for the engine,
/// which could only ignore it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// Whose connection, from where to where.
    pub open: Open,
    /// What it carries.
    pub protocol: Protocol,
}

impl Foreign {
    /// Reads such a record; `None` where it is of another kind.
    pub fn parse(bytes: &[u8]) -> Option<Result<Foreign, RecordError>> {
        let (header, _) = abi::Header::read_from_prefix(bytes).ok()?;
        (header.kind == Kind::FOREIGN).then(|| {
            Ok(Foreign {
                open: Open::parse(bytes)?,
                protocol: Protocol(header.flags),
            })
        })
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the kind needs.
    #[error("record of {length} bytes is too short for its kind")]
    Short {
        /// Bytes there are.
        length: usize,
    },
    /// A kind that this version does not know.
    #[error("record kind {0} is not known")]
    Kind(u8),
    /// An address family other than IPv4 and IPv6.
    #[error("address family {0} is not known")]
    Family(u16),
}

impl<'a> Record<'a> {
    /// Reads one record of the kernel's ring (layout: `tracer_abi::record`).
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let short = RecordError::Short { length: bytes.len() };
        let (header, rest) = abi::Header::read_from_prefix(bytes).map_err(|_| short)?;
        let connection = ConnectionId(header.cookie);
        let process = ProcessId(header.tgid);
        let time = Timestamp(header.time_ns);
        match header.kind {
            Kind::DATA => {
                let payload = rest.get(..header.captured as usize).ok_or(short)?;
                Ok(Record::Data(Data {
                    connection,
                    process,
                    direction: header.direction,
                    start: Timestamp(header.time_ns.saturating_sub(header.elapsed_ns.into())),
                    end: time,
                    offset: header.offset,
                    length: header.original.max(header.captured),
                    bytes: payload,
                    missed: header.flags & abi::record::MISSED != 0,
                }))
            }
            Kind::OPEN => Open::parse(bytes).map(Record::Open),
            Kind::CLOSE => {
                let (close, _) = abi::Close::read_from_prefix(bytes).map_err(|_| short)?;
                let (sent_end, received_end) = (close.sent_end, close.received_end);
                Ok(Record::Close(Close {
                    connection,
                    time,
                    sent_end,
                    received_end,
                }))
            }
            Kind::PROCESS => {
                let (p, _) = abi::Process::read_from_prefix(bytes).map_err(|_| short)?;
                Ok(Record::Process(Process {
                    process,
                    time,
                    ended: p.ended != 0,
                }))
            }
            Kind(other) => Err(RecordError::Kind(other)),
        }
    }
}

/// `AF_INET`: the first four bytes; `AF_INET6`: all, IPv4-mapped ones as IPv4 (Java's sockets are IPv6).
fn address(family: u16, bytes: [u8; 16], port: u16) -> Result<SocketAddr, RecordError> {
    let [a, b, c, d, ..] = bytes;
    let ip = match family {
        2 => std::net::IpAddr::from([a, b, c, d]),
        10 => std::net::IpAddr::from(bytes).to_canonical(),
        other => return Err(RecordError::Family(other)),
    };
    Ok(SocketAddr::new(ip, port))
}
