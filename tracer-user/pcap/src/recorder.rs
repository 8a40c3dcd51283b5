//! The writing door: what the engine is told, as a pcapng file.
//!
//! Every record becomes packets of raw IP and TCP that any reader of such files understands: addresses, sequence numbers
//! and acknowledgements are those of the connection's stream, and what was not captured (message bodies above all) is a
//! packet whose captured length is less than its own. Beside the first packet of a record stands a note (see
//! [`crate::note`]) that makes the record whole again. Credentials are masked (see [`crate::mask`]).

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use etherparse::PacketBuilder;
use hashlink::LruCache;
use tracer_abi::{Direction, Role};
use tracer_core::{
    model::{ProcessId, Timestamp},
    record::{Close, ConnectionId, Data, Open, Record},
};

use crate::{
    limits,
    mask::Mask,
    note::{self, Host, Note, ProcessNote},
};

/// `LINKTYPE_RAW`.
const RAW_IP: u16 = 101;
/// Most bytes that one packet stands for: what its length field can say, without the headers.
const MOST: u32 = 65_535 - 20 - 60;
/// Length of the TCP header that is written.
const WINDOW: u16 = u16::MAX;

/// Writes a recording. Times of records are moved by a fixed distance onto the wall clock.
pub struct Recorder<W: Write> {
    out: W,
    /// What is added to the records' times, wrapping.
    to_wall: u64,
    written: u64,
    connections: LruCache<ConnectionId, Connection>,
    block: Vec<u8>,
    note: Vec<u8>,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    sent: Way,
    received: Way,
}

#[derive(Debug, Default)]
struct Way {
    /// Offset behind the last byte.
    end: u64,
    mask: Mask,
}

