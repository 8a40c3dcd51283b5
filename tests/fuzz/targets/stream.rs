//! One direction of a connection, in ranges: cut, out of order, repeated, elided, lost.
//!
//! The first byte says how the rest is cut. Whatever the cuts, the same frames come out of the same bytes; and
//! whatever is missing, the bytes are accounted for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{
    model::Timestamp,
    stream::{Event, Stream},
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

fn run(bytes: &[u8], cuts: &[u8], harm: bool) -> (Vec<Frame>, bool) {
    let (mut stream, mut out) = (Stream::starting_at(0), Vec::new());
    let time = Timestamp(1);
    let (mut at, mut late, mut whole, mut lost) = (0, None, true, 0);
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
        whole &= fate != Fate::Elided && fate != Fate::Lost;
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
    (out, whole)
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else {
        return;
    };
    let (cuts, bytes) = rest.split_at(rest.len().min(usize::from(count % 16)));
    let (once, _) = run(bytes, &[255], false);
    let (cut, whole) = run(bytes, cuts, false);
    assert!(whole);
    assert_eq!(once, cut, "cuts matter");
    let (harmed, _) = run(bytes, cuts, true);
    for frame in &harmed {
        assert!(frame.offset + u64::from(frame.length) <= bytes.len() as u64);
    }
});
