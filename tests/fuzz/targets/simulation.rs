//! A simulated client whose traffic is cut up, lost and reordered as the fuzzer likes. The simulation knows what
//! really happened: every span must be true, whatever is missing.
#![no_main]

#[allow(dead_code, reason = "shared with the engine's tests, which use all of it")]
#[path = "../../../tracer-user/core/tests/engine/simulation.rs"]
mod simulation;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the engine's tests, which use all of it"
)]
#[path = "../../../tracer-user/core/tests/engine/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use simulation::{Simulation, Step, check, cut, end};
use support::{Event, run};
use tracer_core::Config;

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else {
        return;
    };
    let (harm, rest) = rest.split_at(rest.len().min(usize::from(count % 64)));
    let steps: Vec<Step> = rest
        .chunks_exact(3)
        .map(|step| (step[0], step[1], step[2]))
        .collect();
    let places: Vec<u16> = harm
        .iter()
        .map(|byte| u16::from(*byte) + 1)
        .chain([300])
        .collect();
    let config = Config::default();

    let simulation = Simulation::run(&steps, true);
    let whole = run(&config, &simulation.script.events, end(&simulation));
    let pieces = run(
        &config,
        &cut(&simulation.script.events, &places),
        end(&simulation),
    );
    assert_eq!(whole, pieces, "cuts matter");
    check(&simulation, &whole.0);

    // a reset that is not seen as one cannot be told from progress
    let simulation = Simulation::run(&steps, false);
    let mut events = cut(&simulation.script.events, &places);
    for (at, byte) in harm.iter().enumerate() {
        if byte & 3 == 1 && at + 1 < events.len() {
            events.swap(at, at + 1);
        }
    }
    let mut fate = harm.iter().cycle();
    events.retain(|event| {
        let gone = fate.next().is_some_and(|byte| byte & 3 == 2);
        !(gone && matches!(event, Event::Data { .. }))
    });
    let (spans, _) = run(&config, &events, end(&simulation));
    check(&simulation, &spans);
});