/// One packet.
struct Packet<'a> {
    direction: Direction,
    offset: u64,
    bytes: &'a [u8],
    /// Bytes that it stands for.
    length: u32,
    flags: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flags {
    Ack,
    Syn,
    SynAck,
    Fin,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording. `to_wall` is wall-clock time minus the records' clock, in nanoseconds; `host` names this
    /// start of the machine, `application` is what is said to have written the file.
    ///
    /// # Errors
    /// What writing fails with, here and in the other functions.
    pub fn new(out: W, host: Host<'_>, application: &str, to_wall: i64) -> io::Result<Recorder<W>> {
        let mut recorder = Recorder {
            out,
            to_wall: to_wall.cast_unsigned(),
            written: 0,
            connections: LruCache::new(limits::CONNECTIONS),
            block: Vec::new(),
            note: Vec::new(),
            packet: Vec::new(),
        };
        recorder.section(application)?;
        recorder.interface()?;
        recorder.lone_note(&Note::Host(host))?;
        Ok(recorder)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The same moment on the wall clock, as the file has it.
    pub fn wall(&self, time: Timestamp) -> Timestamp {
        Timestamp(time.0.wrapping_add(self.to_wall))
    }

    /// Says who a process is; the records of it come after that.
    pub fn process(&mut self, process: ProcessId, resource: &str) -> io::Result<()> {
        self.lone_note(&Note::Process(ProcessNote { process, resource }))
    }

    /// Time passed without a record, and the engine was told so.
    pub fn time(&mut self, now: Timestamp) -> io::Result<()> {
        let now = self.wall(now);
        self.lone_note(&Note::Time(now))
    }

    /// The engine was ended.
    pub fn end(&mut self, now: Timestamp) -> io::Result<()> {
        let now = self.wall(now);
        self.lone_note(&Note::End(now))?;
        self.flush()
    }

    /// Hands what was written to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes a record.
    pub fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        match record {
            Record::Open(open) => self.open(open),
            Record::Data(data) => self.data(data),
            Record::Close(close) => self.close(close),
            Record::Process(process) => {
                let mut process = *process;
                process.time = self.wall(process.time);
                self.lone_note(&Note::Record(Record::Process(process), 0))
            }
        }
    }

    fn open(&mut self, open: &Open) -> io::Result<()> {
        let connection = Connection {
            local: open.local,
            remote: open.remote,
            sent: Way::default(),
            received: Way::default(),
        };
        self.connections.insert(open.connection, connection);
        let time = self.wall(open.time);
        let note = Note::Record(Record::Open(Open { time, ..*open }), 0);
        let (from, to) = if open.role == Role::SERVER {
            (Direction::RECV, Direction::SEND)
        } else {
            (Direction::SEND, Direction::RECV)
        };
        let packet = |direction, flags| Packet {
            direction,
            offset: 0,
            bytes: &[],
            length: 0,
            flags,
        };
        if !open.from_start {
            return self.write(
                open.connection,
                open.process,
                time,
                &packet(Direction::SEND, Flags::Ack),
                &note,
            );
        }
        self.write(
            open.connection,
            open.process,
            time,
            &packet(from, Flags::Syn),
            &note,
        )?;
        self.write(
            open.connection,
            open.process,
            time,
            &packet(to, Flags::SynAck),
            &Note::More,
        )
    }

    fn data(&mut self, data: &Data<'_>) -> io::Result<()> {
        let Some((first, rest)) = data.bytes.split_at_checked(MOST as usize) else {
            return self.piece(data);
        };
        // more than a packet holds, and than the kernel's ring does: as if it had come in pieces
        let length = MOST.min(data.length);
        self.piece(&Data {
            length,
            bytes: first,
            ..*data
        })?;
        match data.length - length {
            0 => Ok(()),
            left => self.data(&Data {
                offset: data.offset.saturating_add(length.into()),
                length: left,
                bytes: rest,
                ..*data
            }),
        }
    }

    /// A record whose bytes fit into a packet.
    fn piece(&mut self, data: &Data<'_>) -> io::Result<()> {
        let id = data.connection;
        if !self.connections.contains_key(&id) {
            self.connections.insert(id, Connection::unannounced(id));
        }
        let mut bytes = data
            .bytes
            .get(..data.length as usize)
            .unwrap_or(data.bytes)
            .to_vec();
        if let Some(connection) = self.connections.get_mut(&id) {
            let way = connection.way(data.direction);
            match data.offset.checked_sub(way.end) {
                Some(0) => {}
                Some(hole) => way.mask.gap(hole),
                // told again, or in another order
                None => way.mask = Mask::default(),
            }
            way.mask.apply(&mut bytes);
            let rest = u64::from(data.length) - bytes.len() as u64;
            if rest > 0 {
                way.mask.gap(rest);
            }
            way.end = data.offset.saturating_add(data.length.into());
        }
        let (start, end) = (self.wall(data.start), self.wall(data.end));
        let record = Record::Data(Data {
            start,
            end,
            bytes: &[],
            ..*data
        });
        let mut note = Note::Record(record, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let (mut at, mut rest) = (0_u32, bytes.as_slice());
        loop {
            // the record's bytes are in its first packet
            let length = (data.length - at).min(MOST);
            let packet = Packet {
                direction: data.direction,
                offset: data.offset.saturating_add(at.into()),
                bytes: std::mem::take(&mut rest),
                length,
                flags: Flags::Ack,
            };
            self.write(id, data.process, end, &packet, &note)?;
            note = Note::More;
            at += length;
            if at >= data.length {
                return Ok(());
            }
        }
    }

    fn close(&mut self, close: &Close) -> io::Result<()> {
        let time = self.wall(close.time);
        let id = close.connection;
        if !self.connections.contains_key(&id) {
            self.connections.insert(id, Connection::unannounced(id));
        }
        let mut note = Note::Record(Record::Close(Close { time, ..*close }), 0);
        for (direction, offset) in [
            (Direction::SEND, close.sent_end),
            (Direction::RECV, close.received_end),
        ] {
            let packet = Packet {
                direction,
                offset,
                bytes: &[],
                length: 0,
                flags: Flags::Fin,
            };
            self.write(id, ProcessId(0), time, &packet, &note)?;
            note = Note::More;
        }
        self.connections.remove(&id);
        Ok(())
    }

    /// Writes one packet with its note.
    fn write(
        &mut self,
        id: ConnectionId,
        process: ProcessId,
        time: Timestamp,
        packet: &Packet<'_>,
        note: &Note<'_>,
    ) -> io::Result<()> {
        let Some(connection) = self.connections.peek(&id) else {
            return Ok(());
        };
        self.packet.clear();
        let length = connection.packet(packet, &mut self.packet)?;
        self.note.clear();
        self.note.extend_from_slice(&note::ENTERPRISE.to_le_bytes());
        note::write(note, &mut self.note);
        let direction: u32 = if packet.direction == Direction::SEND { 2 } else { 1 };
        let owner = u64::from(process.0) << 32;
        let mut block = Block::new(&mut self.block, 6);
        block.words(&[
            0,
            (time.0 >> 32) as u32,
            time.0 as u32,
            self.packet.len() as u32,
            length,
        ]);
        block.padded(&self.packet);
        // epb_flags: inbound or outbound; process and thread; ours, which may be copied
        block.option(2, &direction.to_le_bytes());
        block.option(8, &owner.to_le_bytes());
        block.option(2989, &self.note);
        block.option(0, &[]);
        block.end();
        self.put()
    }

    fn lone_note(&mut self, note: &Note<'_>) -> io::Result<()> {
        self.note.clear();
        note::write(note, &mut self.note);
        let mut block = Block::new(&mut self.block, 0xbad);
        block.words(&[note::ENTERPRISE]);
        block.padded(&self.note);
        block.end();
        self.put()
    }

    fn section(&mut self, application: &str) -> io::Result<()> {
        let mut block = Block::new(&mut self.block, 0x0a0d_0d0a);
        // byte order, version 1.0, length of the section not known
        block.words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]);
        block.option(3, b"Linux");
        block.option(4, application.as_bytes());
        block.option(0, &[]);
        block.end();
        self.put()
    }

    fn interface(&mut self) -> io::Result<()> {
        let mut block = Block::new(&mut self.block, 1);
        block.words(&[RAW_IP.into(), 0]);
        block.option(2, b"rmqtrace");
        block.option(
            3,
            b"operations on sockets, as packets; what is not captured is cut off",
        );
        // nanoseconds
        block.option(9, &[9]);
        block.option(0, &[]);
        block.end();
        self.put()
    }

    fn put(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.written += self.block.len() as u64;
        Ok(())
    }
}

