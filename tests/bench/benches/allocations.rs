//! Allocations of one call of each decoder, and the most bytes that it holds at a time: `name calls bytes`, one a line.

mod theirs;

use allocation_counter::measure;
use bench::{decode, frames};
use bytes::BytesMut;
use std::{hint::black_box, sync::Arc};
use tracer_core::wire::header::Codec;

fn main() {
    let sends = [
        ("decode-send-json", Codec::Json, frames::json_send()),
        ("decode-send-binary", Codec::Binary, frames::binary_send()),
    ];
    for (name, codec, frame) in sends {
        let mut own = Some(Arc::from(frames::header(&frame)));
        say(name, "rmqtrace", || {
            decode::send(codec, own.take().unwrap_or_default())
        });
        let mut buffer = Some(BytesMut::from(&frame[..]));
        say(name, "rocketmq-protocol", || {
            theirs::send(buffer.take().unwrap_or_default())
        });
    }
    let frame = frames::pull_answer(32);
    say("decode-pull-32", "rmqtrace", || decode::pull(&frame));
    let mut buffer = Some(BytesMut::from(&frame[..]));
    say("decode-pull-32", "rocketmq-protocol", || {
        theirs::pull(buffer.take().unwrap_or_default())
    });
}

fn say(name: &str, decoder: &str, mut work: impl FnMut() -> usize) {
    let info = measure(|| {
        black_box(work());
    });
    println!("{name}/{decoder} {} {}", info.count_total, info.bytes_max);
}
