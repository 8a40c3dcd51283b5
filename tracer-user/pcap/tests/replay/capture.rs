//! Packets of scripts, capture files of packets, spans of capture files.

use std::{collections::BTreeMap, io::Cursor, net::SocketAddr};

use etherparse::{PacketBuilder, TcpHeader};
use tracer_abi::Direction;
use tracer_core::{
    Config, Engine, Output,
    model::{ProcessId, Span},
    record::{Open, Record},
};
use tracer_pcap::{Event as ReplayEvent, Input, Replay, Totals};

use crate::support::Event;

/// A TCP packet, before it is one.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) time: u64,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) from_client: bool,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: &'static str,
    pub(crate) payload: Vec<u8>,
}

/// Numbers that the two ends start with: close to where they wrap.
pub(crate) const CLIENT_START: u32 = u32::MAX - 100;
pub(crate) const SERVER_START: u32 = u32::MAX - 30;

/// The script's connections as packets of at most `most` bytes each.
pub(crate) fn segments(events: &[Event], most: usize) -> Vec<Segment> {
    struct Talk {
        open: Open,
        /// Bytes sent by client and server.
        ends: [u32; 2],
    }
    let mut talks: BTreeMap<u64, Talk> = BTreeMap::new();
    let mut out = Vec::new();
    let push =
        |out: &mut Vec<Segment>, talk: &Talk, time, from_client: bool, flags, offset: u32, payload: &[u8]| {
            // the script's connections share their addresses
            let port = 40_000 + talk.open.connection.0 as u16;
            let client = SocketAddr::new(talk.open.local.ip(), port);
            let [client_end, server_end] = talk.ends;
            let (source, destination, start, other) = if from_client {
                (
                    client,
                    talk.open.remote,
                    CLIENT_START,
                    SERVER_START.wrapping_add(1 + server_end),
                )
            } else {
                (
                    talk.open.remote,
                    client,
                    SERVER_START,
                    CLIENT_START.wrapping_add(1 + client_end),
                )
            };
            let sequence = if flags == "S" || flags == "SA" {
                start
            } else {
                start.wrapping_add(1 + offset)
            };
            out.push(Segment {
                time,
                source,
                destination,
                from_client,
                sequence,
                acknowledged: other,
                flags,
                payload: payload.to_vec(),
            });
        };
    for event in events {
        match event {
            Event::Open(open) => {
                let talk = Talk {
                    open: *open,
                    ends: [0, 0],
                };
                push(&mut out, &talk, open.time.0, true, "S", 0, &[]);
                push(&mut out, &talk, open.time.0, false, "SA", 0, &[]);
                push(&mut out, &talk, open.time.0, true, "A", 0, &[]);
                talks.insert(open.connection.0, talk);
            }
            Event::Data {
                connection,
                direction,
                time,
                offset,
                bytes,
                ..
            } => {
                let talk = talks.get_mut(&connection.0).expect("opened");
                let from_client = *direction == Direction::SEND;
                for (index, chunk) in bytes.chunks(most).enumerate() {
                    let at = *offset as u32 + (index * most) as u32;
                    push(&mut out, talk, time.end, from_client, "A", at, chunk);
                    talk.ends[usize::from(!from_client)] = at + chunk.len() as u32;
                }
                push(
                    &mut out,
                    talk,
                    time.end,
                    !from_client,
                    "A",
                    talk.ends[usize::from(from_client)],
                    &[],
                );
            }
            Event::Close(close) => {
                let talk = &talks[&close.connection.0];
                push(&mut out, talk, close.time.0, true, "FA", talk.ends[0], &[]);
                push(&mut out, talk, close.time.0, false, "FA", talk.ends[1], &[]);
            }
            Event::Missed(_) | Event::Process(_) | Event::Wait(_) => {}
        }
    }
    out
}

impl Segment {
    /// Offset behind its last byte in its direction.
    pub(crate) fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.payload.len() as u32)
    }

    /// The packet over Ethernet.
    pub(crate) fn ethernet(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip = match (self.source, self.destination) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                ethernet.ipv4(from.ip().octets(), to.ip().octets(), 64)
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                ethernet.ipv6(from.ip().octets(), to.ip().octets(), 64)
            }
            _ => panic!("both of one family"),
        };
        let mut out = Vec::new();
        ip.tcp_header(self.tcp())
            .write(&mut out, &self.payload)
            .expect("memory");
        out
    }

    /// The packet without a link layer.
    pub(crate) fn ip(&self) -> Vec<u8> {
        self.ethernet().split_off(14)
    }

    pub(crate) fn tcp(&self) -> TcpHeader {
        let mut tcp = TcpHeader::new(self.source.port(), self.destination.port(), self.sequence, 1024);
        tcp.acknowledgment_number = self.acknowledged;
        (tcp.ack, tcp.syn) = (self.flags.contains('A'), self.flags.contains('S'));
        (tcp.fin, tcp.rst) = (self.flags.contains('F'), self.flags.contains('R'));
        tcp
    }
}

