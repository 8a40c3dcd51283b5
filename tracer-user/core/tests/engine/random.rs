//! Random traffic of a simulated client, cut up, lost and reordered at random. The simulation knows what really
//! happened, so that every claim of a span can be checked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use tracer_abi::Role;
use tracer_core::{
    Config, ids,
    model::{Operation, Span, Timestamp, Value, attribute::*},
};

use super::support::*;

/// A step of the simulation: what, with which argument, after how many milliseconds.
type Step = (u8, u8, u8);

/// One queue, as a concurrent consumer works on it.
#[derive(Default)]
struct Consumer {
    /// Offsets in work, with the time of their delivery.
    work: BTreeMap<i64, u64>,
    /// Where the next pull starts.
    next: i64,
    /// What an empty buffer commits.
    done: i64,
    /// The pull that waits for its answer.
    parked: Option<i32>,
}

impl Consumer {
    /// The lowest unfinished offset, as a client commits it.
    fn commit(&self) -> i64 {
        self.work.keys().next().copied().unwrap_or(self.done)
    }
}

/// A client with two connections, each of which sends and consumes one queue.
#[derive(Default)]
struct Simulation {
    script: Script,
    now: u64,
    opaque: i32,
    resets: bool,
    conns: Vec<Conn>,
    consumers: [Consumer; 2],
    /// When each delivery really ended, by queue, offset and time of delivery; `None`: never, as far as the
    /// client is concerned.
    ends: BTreeMap<(usize, i64, u64), Option<u64>>,
    /// Sends: the codes with which each message was answered.
    sends: BTreeMap<String, Vec<i32>>,
    outstanding: Vec<(usize, i32, String)>,
}

impl Simulation {
    fn run(steps: &[Step], resets: bool) -> Simulation {
        let mut simulation = Simulation {
            resets,
            ..Simulation::default()
        };
        for _ in 0..2 {
            let conn = simulation.script.connect_as(100, Role::UNKNOWN, true);
            simulation.conns.push(conn);
        }
        for &step in steps {
            simulation.step(step);
        }
        simulation
    }

    fn step(&mut self, (what, arg, pause): Step) {
        self.tick(u64::from(pause % 50));
        let queue = usize::from(arg % 2);
        match what % 12 {
            0 => self.send(queue, arg),
            1 => self.answer_send(arg),
            2..=4 => self.pull(queue, arg),
            5 | 6 => self.answer_pull(queue, arg),
            7 | 8 => self.finish(queue, arg),
            9 => self.fail(queue, arg),
            10 => self.timer(queue, arg),
            _ if self.resets && arg >= 192 => self.reset(queue, arg),
            _ => {}
        }
    }

    fn tick(&mut self, ms: u64) -> u64 {
        self.now += ms + 1;
        self.script.at(self.now);
        self.now
    }

    fn opaque(&mut self) -> i32 {
        self.opaque += 1;
        self.opaque
    }

    fn send(&mut self, conn: usize, arg: u8) {
        let (opaque, key) = (self.opaque(), format!("sent-{}", arg % 16));
        self.script.write(
            self.conns[conn],
            send(opaque, "orders", &format!("UNIQ_KEY={key}")),
        );
        self.sends.entry(key.clone()).or_default();
        self.outstanding.push((conn, opaque, key));
    }

    fn answer_send(&mut self, arg: u8) {
        if self.outstanding.is_empty() {
            return;
        }
        let (conn, opaque, key) = self.outstanding.remove(usize::from(arg) % self.outstanding.len());
        let code = i32::from(arg % 3);
        self.script.read(self.conns[conn], sent(opaque, code));
        self.sends.entry(key).or_default().push(code);
    }

