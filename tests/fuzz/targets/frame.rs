//! One direction of a connection, in one range: frames come out, and every byte is accounted for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{
    model::Timestamp,
    stream::{Event, Stream},
};

fuzz_target!(|bytes: &[u8]| {
    let mut stream = Stream::starting_at(0);
    let time = Timestamp(1);
    stream.push(0, bytes.len() as u32, bytes, time, time);
    let (mut at, mut frames) = (0, 0);
    let mut look = |stream: &mut Stream| {
        while let Some(event) = stream.poll() {
            if let Event::Frame(frame) = event {
                assert!(frame.offset >= at, "frames overlap");
                at = frame.offset + u64::from(frame.length);
                frames += 1;
                assert!(at <= bytes.len() as u64, "a frame beyond what was seen");
            }
        }
    };
    look(&mut stream);
    stream.flush();
    look(&mut stream);
    let counters = stream.counters();
    assert_eq!(counters.bytes, bytes.len() as u64);
    assert_eq!(counters.frames, frames);
    assert_eq!((counters.lost, counters.repeated), (0, 0));
});
