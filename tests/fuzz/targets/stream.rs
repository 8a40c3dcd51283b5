//! One direction of a connection, in ranges: cut, out of order, repeated, elided, lost.
//!
//! The first byte says how the rest is cut. Whatever the cuts, the same frames come out of the same bytes, unless a
//! boundary had to be searched for: what a wrong candidate covered has gone by when it is found out, and may have held
//! a frame. Whatever is missing, frames do not overlap, and the bytes are accounted for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{
    model::Timestamp,
    stream::{Counters, Event, Stream},
    wire::Frame,
};

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Seen,
    Repeated,
    Late,
    Elided,
    Lost,
}

fn frames(stream: &mut Stream, out: &mut Vec<Frame>) {
    while let Some(event) = stream.poll() {
        if let Event::Frame(frame) = event {
            out.push(frame);
        }
    }
}

fn run(bytes: &[u8], cuts: &[u8], harm: bool) -> (Vec<Frame>, Counters) {
    let (mut stream, mut out) = (Stream::starting_at(0), Vec::new());
    let time = Timestamp(1);
    let (mut at, mut late, mut lost) = (0, None, 0);
    let mut choices = cuts.iter().cycle();
    while at < bytes.len() {
        let choice = choices.next().copied().unwrap_or(255);
        let length = (1 + usize::from(choice >> 3) * 7).min(bytes.len() - at);
        let fate = match choice & 7 {
            0 => Fate::Repeated,
            1 => Fate::Late,
            2 if harm => Fate::Elided,
            3 if harm => Fate::Lost,
            _ => Fate::Seen,
        };
        let piece = (at, length);
        at += length;
        let mut push = |(at, length): (usize, usize), seen: bool| {
            let bytes = if seen { &bytes[at..at + length] } else { &[] };
            stream.push(at as u64, length as u32, bytes, time, time);
        };
        match fate {
            Fate::Late if late.is_none() && at < bytes.len() => {
                late = Some(piece);
                continue;
            }
            Fate::Lost => lost += length as u64,
            Fate::Elided => push(piece, false),
            Fate::Repeated => {
                push(piece, true);
                push(piece, true);
            }
            Fate::Seen | Fate::Late => push(piece, true),
        }
        if let Some(piece) = late.take() {
            push(piece, true);
        }
        frames(&mut stream, &mut out);
    }
    stream.flush();
    frames(&mut stream, &mut out);
    let counters = stream.counters();
    assert!(counters.lost <= lost, "{} of {lost} bytes lost", counters.lost);
    assert!(counters.bytes + lost >= bytes.len() as u64);
    assert!(counters.bytes + counters.lost <= bytes.len() as u64);
    (out, counters)
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else {
        return;
    };
    let (cuts, bytes) = rest.split_at(rest.len().min(usize::from(count % 16)));
    let (once, searched) = run(bytes, &[255], false);
    let (cut, _) = run(bytes, cuts, false);
    if searched.resyncs == 0 {
        assert_eq!(once, cut, "cuts matter");
    }
    let (harmed, _) = run(bytes, cuts, true);
    for frames in [&once, &cut, &harmed] {
        let mut end = 0;
        for frame in frames {
            assert!(frame.offset >= end, "frames overlap");
            end = frame.offset + u64::from(frame.length);
            assert!(end <= bytes.len() as u64, "a frame beyond what was seen");
        }
    }
});