    fn pull(&mut self, queue: usize, arg: u8) {
        if self.consumers[queue].parked.is_some() {
            return;
        }
        let opaque = self.opaque();
        let (commit, next) = (self.consumers[queue].commit(), self.consumers[queue].next);
        // work goes on between the reading of the offset and the writing of the frame
        self.finish(queue, arg);
        self.tick(0);
        let commit = Some(commit).filter(|commit| *commit > 0 && !arg.is_multiple_of(4));
        self.script.write(
            self.conns[queue],
            pull(opaque, "cg", "orders", queue as i32, next, commit),
        );
        self.consumers[queue].parked = Some(opaque);
    }

    fn answer_pull(&mut self, queue: usize, arg: u8) {
        let Some(opaque) = self.consumers[queue].parked.take() else {
            return;
        };
        let first = self.consumers[queue].next;
        if arg.is_multiple_of(5) {
            self.script.read(self.conns[queue], empty(opaque, 19, first));
            return;
        }
        let next = first + i64::from(arg % 4) + 1;
        let messages: Vec<_> = (first..next).map(|offset| stored(queue, offset)).collect();
        self.script
            .read(self.conns[queue], found(opaque, next, &messages));
        let delivered = self.now + 1;
        self.tick(0);
        for offset in first..next {
            self.consumers[queue].work.insert(offset, delivered);
            self.ends.insert((queue, offset, delivered), None);
        }
        (self.consumers[queue].next, self.consumers[queue].done) = (next, next);
    }

    /// Something in work ends now.
    fn end_one(&mut self, queue: usize, arg: u8) -> Option<i64> {
        let work = &mut self.consumers[queue].work;
        let (&offset, &delivered) = work.iter().nth(usize::from(arg) % work.len().max(1))?;
        work.remove(&offset);
        self.ends.insert((queue, offset, delivered), Some(self.now));
        Some(offset)
    }

    fn finish(&mut self, queue: usize, arg: u8) {
        self.tick(0);
        self.end_one(queue, arg);
    }

    fn fail(&mut self, queue: usize, arg: u8) {
        if let Some(offset) = self.end_one(queue, arg) {
            let opaque = self.opaque();
            self.script
                .write(self.conns[queue], send_back(opaque, "cg", &stored(queue, offset)));
            self.tick(0);
            self.script.read(self.conns[queue], response(0, opaque));
        }
    }

    fn timer(&mut self, queue: usize, arg: u8) {
        let commit = self.consumers[queue].commit();
        self.finish(queue, arg);
        self.tick(0);
        let opaque = self.opaque();
        self.script.write(
            self.conns[queue],
            update_offset(opaque, "cg", "orders", queue as i32, commit),
        );
    }

    /// The client starts with the queue anew at another place, and drops what it has: it is told to, or was
    /// given the queue again.
    fn reset(&mut self, queue: usize, arg: u8) {
        let (conn, to) = (self.conns[queue], i64::from(arg % 7) * 5);
        if arg.is_multiple_of(2) {
            self.script.read(
                conn,
                request(220, 0)
                    .field("group", "cg")
                    .field("topic", "orders")
                    .one_way(),
            );
        } else {
            let opaque = self.opaque();
            let query = request(14, opaque)
                .field("consumerGroup", "cg")
                .field("topic", "orders");
            self.script
                .write(conn, query.field("queueId", queue).field("bname", "broker-a"));
            self.tick(0);
            self.script.read(conn, response(0, opaque).field("offset", to));
        }
        self.tick(0);
        let consumer = &mut self.consumers[queue];
        consumer.work.clear();
        (consumer.next, consumer.done, consumer.parked) = (to, to, None);
        if !arg.is_multiple_of(2) {
            // what it was given is committed when it has been pulled
            self.pull(queue, arg);
        }
    }
}

fn stored(queue: usize, offset: i64) -> Message {
    message("orders", offset, &format!("stored-{queue}-{offset}")).queue(queue as i32)
}

