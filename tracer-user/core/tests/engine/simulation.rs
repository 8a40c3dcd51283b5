//! A simulated client that knows what really happened, so that every claim of a span can be checked. The property tests and
//! a fuzz target drive it.

use std::collections::{BTreeMap, BTreeSet};

use tracer_abi::Role;
use tracer_core::{
    ids,
    model::{Operation, Span, Timestamp, Value, attribute::*},
};

use super::support::*;

/// A step of the simulation: what, with which argument, after how many milliseconds.
pub(crate) type Step = (u8, u8, u8);

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
pub(crate) struct Simulation {
    pub(crate) script: Script,
    now: u64,
    opaque: i32,
    resets: bool,
    conns: Vec<Conn>,
    consumers: [Consumer; 2],
    /// When each delivery really ended, by queue, offset and time of delivery; `None`: never, as far as the
    /// client is concerned.
    pub(crate) ends: BTreeMap<(usize, i64, u64), Option<u64>>,
    /// Sends: the codes with which each message was answered.
    sends: BTreeMap<String, Vec<i32>>,
    outstanding: Vec<(usize, i32, String)>,
}

impl Simulation {
    /// Takes the steps; `resets`: offsets may be reset on the way.
    pub(crate) fn run(steps: &[Step], resets: bool) -> Simulation {
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
pub(crate) fn check(simulation: &Simulation, spans: &[Span]) {
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

/// When the tracer ends.
pub(crate) fn end(simulation: &Simulation) -> Timestamp {
    Timestamp((simulation.now + 10) * 1_000_000)
}
