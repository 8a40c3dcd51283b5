//! Scripts: what happens on connections, in milliseconds, as a list of records that a test may also cut up.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range};

use tracer_abi::{Direction, Role};
use tracer_core::{
    Config, Engine, Output,
    engine::Totals,
    model::{ProcessId, Span, Timestamp},
    record::{Close, ConnectionId, Data, Open, Process, Record},
};

use super::{Frame, check};

/// The process that scripts are about, unless they say otherwise.
const PROCESS: u32 = 100;

/// Wall-clock time of millisecond 0.
pub(crate) const WALL_MS: i64 = 1_758_272_400_000;

/// A record that owns its bytes.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Open(Open),
    Data {
        connection: ConnectionId,
        process: ProcessId,
        direction: Direction,
        time: Range<u64>,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// The kernel side says that bytes went by unseen.
    Missed(Data<'static>),
    Close(Close),
    Process(Process),
    /// Time passes without a record.
    Wait(Timestamp),
}

/// A connection of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conn(u64);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) config: Config,
    pub(crate) events: Vec<Event>,
    now: u64,
    processes: BTreeMap<u64, u32>,
    offsets: BTreeMap<(u64, u8), u64>,
}

impl Script {
    pub(crate) fn new() -> Script {
        Script::default()
    }

    /// Moves the clock to a millisecond.
    pub(crate) fn at(&mut self, ms: u64) -> &mut Script {
        assert!(ms >= self.now, "the clock goes forwards");
        self.now = ms;
        self
    }

    /// Lets the clock reach a millisecond without a record.
    pub(crate) fn wait(&mut self, ms: u64) -> &mut Script {
        self.at(ms);
        let now = self.time();
        self.events.push(Event::Wait(now));
        self
    }

    /// A client's connection, seen from its first byte.
    pub(crate) fn connect(&mut self) -> Conn {
        self.connect_as(PROCESS, Role::CLIENT, true)
    }

    pub(crate) fn connect_as(&mut self, process: u32, role: Role, from_start: bool) -> Conn {
        let conn = Conn(self.processes.len() as u64 + 1);
        self.processes.insert(conn.0, process);
        self.events.push(Event::Open(Open {
            connection: ConnectionId(conn.0),
            process: ProcessId(process),
            time: self.time(),
            local: SocketAddr::from(([10, 1, 2, 3], 40000)),
            remote: SocketAddr::from(([192, 168, 0, 10], 10911)),
            netns: 0,
            role,
            from_start,
        }));
        conn
    }

    /// The process writes a frame, in one operation of a millisecond.
    pub(crate) fn write(&mut self, conn: Conn, frame: Frame) -> &mut Script {
        self.frame(conn, Direction::SEND, frame)
    }

    /// The process reads a frame.
    pub(crate) fn read(&mut self, conn: Conn, frame: Frame) -> &mut Script {
        self.frame(conn, Direction::RECV, frame)
    }

    /// From now on the connection is another process's.
    pub(crate) fn hand_over(&mut self, conn: Conn, process: u32) -> &mut Script {
        self.processes.insert(conn.0, process);
        self
    }

    /// A frame that goes by unseen.
    pub(crate) fn lose(&mut self, conn: Conn, direction: Direction, frame: Frame) -> &mut Script {
        *self.offsets.entry((conn.0, direction.0)).or_default() += frame.bytes().len() as u64;
        self
    }

    /// The kernel side says that the next bytes of this direction went by unseen.
    pub(crate) fn miss(&mut self, conn: Conn, direction: Direction, length: usize) -> &mut Script {
        let end = self.offsets.entry((conn.0, direction.0)).or_default();
        let offset = *end;
        *end += length as u64;
        self.events.push(Event::Missed(Data {
            connection: ConnectionId(conn.0),
            process: ProcessId(self.processes[&conn.0]),
            direction,
            start: self.time(),
            end: self.time(),
            offset,
            length: length as u32,
            bytes: &[],
            missed: true,
        }));
        self
    }

    /// The process writes the first bytes of a frame.
    pub(crate) fn write_start(&mut self, conn: Conn, frame: Frame, length: usize) -> &mut Script {
        self.bytes(conn, Direction::SEND, frame.bytes()[..length].to_vec())
    }