/// Cuts records into pieces, at a place for each.
pub(crate) fn cut(events: &[Event], places: &[u16]) -> Vec<Event> {
    let mut places = places.iter().cycle();
    let mut out = Vec::new();
    for event in events {
        let Event::Data {
            connection,
            process,
            direction,
            time,
            offset,
            bytes,
        } = event
        else {
            out.push(event.clone());
            continue;
        };
        let mut rest = (*offset, bytes.as_slice());
        while !rest.1.is_empty() {
            let at = (usize::from(*places.next().expect("some place")) % 300 + 1).min(rest.1.len());
            let (piece, more) = rest.1.split_at(at);
            out.push(Event::Data {
                connection: *connection,
                process: *process,
                direction: *direction,
                time: time.clone(),
                offset: rest.0,
                bytes: piece.to_vec(),
            });
            rest = (rest.0 + at as u64, more);
        }
    }
    out
}

fn text(span: &Span, key: Key) -> &str {
    span.attribute(key).and_then(Value::as_str).unwrap_or_default()
}

fn one(span: &Span) -> String {
    brief(std::slice::from_ref(span))
}

fn int(span: &Span, key: Key) -> i64 {
    let Some(Value::Int(value)) = span.attribute(key) else {
        panic!("{key}: {}", one(span))
    };
    *value
}

/// Checks every claim of the spans against what really happened.
fn check(simulation: &Simulation, spans: &[Span]) {
    let mut derived = BTreeSet::new();
    let mut deliveries = BTreeSet::new();
    for span in spans {
        let id = text(span, MESSAGING_MESSAGE_ID);
        assert_eq!(
            span.context.trace_id,
            ids::trace_id(id.as_bytes()),
            "{}",
            one(span)
        );
        assert!(span.start <= span.end, "{}", one(span));
        match span.operation {
            Operation::Send => {
                let codes = simulation
                    .sends
                    .get(id)
                    .unwrap_or_else(|| panic!("never sent: {}", one(span)));
                if span.context.span_id == ids::send_span_id(id.as_bytes()) {
                    assert!(derived.insert(id), "two roots: {}", one(span));
                    assert!(codes.contains(&0), "{}", one(span));
                }
                let failed = codes.iter().any(|code| *code != 0);
                assert!(span.attribute(ERROR_TYPE).is_none() || failed, "{}", one(span));
            }
            Operation::Process => {
                let queue: usize = text(span, MESSAGING_DESTINATION_PARTITION_ID)
                    .parse()
                    .expect("a queue");
                let offset = int(span, MESSAGING_ROCKETMQ_QUEUE_OFFSET);
                assert_eq!(id, format!("stored-{queue}-{offset}"), "{}", one(span));
                let group = span.group.as_deref();
                assert!(group == Some("cg") || group.is_none(), "{}", one(span));
                let start = span.start.0 / 1_000_000;
                let possible = (queue, offset, 0)..=(queue, offset, start);
                let really = simulation.ends.range(possible).next_back();
                let (delivery, really) = really.unwrap_or_else(|| panic!("never delivered: {}", one(span)));
                // the end of an answer whose last bytes were lost is not known
                let incomplete = span.attribute(RMQTRACE_INCOMPLETE).is_some();
                assert!(
                    incomplete || delivery.2 == start,
                    "at {}: {}",
                    delivery.2,
                    one(span)
                );
                assert!(deliveries.insert(delivery), "twice: {}", one(span));
                check_end(span, really.map(|ms| ms * 1_000_000));
            }
            _ => panic!("{}", one(span)),
        }
    }
}

/// Whether the stated end is true: the real one lies within it.
fn check_end(span: &Span, really: Option<u64>) {
    match text(span, RMQTRACE_PROCESS_EVIDENCE) {
        "offset_commit" => {
            let Some(Value::Float(uncertainty)) = span.attribute(RMQTRACE_PROCESS_END_UNCERTAINTY_MS) else {
                panic!("{}", one(span))
            };
            let earliest = span.end.0 - (uncertainty * 1e6) as u64;
            let really = really.unwrap_or_else(|| panic!("never ended: {}", one(span)));
            assert!(
                (earliest..=span.end.0).contains(&really),
                "ended at {really}: {}",
                one(span)
            );
        }
        "send_back" => {
            let really = really.unwrap_or_else(|| panic!("never ended: {}", one(span)));
            assert!(
                span.end.0 - really <= 1_000_000,
                "ended at {really}: {}",
                one(span)
            );
        }
        "none" => assert_eq!(span.start, span.end),
        other => panic!("{other}"),
    }
}

