//! Traffic as the kernel side records it: ring records without the bodies of messages.

use tracer_abi::{
    Direction, Kind, Role,
    record::{self as abi},
};
use tracer_core::{Config, Engine, Output, model::Timestamp, record::Record};
use zerocopy::IntoBytes;

use crate::frames::{Stored, json, properties};

/// How much there is of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Connections, each of a process of its own.
    pub connections: usize,
    /// Topics; a connection uses one after another.
    pub topics: usize,
    /// Consumer groups, likewise.
    pub groups: usize,
    /// Messages of a pull.
    pub batch: usize,
}

impl Shape {
    /// A small application.
    pub const SMALL: Shape = Shape {
        connections: 4,
        topics: 4,
        groups: 4,
        batch: 16,
    };
}

/// Ring records, one after another.
#[derive(Default)]
pub struct Traffic {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    offsets: Vec<[u64; 2]>,
    now: u64,
}

impl Traffic {
    /// Sends, each with its answer.
    pub fn sends(shape: Shape, messages: usize) -> Traffic {
        let mut traffic = Traffic::default();
        traffic.add_sends(shape, messages);
        traffic
    }

    /// Pulls, each with its answer; a pull commits what the one before brought.
    pub fn deliveries(shape: Shape, messages: usize) -> Traffic {
        let mut traffic = Traffic::default();
        traffic.add_deliveries(shape, messages);
        traffic
    }

    /// Sends, and then the deliveries of as many messages.
    pub fn both(shape: Shape, messages: usize) -> Traffic {
        let mut traffic = Traffic::sends(shape, messages);
        traffic.add_deliveries(shape, messages);
        traffic
    }

    fn add_sends(&mut self, shape: Shape, messages: usize) {
        let connections: Vec<u64> = (0..shape.connections).map(|_| self.connect()).collect();
        for n in 0..messages {
            let connection = connections[n % connections.len()];
            let topic = format!("orders-{}", n / connections.len() % shape.topics);
            self.send(connection, &topic, n as i64);
        }
    }

    fn add_deliveries(&mut self, shape: Shape, messages: usize) {
        let connections: Vec<u64> = (0..shape.connections).map(|_| self.connect()).collect();
        let mut next = vec![0; shape.connections * shape.topics * shape.groups];
        for pull in 0..messages.div_ceil(shape.batch) {
            let which = pull % connections.len();
            let round = pull / connections.len();
            let (topic, group) = (round % shape.topics, round / shape.topics % shape.groups);
            let first = &mut next[(which * shape.topics + topic) * shape.groups + group];
            let from = *first;
            *first += shape.batch as i64;
            self.pull(connections[which], pull as i32, (topic, group), from, shape.batch);
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| &self.bytes[from..*to])
    }

    fn connect(&mut self) -> u64 {
        let cookie = self.offsets.len() as u64 + 1;
        self.offsets.push([0; 2]);
        let mut address = [[0; 16]; 2];
        address[0][..4].copy_from_slice(&[10, 1, 2, 3]);
        address[1][..4].copy_from_slice(&[192, 168, 0, 10]);
        let open = abi::Open {
            header: self.header(Kind::OPEN, cookie),
            local_addr: address[0],
            remote_addr: address[1],
            netns: 0,
            family: 2,
            local_port: 40000,
            remote_port: 10911,
            role: Role::CLIENT,
            from_start: 1,
            reserved: 0,
        };
        self.push(open.as_bytes());
        cookie
    }

    fn send(&mut self, connection: u64, topic: &str, n: i64) {
        let opaque = n as i32;
        let fields = [
            ("a", "orders-producer"),
            ("b", topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "2"),
            ("f", "0"),
            ("g", "1758272400123"),
            ("h", "0"),
            ("i", &properties(n)),
            ("j", "0"),
            ("k", "false"),
            ("m", "false"),
            ("n", "broker-a"),
        ];
        let mut frame = json(310, 0, opaque, &fields, &[b'x'; 1024]);
        frame.truncate(frame.len() - 1024);
        self.data(connection, Direction::SEND, &frame, 1024);
        let offset = n.to_string();
        let fields = [
            ("queueId", "2"),
            ("TRACE_ON", "true"),
            ("MSG_REGION", "DefaultRegion"),
            ("msgId", "C0A8000A00002A9F0000000000001F4A"),
            ("queueOffset", &offset),
        ];
        self.data(connection, Direction::RECV, &json(0, 1, opaque, &fields, &[]), 0);
    }