    /// A frame of which these bytes go by unseen.
    pub(crate) fn lose_part(
        &mut self,
        conn: Conn,
        direction: Direction,
        frame: Frame,
        unseen: Range<usize>,
    ) -> &mut Script {
        let bytes = frame.bytes();
        let (before, after) = (&bytes[..unseen.start], &bytes[unseen.end..]);
        self.bytes(conn, direction, before.to_vec());
        *self.offsets.entry((conn.0, direction.0)).or_default() += unseen.len() as u64;
        self.bytes(conn, direction, after.to_vec())
    }

    fn frame(&mut self, conn: Conn, direction: Direction, frame: Frame) -> &mut Script {
        self.bytes(conn, direction, frame.bytes())
    }

    fn bytes(&mut self, conn: Conn, direction: Direction, bytes: Vec<u8>) -> &mut Script {
        let end = self.offsets.entry((conn.0, direction.0)).or_default();
        let offset = *end;
        *end += bytes.len() as u64;
        let process = ProcessId(self.processes[&conn.0]);
        let time = self.now * 1_000_000..(self.now + 1) * 1_000_000;
        self.events.push(Event::Data {
            connection: ConnectionId(conn.0),
            process,
            direction,
            time,
            offset,
            bytes,
        });
        self
    }

    pub(crate) fn close(&mut self, conn: Conn) -> &mut Script {
        let end = |direction: Direction| self.offsets.get(&(conn.0, direction.0)).copied().unwrap_or(0);
        let (sent_end, received_end) = (end(Direction::SEND), end(Direction::RECV));
        self.close_at(conn, sent_end, received_end)
    }

    /// Ends a connection whose last bytes are said to stand there.
    pub(crate) fn close_at(&mut self, conn: Conn, sent_end: u64, received_end: u64) -> &mut Script {
        let close = Close {
            connection: ConnectionId(conn.0),
            time: self.time(),
            sent_end,
            received_end,
        };
        self.events.push(Event::Close(close));
        self
    }

    pub(crate) fn exit(&mut self, process: u32) -> &mut Script {
        let process = Process {
            process: ProcessId(process),
            time: self.time(),
            ended: true,
        };
        self.events.push(Event::Process(process));
        self
    }

    /// The spans of everything up to now, and those that come when the tracer ends now.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.run().0
    }

    pub(crate) fn totals(&self) -> Totals {
        self.run().1
    }

    fn run(&self) -> (Vec<Span>, Totals) {
        run(&self.config, &self.events, self.time())
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now * 1_000_000)
    }
}

/// Runs records through an engine, which ends at `end`. What comes out keeps to the semantic conventions.
pub(crate) fn run(config: &Config, events: &[Event], end: Timestamp) -> (Vec<Span>, Totals) {
    let result = feed(config, events, end);
    check(&result.0);
    result
}

/// [`run`] without a look at the spans, which costs more than to make them.
pub(crate) fn feed(config: &Config, events: &[Event], end: Timestamp) -> (Vec<Span>, Totals) {
    let mut engine = Engine::new(config.clone());
    engine.set_wall_offset(WALL_MS * 1_000_000);
    let mut spans = Vec::new();
    for event in events {
        match event {
            Event::Open(open) => engine.handle_record(Record::Open(*open)),
            Event::Close(close) => engine.handle_record(Record::Close(*close)),
            Event::Process(process) => engine.handle_record(Record::Process(*process)),
            Event::Missed(data) => engine.handle_record(Record::Data(*data)),
            Event::Wait(now) => engine.handle_timeout(*now),
            Event::Data {
                connection,
                process,
                direction,
                time,
                offset,
                bytes,
            } => engine.handle_record(Record::Data(Data {
                connection: *connection,
                process: *process,
                direction: *direction,
                start: Timestamp(time.start),
                end: Timestamp(time.end),
                offset: *offset,
                length: bytes.len() as u32,
                bytes,
                missed: false,
            })),
        }
        spans.extend(spans_of(&mut engine));
    }
    engine.finish(end);
    spans.extend(spans_of(&mut engine));
    assert_eq!(engine.poll_timeout(), None, "nothing is open at the end");
    (spans, engine.totals())
}

/// The spans that have come out.
pub(crate) fn spans_of(engine: &mut Engine) -> Vec<Span> {
    let outputs = std::iter::from_fn(|| engine.poll_output());
    outputs
        .filter_map(|output| {
            if let Output::Span(span) = output {
                Some(span)
            } else {
                None
            }
        })
        .collect()
}