fn end(simulation: &Simulation) -> Timestamp {
    Timestamp((simulation.now + 10) * 1_000_000)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(any::<Step>(), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Wherever the records are cut, the same spans come out, and all that they claim is true.
    #[test]
    fn cuts_do_not_matter(steps in steps(), places in vec(any::<u16>(), 1..50)) {
        let simulation = Simulation::run(&steps, true);
        let whole = run(&Config::default(), &simulation.script.events, end(&simulation));
        let pieces = run(&Config::default(), &cut(&simulation.script.events, &places), end(&simulation));
        prop_assert_eq!(&pieces.0, &whole.0);
        prop_assert_eq!(pieces.1, whole.1);
        check(&simulation, &whole.0);
        let process = whole.0.iter().filter(|span| span.operation == Operation::Process).count();
        prop_assert_eq!(process, simulation.ends.len(), "each delivery has its span");
    }

    /// Whatever is lost or out of order, what still comes out is true.
    #[test]
    fn losses_invent_nothing(
        steps in steps(),
        places in vec(any::<u16>(), 1..50),
        lost in vec(any::<bool>(), 1..40),
        swapped in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        // a reset that is not seen as one cannot be told from progress
        let simulation = Simulation::run(&steps, false);
        let mut events = cut(&simulation.script.events, &places);
        for index in swapped {
            let at = index.index(events.len());
            if at + 1 < events.len() {
                events.swap(at, at + 1);
            }
        }
        // one in four of those that may be lost
        let mut fate = lost.iter().cycle().zip(lost.iter().skip(1).chain(&[true]).cycle());
        events.retain(|event| {
            let gone = fate.next().is_some_and(|(a, b)| *a && *b);
            !(gone && matches!(event, Event::Data { .. }))
        });
        let (spans, _) = run(&Config::default(), &events, end(&simulation));
        check(&simulation, &spans);
    }

    /// Bytes that are no frames, and records in any order, do no harm.
    #[test]
    fn noise_does_no_harm(
        records in vec((0u8..6, 0u64..3, any::<bool>(), 0u64..5_000, vec(any::<u8>(), 0..200), any::<u32>()), 0..60),
    ) {
        use tracer_core::{Engine, model::ProcessId, record::*};
        let mut engine = Engine::new(Config::default());
        for (kind, id, sent, offset, bytes, time) in records {
            let (connection, process) = (ConnectionId(id), ProcessId(id as u32));
            let time = Timestamp(u64::from(time) * 1_000);
            let direction = if sent { tracer_abi::Direction::SEND } else { tracer_abi::Direction::RECV };
            let address = "[::1]:10911".parse().expect("a queue");
            engine.handle_record(match kind {
                0 => Record::Open(Open {
                    connection,
                    process,
                    time,
                    local: address,
                    remote: address,
                    netns: 0,
                    role: Role(offset as u8 % 4),
                    from_start: sent,
                }),
                1 => Record::Close(Close { connection, time, sent_end: offset, received_end: offset }),
                2 => Record::Process(Process { process, time, ended: sent }),
                _ => Record::Data(Data {
                    connection,
                    process,
                    direction,
                    start: time,
                    end: time,
                    offset,
                    length: bytes.len() as u32 + u32::from(kind == 3),
                    bytes: &bytes,
                }),
            });
        }
        engine.finish(Timestamp(u64::MAX));
        prop_assert_eq!(spans_of(&mut engine), vec![]);
    }
}