impl Connection {
    /// A connection whose announcement was lost: two addresses that are reserved for examples.
    fn unannounced(id: ConnectionId) -> Connection {
        let port = 1024 + (id.0 % 60_000) as u16;
        let address = |last, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
        Connection {
            local: address(1, port),
            remote: address(2, 1),
            sent: Way::default(),
            received: Way::default(),
        }
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        if direction == Direction::SEND {
            &mut self.sent
        } else {
            &mut self.received
        }
    }

    /// Builds a packet. Returns its length on the wire.
    fn packet(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> io::Result<u32> {
        let (source, destination, other) = if packet.direction == Direction::SEND {
            (self.local, self.remote, &self.received)
        } else {
            (self.remote, self.local, &self.sent)
        };
        // the SYN has number 0, the first byte 1; numbers wrap with their width
        let sequence = match packet.flags {
            Flags::Syn | Flags::SynAck => 0,
            Flags::Ack | Flags::Fin => (packet.offset as u32).wrapping_add(1),
        };
        let ip = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
            }
            (source, destination) => PacketBuilder::ipv6(v6(source).octets(), v6(destination).octets(), 64),
        };
        let tcp = ip.tcp(source.port(), destination.port(), sequence, WINDOW);
        let acknowledged = (other.end as u32).wrapping_add(1);
        let tcp = match packet.flags {
            Flags::Syn => tcp.syn(),
            Flags::SynAck => tcp.syn().ack(1),
            Flags::Ack => tcp.ack(acknowledged),
            Flags::Fin => tcp.fin().ack(acknowledged),
        };
        let headers = tcp.size(0);
        // the lengths in the headers are those of the whole, which the builder only writes for what is there
        tcp.write(out, packet.bytes).map_err(io::Error::other)?;
        let whole = headers + packet.length as usize;
        let (at, value) = match source.ip().is_ipv4() && destination.ip().is_ipv4() {
            true => (2, whole),
            false => (4, whole - 40),
        };
        if let Some(field) = out.get_mut(at..at + 2) {
            field.copy_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes());
        }
        ipv4_checksum(out);
        Ok(u32::try_from(whole).unwrap_or(u32::MAX))
    }
}

fn v6(ip: IpAddr) -> std::net::Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The header's checksum, after its length was changed.
fn ipv4_checksum(packet: &mut [u8]) {
    if let Ok((mut header, _)) = etherparse::Ipv4Header::from_slice(packet) {
        header.header_checksum = header.calc_header_checksum();
        let bytes = header.to_bytes();
        if let Some(start) = packet.get_mut(..bytes.len()) {
            start.copy_from_slice(&bytes);
        }
    }
}

/// A block in the making: kind, length, content, length.
struct Block<'a>(&'a mut Vec<u8>);

impl<'a> Block<'a> {
    fn new(buffer: &'a mut Vec<u8>, kind: u32) -> Block<'a> {
        buffer.clear();
        let mut block = Block(buffer);
        block.words(&[kind, 0]);
        block
    }

    fn words(&mut self, words: &[u32]) {
        words
            .iter()
            .for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&code.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.padded(value.get(..length.into()).unwrap_or(value));
    }

    fn end(self) {
        let length = u32::try_from(self.0.len() + 4).unwrap_or(u32::MAX).to_le_bytes();
        self.0.extend_from_slice(&length);
        if let Some(field) = self.0.get_mut(4..8) {
            field.copy_from_slice(&length);
        }
    }
}