    fn pull(
        &mut self,
        connection: u64,
        opaque: i32,
        (topic, group): (usize, usize),
        from: i64,
        batch: usize,
    ) {
        let (topic, group) = (format!("orders-{topic}"), format!("billing-{group}"));
        let (offset, next) = (from.to_string(), (from + batch as i64).to_string());
        let fields = [
            ("queueId", "2"),
            ("maxMsgNums", "32"),
            ("sysFlag", "3"),
            ("suspendTimeoutMillis", "15000"),
            ("commitOffset", &offset),
            ("topic", &topic),
            ("queueOffset", &offset),
            ("expressionType", "TAG"),
            ("subVersion", "1758272390000"),
            ("consumerGroup", &group),
            ("bname", "broker-a"),
        ];
        self.data(connection, Direction::SEND, &json(11, 0, opaque, &fields, &[]), 0);
        let messages: Vec<Stored<'_>> = (from..from + batch as i64)
            .map(|n| Stored::new(&topic, n))
            .collect();
        let body: usize = messages.iter().map(|message| message.bytes().len()).sum();
        let fields = [
            ("nextBeginOffset", next.as_str()),
            ("maxOffset", "99999"),
            ("minOffset", "0"),
            ("suggestWhichBrokerId", "0"),
        ];
        let mut kept = json(0, 1, opaque, &fields, &vec![0; body]);
        kept.truncate(kept.len() - body);
        // as the kernel side copies: up to a body, its length, and on behind it
        for message in &messages {
            kept.extend(message.head());
            self.data(connection, Direction::RECV, &kept, message.body());
            kept = message.tail();
        }
        self.data(connection, Direction::RECV, &kept, 0);
    }

    /// A record of `bytes` and `elided` more that were not copied.
    fn data(&mut self, connection: u64, direction: Direction, bytes: &[u8], elided: usize) {
        self.now += 50_000;
        let original = bytes.len() + elided;
        let offset = &mut self.offsets[connection as usize - 1][usize::from(direction.0)];
        let header = abi::Header {
            direction,
            captured: bytes.len() as u32,
            offset: *offset,
            original: original as u32,
            elapsed_ns: 2_000,
            ..header(Kind::DATA, connection, self.now)
        };
        *offset += original as u64;
        self.push(&[header.as_bytes(), bytes].concat());
    }

    fn header(&self, kind: Kind, connection: u64) -> abi::Header {
        header(kind, connection, self.now)
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend(record);
        self.ends.push(self.bytes.len());
    }
}

fn header(kind: Kind, connection: u64, now: u64) -> abi::Header {
    abi::Header {
        kind,
        direction: Direction::SEND,
        flags: 0,
        captured: 0,
        cookie: connection,
        time_ns: 1_000_000_000 + now,
        offset: 0,
        original: 0,
        elapsed_ns: 0,
        tgid: 1000 + connection as u32,
        tid: 1000 + connection as u32,
    }
}

/// An engine with the settings of the daemon.
pub fn engine() -> Engine {
    let mut engine = Engine::new(Config::default());
    engine.set_wall_offset(1_758_272_400_000_000_000);
    engine
}

/// Hands in records and takes out what comes of them. Returns the number of spans.
///
/// # Panics
/// Where a record cannot be read.
pub fn run<'a>(engine: &mut Engine, records: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut spans = 0;
    for bytes in records {
        match Record::parse(bytes) {
            Ok(record) => engine.handle_record(record),
            Err(error) => panic!("{error}"),
        }
        spans += drain(engine);
    }
    spans
}

/// Ends what is open. Returns the number of spans.
pub fn finish(engine: &mut Engine) -> usize {
    engine.finish(Timestamp(u64::MAX));
    drain(engine)
}

fn drain(engine: &mut Engine) -> usize {
    let outputs = std::iter::from_fn(|| engine.poll_output());
    outputs.filter(|output| matches!(output, Output::Span(_))).count()
}
