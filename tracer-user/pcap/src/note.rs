//! What a recording holds besides packets: notes, in custom options of its packets and in custom blocks.
//!
//! pcapng has no field for who owned a socket, when an operation started, or where in a stream a range belongs that
//! is longer than a packet. A note says it, exactly; the packet beside it is there for every other reader.
//!
//! A note is `rmqt`, a version, a kind, and fields in little-endian order:
//!
//! | Kind | Fields | Where |
//! |---|---|---|
//! | 1 host | name of the boot (text to the end) | block |
//! | 2 process | pid `u32`, its resource (text to the end; the recorder's caller says what) | block |
//! | 3 open | connection `u64`, pid `u32`, time `u64`, local and remote (16 bytes of IPv6 or mapped IPv4, port `u16`), netns `u32`, role `u8`, from start `u8` | packet |
//! | 4 data | connection `u64`, pid `u32`, direction `u8`, start `u64`, end `u64`, offset `u64`, length `u32`, captured `u32`: the last bytes of the packet | packet |
//! | 5 close | connection `u64`, time `u64`, bytes sent `u64`, bytes received `u64` | packet |
//! | 6 process change | pid `u32`, time `u64`, ended `u8` | block |
//! | 7 time passed | time `u64` | block |
//! | 8 end | time `u64` | block |
//! | 9 more | none: the packet belongs to the one before | packet |
//! | 10 data with a loss | as 4; what was not captured of the range is lost, and not left out on purpose | packet |
//!
//! Times are nanoseconds since 1970. The enterprise number is the one that is reserved for examples (RFC 5612): the
//! project has none, and the magic tells its notes from anybody else's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tracer_abi::{Direction, Role};
use tracer_core::{
    model::{ProcessId, Timestamp},
    record::{Close, ConnectionId, Data, Open, Process, Record},
};

/// Enterprise number of our custom blocks and options.
pub(crate) const ENTERPRISE: u32 = 32473;
const MAGIC: [u8; 5] = *b"rmqt\x01";

/// The machine that a recording was made on, since its last start: connection and process numbers are unique there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host<'a>(pub &'a str);

/// Who a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessNote<'a> {
    /// Process.
    pub process: ProcessId,
    /// What the recorder was told about it.
    pub resource: &'a str,
}

/// A note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note<'a> {
    Host(Host<'a>),
    Process(ProcessNote<'a>),
    /// Data come without their bytes, and say how many there are.
    Record(Record<'a>, u32),
    Time(Timestamp),
    End(Timestamp),
    More,
}

/// The note within the data of a custom block or option, where it is one of ours.
pub(crate) fn of_ours(data: &[u8]) -> Option<&[u8]> {
    data.strip_prefix(&MAGIC)
}

/// Writes a note, the magic before it.
pub(crate) fn write(note: &Note<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    let put = Put(out);
    match note {
        Note::Host(Host(name)) => put.u8(1).bytes(name.as_bytes()),
        Note::Process(ProcessNote { process, resource }) => {
            put.u8(2).u32(process.0).bytes(resource.as_bytes())
        }
        Note::Record(Record::Open(open), _) => put
            .u8(3)
            .u64(open.connection.0)
            .u32(open.process.0)
            .u64(open.time.0)
            .address(open.local)
            .address(open.remote)
            .u32(open.netns)
            .u8(open.role.0)
            .u8(open.from_start.into()),
        Note::Record(Record::Data(data), captured) => put
            .u8(if data.missed { 10 } else { 4 })
            .u64(data.connection.0)
            .u32(data.process.0)
            .u8(data.direction.0)
            .u64(data.start.0)
            .u64(data.end.0)
            .u64(data.offset)
            .u32(data.length)
            .u32(*captured),
        Note::Record(Record::Close(close), _) => put
            .u8(5)
            .u64(close.connection.0)
            .u64(close.time.0)
            .u64(close.sent_end)
            .u64(close.received_end),
        Note::Record(Record::Process(process), _) => put
            .u8(6)
            .u32(process.process.0)
            .u64(process.time.0)
            .u8(process.ended.into()),
        Note::Time(time) => put.u8(7).u64(time.0),
        Note::End(time) => put.u8(8).u64(time.0),
        Note::More => put.u8(9),
    };
}

/// Reads a note, the magic before it already gone. `None`: of a later version, or cut.
pub(crate) fn read(note: &[u8]) -> Option<Note<'_>> {
    let mut take = Take(note);
    Some(match take.u8()? {
        1 => Note::Host(Host(take.text()?)),
        2 => Note::Process(ProcessNote {
            process: ProcessId(take.u32()?),
            resource: take.text()?,
        }),
        3 => Note::Record(
            Record::Open(Open {
                connection: ConnectionId(take.u64()?),
                process: ProcessId(take.u32()?),
                time: Timestamp(take.u64()?),
                local: take.address()?,
                remote: take.address()?,
                netns: take.u32()?,
                role: Role(take.u8()?),
                from_start: take.u8()? != 0,
            }),
            0,
        ),
        kind @ (4 | 10) => {
            let data = Data {
                connection: ConnectionId(take.u64()?),
                process: ProcessId(take.u32()?),
                direction: Direction(take.u8()?),
                start: Timestamp(take.u64()?),
                end: Timestamp(take.u64()?),
                offset: take.u64()?,
                length: take.u32()?,
                bytes: &[],
                missed: kind == 10,
            };
            Note::Record(Record::Data(data), take.u32()?)
        }
        5 => Note::Record(
            Record::Close(Close {
                connection: ConnectionId(take.u64()?),
                time: Timestamp(take.u64()?),
                sent_end: take.u64()?,
                received_end: take.u64()?,
            }),
            0,
        ),
        6 => Note::Record(
            Record::Process(Process {
                process: ProcessId(take.u32()?),
                time: Timestamp(take.u64()?),
                ended: take.u8()? != 0,
            }),
            0,
        ),
        7 => Note::Time(Timestamp(take.u64()?)),
        8 => Note::End(Timestamp(take.u64()?)),
        9 => Note::More,
        _ => return None,
    })
}

struct Put<'a>(&'a mut Vec<u8>);

impl<'a> Put<'a> {
    fn bytes(self, bytes: &[u8]) -> Put<'a> {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(self, n: u8) -> Put<'a> {
        self.bytes(&[n])
    }

    fn u16(self, n: u16) -> Put<'a> {
        self.bytes(&n.to_le_bytes())
    }

    fn u32(self, n: u32) -> Put<'a> {
        self.bytes(&n.to_le_bytes())
    }

    fn u64(self, n: u64) -> Put<'a> {
        self.bytes(&n.to_le_bytes())
    }

    fn address(self, address: SocketAddr) -> Put<'a> {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.bytes(&ip.octets()).u16(address.port())
    }
}

struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let ip = IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)).to_canonical();
        Some(SocketAddr::new(ip, self.u16()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        // a block is padded with zeros
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).ok()?;
        Some(text.trim_end_matches('\0'))
    }
}