/// A packet as a capture has it.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) time: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: u32,
}

impl Packet {
    pub(crate) fn new(time: u64, bytes: Vec<u8>) -> Packet {
        let length = bytes.len() as u32;
        Packet { time, bytes, length }
    }

    /// What a snap length leaves of it.
    pub(crate) fn cut(mut self, at: usize) -> Packet {
        self.bytes.truncate(at);
        self
    }
}

/// Packets over Ethernet.
pub(crate) fn ethernet(segments: &[Segment]) -> Vec<Packet> {
    segments
        .iter()
        .map(|s| Packet::new(s.time, s.ethernet()))
        .collect()
}

/// A pcap file with nanoseconds, in little-endian order.
pub(crate) fn pcap(link: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, link]
        .map(u32::to_le_bytes)
        .concat();
    for packet in packets {
        let head = [
            (packet.time / 1_000_000_000) as u32,
            (packet.time % 1_000_000_000) as u32,
            packet.bytes.len() as u32,
            packet.length,
        ];
        file.extend(head.map(u32::to_le_bytes).concat());
        file.extend(&packet.bytes);
    }
    file
}

/// A file to replay.
pub(crate) fn input(file: Vec<u8>) -> Input {
    Input::Open("test".to_owned(), Box::new(Cursor::new(file)))
}

/// Everything that came of files.
#[derive(Debug)]
pub(crate) struct Result {
    pub(crate) spans: Vec<Span>,
    pub(crate) totals: Totals,
    pub(crate) engine: tracer_core::engine::Totals,
    pub(crate) errors: Vec<String>,
    /// Resources of processes.
    pub(crate) processes: Vec<(u32, String)>,
}

/// Replays files into an engine.
pub(crate) fn replay(inputs: Vec<Input>, config: &Config) -> Result {
    let mut replay = Replay::new(inputs).expect("capture files");
    let mut engine = Engine::new(config.clone());
    let (mut spans, mut errors, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let step = replay.step(|event| {
            match event {
                ReplayEvent::Record(record) => engine.handle_record(record),
                ReplayEvent::Time(now) => engine.handle_timeout(now),
                ReplayEvent::Process(note) => processes.push((note.process.0, note.resource.to_owned())),
            }
            drain(&mut engine, &mut spans);
        });
        match step {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    engine.finish(replay.end());
    drain(&mut engine, &mut spans);
    Result {
        spans,
        totals: replay.totals(),
        engine: engine.totals(),
        errors,
        processes,
    }
}

/// Replays packets over Ethernet.
pub(crate) fn replay_packets(packets: &[Packet]) -> Result {
    replay(vec![input(pcap(1, packets))], &Config::default())
}

fn drain(engine: &mut Engine, spans: &mut Vec<Span>) {
    while let Some(output) = engine.poll_output() {
        if let Output::Span(span) = output {
            spans.push(span);
        }
    }
}

/// The spans of the script itself, with the times that packets have: those of the end of each operation.
pub(crate) fn direct(events: &[Event]) -> Vec<Span> {
    let mut engine = Engine::new(Config::default());
    let mut spans = Vec::new();
    let mut last = Default::default();
    for event in events {
        let record = match event {
            Event::Open(open) => Record::Open(*open),
            Event::Close(close) => Record::Close(*close),
            Event::Data {
                connection,
                process,
                direction,
                time,
                offset,
                bytes,
            } => {
                last = tracer_core::model::Timestamp(time.end);
                Record::Data(tracer_core::record::Data {
                    connection: *connection,
                    process: *process,
                    direction: *direction,
                    start: last,
                    end: last,
                    offset: *offset,
                    length: bytes.len() as u32,
                    bytes,
                    missed: false,
                })
            }
            Event::Missed(_) | Event::Process(_) | Event::Wait(_) => continue,
        };
        engine.handle_record(record);
        drain(&mut engine, &mut spans);
    }
    engine.finish(last);
    drain(&mut engine, &mut spans);
    spans
}

/// Without what packets cannot tell: which process it was.
pub(crate) fn anonymous(spans: &[Span]) -> Vec<Span> {
    let anonymous = |span: &Span| Span {
        process: ProcessId(0),
        ..span.clone()
    };
    spans.iter().map(anonymous).collect()
}
