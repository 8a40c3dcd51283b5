//! Scripts of records, and the engine run over them.

use std::net::{Ipv4Addr, SocketAddr};

use tracer_abi::{Direction, Role};
use tracer_core::{
    Config, Engine, Output,
    engine::Totals,
    model::{ProcessId, Span, Timestamp},
    record::{Close, ConnectionId, Data, Open, Process, Record},
};

/// Connections of a script.
const CONNECTIONS: usize = 4;
/// Bytes of an operation before its data.
const HEAD: usize = 4;
/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Bytes of one direction.
    Data,
    /// A range of which no byte was copied.
    Elided,
    /// Bytes of one direction that nobody saw.
    Lost,
    /// Bytes of one direction, recorded after the record that follows them.
    Late,
    /// A connection opens, anew where it was open.
    Open,
    /// A connection closes.
    Close,
    /// Time passes without a record.
    Time,
    /// A process ends.
    Process,
}

impl What {
    const ALL: [What; 8] = [
        What::Data,
        What::Elided,
        What::Lost,
        What::Late,
        What::Open,
        What::Close,
        What::Time,
        What::Process,
    ];
}

/// Something that the engine is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A record.
    Record(Record<'a>),
    /// Time passed.
    Time(Timestamp),
}

/// A decoded script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script<'a> {
    /// In the order in which the engine is told.
    pub events: Vec<Event<'a>>,
    /// Every byte of every connection is there, in order.
    pub complete: bool,
    /// When it ends.
    pub end: Timestamp,
}

/// What is remembered of a connection while a script is read.
#[derive(Clone, Copy, Default)]
struct Connection {
    sent: u64,
    received: u64,
}

impl<'a> Script<'a> {
    /// Reads a script. Any bytes are one.
    pub fn read(mut rest: &'a [u8]) -> Script<'a> {
        let mut connections = [Connection::default(); CONNECTIONS];
        let mut events = Vec::new();
        let (mut complete, mut now) = (true, MS);
        let mut late = None;
        while let Some((&[head, pause, high, low], behind)) = rest.split_first_chunk::<HEAD>() {
            rest = behind;
            let what = What::ALL[usize::from(head & 7)];
            let number = usize::from(head >> 4 & 3);
            let flag = head >> 6 & 1;
            let unit = if what == What::Time { 1000 * MS } else { MS };
            now += u64::from(pause) * unit;
            let time = Timestamp(now);
            let length = u16::from_be_bytes([high, low]);
            let (connection, process) = (ConnectionId(number as u64), ProcessId(number as u32 / 2 + 1));
            let state = &mut connections[number];
            let (direction, offset) = if head & 8 == 0 {
                (Direction::SEND, &mut state.sent)
            } else {
                (Direction::RECV, &mut state.received)
            };
            let mut data = |bytes: &'a [u8], length: usize| {
                let data = Data {
                    connection,
                    process,
                    direction,
                    start: time,
                    end: time,
                    offset: *offset,
                    length: length as u32,
                    bytes,
                    missed: head & 128 != 0,
                };
                *offset += length as u64;
                Event::Record(Record::Data(data))
            };
            let event = match what {
                What::Data | What::Late => {
                    let (bytes, behind) = rest.split_at(rest.len().min(length.into()));
                    rest = behind;
                    let event = data(bytes, bytes.len());
                    if what == What::Late && late.is_none() {
                        (late, complete) = (Some(event), false);
                        continue;
                    }
                    event
                }
                What::Elided => data(&[], length.into()),
                What::Lost => {
                    *offset += u64::from(length);
                    complete &= length == 0;
                    continue;
                }
                What::Open => {
                    // bytes of an earlier connection of this number are another's
                    complete &= state.sent == 0 && state.received == 0;
                    *state = Connection::default();
                    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    Event::Record(Record::Open(Open {
                        connection,
                        process,
                        time,
                        local: address(40_000 + number as u16),
                        remote: address(10_911),
                        netns: 1,
                        role: if flag == 0 { Role::CLIENT } else { Role::UNKNOWN },
                        from_start: true,
                    }))
                }
                What::Close => {
                    let (sent_end, received_end) = (state.sent, state.received);
                    *state = Connection::default();
                    Event::Record(Record::Close(Close {
                        connection,
                        time,
                        sent_end,
                        received_end,
                    }))
                }
                What::Time => Event::Time(time),
                What::Process => Event::Record(Record::Process(Process {
                    process,
                    time,
                    ended: flag == 0,
                })),
            };
            events.push(event);
            events.extend(late.take());
        }
        events.extend(late);
        Script {
            events,
            complete,
            end: Timestamp(now + MS),
        }
    }
}

/// The same script with each range in two, at places that its bytes choose.
pub fn split<'a>(events: &[Event<'a>]) -> Vec<Event<'a>> {
    let mut out = Vec::with_capacity(2 * events.len());
    let mut place = 0_usize;
    for event in events {
        match event {
            Event::Record(Record::Data(data)) if data.bytes.len() > 1 => {
                place = place.wrapping_mul(31).wrapping_add(data.bytes.len());
                let at = 1 + place % (data.bytes.len() - 1);
                let (first, second) = data.bytes.split_at(at);
                let piece = |bytes: &'a [u8], offset, length| {
                    Event::Record(Record::Data(Data {
                        bytes,
                        offset,
                        length,
                        ..*data
                    }))
                };
                out.push(piece(first, data.offset, at as u32));
                out.push(piece(second, data.offset + at as u64, data.length - at as u32));
            }
            other => out.push(*other),
        }
    }
    out
}

/// Runs the engine over a script. Returns its spans and totals.
pub fn run(config: &Config, events: &[Event<'_>], end: Timestamp) -> (Vec<Span>, Totals) {
    let mut engine = Engine::new(config.clone());
    let mut spans = Vec::new();
    let mut drain = |engine: &mut Engine| {
        while let Some(output) = engine.poll_output() {
            if let Output::Span(span) = output {
                spans.push(span);
            }
        }
    };
    for event in events {
        match event {
            Event::Record(record) => engine.handle_record(*record),
            Event::Time(now) => engine.handle_timeout(*now),
        }
        drain(&mut engine);
    }
    engine.finish(end);
    drain(&mut engine);
    let totals = engine.totals();
    (spans, totals)
}
