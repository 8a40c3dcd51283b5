//! A capture file, replayed: files, packets, TCP streams, notes of a recording, and the engine behind them.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use tracer_core::{Config, Engine, Output};
use tracer_pcap::{Event, Input, Replay};

fuzz_target!(|input: &[u8]| {
    let file = Input::Open("fuzz".to_owned(), Box::new(Cursor::new(input.to_vec())));
    let Ok(mut replay) = Replay::new(vec![file]) else {
        return;
    };
    let mut engine = Engine::new(Config::default());
    let mut spans = 0_u64;
    let mut drain = |engine: &mut Engine| {
        while let Some(output) = engine.poll_output() {
            spans += u64::from(matches!(output, Output::Span(_)));
        }
    };
    let mut errors = 0;
    loop {
        let step = replay.step(|event| {
            match event {
                Event::Record(record) => engine.handle_record(record),
                Event::Time(now) => engine.handle_timeout(now),
                Event::Process(_) => {}
            }
            drain(&mut engine);
        });
        match step {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => errors += 1,
        }
    }
    assert!(errors <= 1, "a file is damaged once");
    engine.finish(replay.end());
    drain(&mut engine);
    let totals = replay.totals();
    assert!(totals.skipped() + totals.recorded_packets <= totals.packets);
    assert!(totals.recognised <= totals.tcp_connections);
    // each span needs a frame, and each frame bytes
    assert!(spans == 0 || totals.packets > 0);
});
