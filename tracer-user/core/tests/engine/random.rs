//! Random traffic of a simulated client, cut up, lost and reordered at random.

use proptest::{collection::vec, prelude::*};
use tracer_abi::Role;
use tracer_core::{
    Config,
    model::{Operation, Timestamp},
};

use super::simulation::check;
use super::{simulation::*, support::*};

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
                    missed: sent,
                }),
            });
        }
        engine.finish(Timestamp(u64::MAX));
        prop_assert_eq!(spans_of(&mut engine), vec![]);
    }
}
