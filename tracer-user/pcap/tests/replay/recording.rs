//! Records through a recording and back: the engine must not notice.

use proptest::{collection::vec, prelude::*};
use tracer_abi::Direction;
use tracer_core::{
    Config, Engine, Output,
    engine::Totals,
    model::{ProcessId, Span, Timestamp},
    record::{Close, ConnectionId, Data, Open, Process, Record},
};
use tracer_pcap::{Host, Recorder};

use crate::{
    capture::{Result, input, replay},
    simulation::{Simulation, Step, cut, end},
    support::Event,
};

/// How far the wall's clock is from that of records.
const TO_WALL: i64 = 1_700_000_000_000_000_000;

/// A recording of a script. The second of two equal runs tells the recorder what the first tells the engine.
fn record(events: &[Event], end: Timestamp) -> Vec<u8> {
    let mut file = Vec::new();
    let mut recorder = Recorder::new(&mut file, Host("boot"), "test", TO_WALL).unwrap();
    recorder
        .process(ProcessId(100), r#"{"service.name":"shop"}"#)
        .unwrap();
    for event in events {
        with(
            event,
            |record| recorder.record(&record).unwrap(),
            Some(&mut |_| {}),
        );
        if let Event::Wait(now) = event {
            recorder.time(*now).unwrap();
        }
    }
    recorder.end(end).unwrap();
    drop(recorder);
    file
}

/// The record of an event.
fn with(event: &Event, mut each: impl FnMut(Record<'_>), wait: Option<&mut dyn FnMut(Timestamp)>) {
    match event {
        Event::Open(open) => each(Record::Open(*open)),
        Event::Close(close) => each(Record::Close(*close)),
        Event::Process(process) => each(Record::Process(*process)),
        Event::Missed(data) => each(Record::Data(*data)),
        Event::Wait(now) => {
            if let Some(wait) = wait {
                wait(*now);
            }
        }
        Event::Data {
            connection,
            process,
            direction,
            time,
            offset,
            bytes,
        } => each(Record::Data(Data {
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
}

/// What the engine makes of the script by itself, on the wall's clock.
fn live(events: &[Event], end: Timestamp) -> (Vec<Span>, Totals) {
    let mut engine = Engine::new(Config::default());
    let mut spans = Vec::new();
    for event in events {
        let moved = moved(event);
        let mut times = Vec::new();
        with(
            &moved,
            |record| engine.handle_record(record),
            Some(&mut |now| times.push(now)),
        );
        times.into_iter().for_each(|now| engine.handle_timeout(now));
        drain(&mut engine, &mut spans);
    }
    engine.finish(wall(end));
    drain(&mut engine, &mut spans);
    (spans, engine.totals())
}

fn drain(engine: &mut Engine, spans: &mut Vec<Span>) {
    while let Some(output) = engine.poll_output() {
        if let Output::Span(span) = output {
            spans.push(span);
        }
    }
}

fn wall(time: Timestamp) -> Timestamp {
    Timestamp(time.0 + TO_WALL.cast_unsigned())
}

fn moved(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::Open(Open { time, .. })
        | Event::Close(Close { time, .. })
        | Event::Process(Process { time, .. })
        | Event::Wait(time) => *time = wall(*time),
        Event::Missed(data) => (data.start, data.end) = (wall(data.start), wall(data.end)),
        Event::Data { time, .. } => {
            *time = wall(Timestamp(time.start)).0..wall(Timestamp(time.end)).0;
        }
    }
    event
}

fn same(events: &[Event], end: Timestamp) -> std::result::Result<Result, TestCaseError> {
    let replayed = replay(vec![input(record(events, end))], &Config::default());
    let (spans, totals) = live(events, end);
    prop_assert_eq!(&replayed.spans, &spans);
    prop_assert_eq!(replayed.engine, totals);
    prop_assert_eq!(&replayed.errors, &Vec::<String>::new());
    Ok(replayed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened, wherever records were cut, whatever was lost or out of order.
    #[test]
    fn a_replay_is_the_run(
        steps in vec(any::<Step>(), 0..100),
        places in vec(any::<u16>(), 1..50),
        lost in vec(any::<bool>(), 1..40),
        swapped in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let simulation = Simulation::run(&steps, true);
        same(&simulation.script.events, end(&simulation))?;
        let mut events = cut(&simulation.script.events, &places);
        for index in swapped {
            let at = index.index(events.len());
            if at + 1 < events.len() {
                events.swap(at, at + 1);
            }
        }
        let mut fate = lost.iter().cycle();
        events.retain(|event| !(*fate.next().unwrap_or(&false) && matches!(event, Event::Data { .. })));
        same(&events, end(&simulation))?;
    }

    /// Records of any kind, with numbers of any size.
    #[test]
    fn records_come_back_as_they_were(
        connection in 0_u64..1 << 40,
        process in 0_u32..1 << 22,
        sent in any::<bool>(),
        times in any::<(u32, u32)>(),
        offset in any::<u64>(),
        bytes in vec(any::<u8>(), 0..200),
        more in prop_oneof![0_u32..10, 0_u32..200_000],
        missed in any::<bool>(),
    ) {
        let (connection, process) = (ConnectionId(connection), ProcessId(process));
        let data = Data {
            connection,
            process,
            direction: if sent { Direction::SEND } else { Direction::RECV },
            start: Timestamp(times.0.into()),
            end: Timestamp(times.1.into()),
            offset,
            length: bytes.len() as u32 + more,
            bytes: &bytes,
            missed,
        };
        let mut file = Vec::new();
        Recorder::new(&mut file, Host("boot"), "test", 0).unwrap().record(&Record::Data(data)).unwrap();
        let mut seen = 0;
        let mut replay = tracer_pcap::Replay::new(vec![input(file)]).unwrap();
        while replay
            .step(|event| {
                assert_eq!(event, tracer_pcap::Event::Record(Record::Data(data)));
                seen += 1;
            })
            .unwrap()
        {}
        prop_assert_eq!(seen, 1);
    }
}

/// Two hosts have the same numbers; one host goes on with its own.
#[test]
fn hosts_are_told_apart() {
    let file = |host| {
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&mut file, Host(host), "test", 0).unwrap();
        recorder.process(ProcessId(1), host).unwrap();
        drop(recorder);
        input(file)
    };
    let result = replay(vec![file("a"), file("b"), file("a")], &Config::default());
    let ids: Vec<_> = result.processes.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids[0], 1);
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
}

/// Any reader of capture files sees the stream: without the notes a recording is a capture like any other.
#[test]
fn a_recording_is_a_capture() {
    let mut script = crate::support::Script::new();
    let conn = script.connect();
    let key = format!("UNIQ_KEY={}", crate::support::K1);
    script
        .at(10)
        .write(conn, crate::support::send(1, "t", &key).body(vec![b'x'; 200_000]));
    script.at(20).read(conn, crate::support::sent(1, 0));
    script.at(30).close(conn);
    let mut file = record(&script.events, Timestamp(31_000_000));
    // the magic of the notes, made another's
    let places: Vec<_> = file
        .windows(5)
        .enumerate()
        .filter(|(_, w)| w == b"rmqt\x01")
        .map(|(at, _)| at)
        .collect();
    places.into_iter().for_each(|at| file[at] = b'?');
    let result = replay(vec![input(file)], &Config::default());
    let (spans, _) = live(&script.events, Timestamp(31_000_000));
    assert_eq!((result.totals.recorded_packets, result.totals.lost_bytes), (0, 0));
    assert_eq!(result.spans.len(), 1, "{:?}", result.totals);
    assert_eq!(result.spans[0].context, spans[0].context);
    assert_eq!(result.spans[0].end, spans[0].end);
}

/// Notes do not need the block that says what was captured on; what they come with counts as packets all the same.
#[test]
fn a_recording_without_its_interface() {
    let mut script = crate::support::Script::new();
    let conn = script.connect();
    let key = format!("UNIQ_KEY={}", crate::support::K1);
    script.at(10).write(conn, crate::support::send(1, "t", &key));
    script.at(20).read(conn, crate::support::sent(1, 0));
    let mut file = record(&script.events, Timestamp(31_000_000));
    let whole = replay(vec![input(file.clone())], &Config::default());
    // the block behind that of the section becomes one of a type that nobody knows
    let section = u32::from_ne_bytes(file[4..8].try_into().unwrap()) as usize;
    file[section..section + 4].copy_from_slice(&0x0bad_u32.to_ne_bytes());
    let result = replay(vec![input(file)], &Config::default());
    assert_eq!((result.spans.len(), whole.spans.len()), (1, 1));
    assert_eq!(result.totals.packets, whole.totals.packets);
    assert_eq!(result.totals.recorded_packets, whole.totals.recorded_packets);
}
