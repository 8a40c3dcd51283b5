//! How long parsing takes. Not a pass or fail: `cargo test --release -p tracer-core --test wire_speed -- --ignored
//! --nocapture` prints numbers.

mod wire_support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracer_core::{
    model::Timestamp,
    stream::Stream,
    wire::{Header, header::Codec},
};
use wire_support::{json_frame, stored, vector};

/// The best of several runs: the time of one call.
fn time(mut call: impl FnMut()) -> Duration {
    const CALLS: u32 = 20_000;
    let run = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed() / CALLS
    };
    (0..20).map(|_| run(&mut call)).min().unwrap_or_default()
}

fn header(n: u32) -> Bytes {
    let bytes = vector(n);
    let length = u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize;
    Bytes::from(bytes).slice(8..8 + length)
}

#[test]
#[ignore = "prints numbers"]
fn headers() {
    for (what, codec, n) in [
        ("JSON send header (T1)", Codec::Json, 1),
        ("JSON pull header (T6)", Codec::Json, 6),
        ("JSON send answer (T2)", Codec::Json, 2),
        ("binary send header (T3)", Codec::Binary, 3),
    ] {
        let raw = header(n);
        let parse = time(|| {
            black_box(Header::parse(codec, black_box(raw.clone()))).unwrap();
        });
        println!("{what}, {} bytes: {parse:?}", raw.len());
    }
    let header = Header::parse(Codec::Json, header(1)).unwrap();
    let fields = time(|| {
        black_box((header.field("b"), header.int("e"), header.field("n")));
    });
    println!("three fields of T1: {fields:?}");
}

#[test]
#[ignore = "prints numbers"]
fn streams() {
    let properties =
        "UNIQ_KEY\u{1}7F0000010A1B18B4AAC2012345670000\u{2}CLUSTER\u{1}DefaultCluster\u{2}WAIT\u{1}true\u{2}";
    let pull: Vec<u8> = (0..32)
        .flat_map(|i| stored(i, "OrderTopic", properties, &[b'x'; 1024]))
        .collect();
    let pull = json_frame(0, 1, 1, &[("nextBeginOffset", "1")], &pull);
    for (what, frame, n) in [
        ("send of 11 bytes (T1)", vector(1), 1),
        ("send, binary (T3)", vector(3), 1),
        ("send answer (T2)", vector(2), 1),
        ("message of a pull answer of 32", pull, 32),
    ] {
        let mut stream = Stream::new();
        let mut offset = 0;
        let push = time(|| {
            let at = Timestamp(offset);
            stream.push(offset, frame.len() as u32, &frame, at, at);
            offset += frame.len() as u64;
            black_box(stream.poll()).unwrap();
        });
        println!("{what}, pushed and polled: {:?}", push / n);
    }
}
