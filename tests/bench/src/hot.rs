//! The hot paths whose instructions are counted.

use std::{hint::black_box, sync::Arc};

use tracer_core::wire::header::Codec;

use crate::{
    decode, frames,
    traffic::{self, Shape, Traffic},
};

/// A path: its name, and what prepares it. What comes of that does the work a number of times.
pub type Path = (&'static str, fn(usize) -> Box<dyn FnOnce(usize)>);

/// All of them.
pub const PATHS: [Path; 5] = [
    ("decode-send-json", |_| send(Codec::Json, &frames::json_send())),
    ("decode-send-binary", |_| {
        send(Codec::Binary, &frames::binary_send())
    }),
    ("decode-pull-32", |_| {
        let frame = frames::pull_answer(32);
        Box::new(move |times| {
            for _ in 0..times {
                black_box(decode::pull(black_box(&frame)));
            }
        })
    }),
    ("engine-send", |most| {
        engine(Traffic::sends(Shape::SMALL, most), 2)
    }),
    ("engine-delivery", |most| {
        let batch = Shape::SMALL.batch;
        engine(Traffic::deliveries(Shape::SMALL, most * batch), batch + 2)
    }),
];

fn send(codec: Codec, frame: &[u8]) -> Box<dyn FnOnce(usize)> {
    let raw = frames::header(frame).to_vec();
    Box::new(move |times| {
        for _ in 0..times {
            // as the stream copies a header out of a record
            black_box(decode::send(codec, Arc::from(black_box(&raw[..]))));
        }
    })
}

/// The first connections' records are handed in before.
fn engine(traffic: Traffic, records_a_time: usize) -> Box<dyn FnOnce(usize)> {
    let mut engine = traffic::engine();
    Box::new(move |times| {
        let records = traffic
            .records()
            .take(Shape::SMALL.connections + times * records_a_time);
        black_box(traffic::run(&mut engine, records));
    })
}
