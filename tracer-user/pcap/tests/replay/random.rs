//! Random traffic in random packets: order, repetition and size do not matter, and a loss invents nothing.

use proptest::{collection::vec, prelude::*};
use tracer_core::model::Operation;

use crate::{
    capture::*,
    simulation::{Simulation, Step, check},
    support::Event,
};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(any::<Step>(), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every delivery and send is there, and true, however the packets are cut, doubled and shuffled.
    #[test]
    fn packets_do_not_matter(
        steps in steps(),
        most in 1_usize..2_000,
        twice in vec(any::<bool>(), 1..30),
        moves in vec((any::<prop::sample::Index>(), 1_usize..8), 0..20),
    ) {
        let simulation = Simulation::run(&steps, true);
        let events = &simulation.script.events;
        let mut segments = segments(events, most);
        let whole = replay_packets(&ethernet(&segments));
        prop_assert_eq!(anonymous(&whole.spans), anonymous(&direct(events)));
        let mut fate = twice.iter().cycle();
        segments = segments
            .into_iter()
            .flat_map(|s| std::iter::repeat_n(s, 1 + usize::from(*fate.next().unwrap_or(&false))))
            .collect();
        // a few places forwards within what happens at the same time
        for (index, distance) in moves {
            if segments.is_empty() {
                break;
            }
            let from = index.index(segments.len());
            let to = (from + distance).min(segments.len() - 1);
            if segments[from].time == segments[to].time {
                let moved = segments.remove(from);
                segments.insert(to, moved);
            }
        }
        let shuffled = replay_packets(&ethernet(&segments));
        prop_assert_eq!(shuffled.totals.lost_bytes, 0);
        check(&simulation, &shuffled.spans);
        let count = |spans: &[tracer_core::model::Span], operation| {
            spans.iter().filter(|span| span.operation == operation).count()
        };
        for operation in [Operation::Send, Operation::Process] {
            prop_assert_eq!(count(&shuffled.spans, operation), count(&whole.spans, operation));
        }
    }

    /// Whatever is missing, what still comes out is true.
    #[test]
    fn losses_invent_nothing(
        steps in steps(),
        most in 1_usize..2_000,
        lost in vec(0_u8..10, 1..60),
        cuts in vec(prop_oneof![Just(65_535_usize), 54_usize..600], 1..20),
        from in 0_usize..20,
    ) {
        // a reset that is not seen as one cannot be told from progress
        let simulation = Simulation::run(&steps, false);
        let events: &[Event] = &simulation.script.events;
        let mut fate = lost.iter().cycle();
        let mut cuts = cuts.iter().cycle();
        let packets: Vec<_> = ethernet(&segments(events, most))
            .into_iter()
            .skip(from)
            .filter(|_| fate.next() != Some(&0))
            .map(|packet| packet.cut(*cuts.next().unwrap_or(&65_535)))
            .collect();
        check(&simulation, &replay_packets(&packets).spans);
    }

    /// Any bytes behind any head.
    #[test]
    fn noise_does_no_harm(head in 0_usize..4, bytes in vec(any::<u8>(), 0..400), link in prop::sample::select(vec![0_u32, 1, 101, 113, 276])) {
        let head = match head {
            0 => vec![],
            1 => pcap(link, &[]),
            2 => pcap(link, &[Packet::new(1, bytes.clone())]),
            _ => [&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8], &[28, 0, 0, 0]].concat(),
        };
        if let Ok(mut replay) = tracer_pcap::Replay::new(vec![input([head, bytes].concat())]) {
            for _ in 0..100 {
                if let Ok(false) | Err(_) = replay.step(|_| {}) {
                    break;
                }
            }
        }
    }
}
