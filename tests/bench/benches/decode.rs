//! Decoders side by side: ours and the crate `rocketmq-protocol`, on the same frames. Times on the CPU.

#[path = "support/mod.rs"]
mod support;
mod theirs;

use bench::{decode, frames};
use bytes::BytesMut;
use std::{hint::black_box, sync::Arc};
use support::{Case, Group, measure};
use tracer_core::wire::header::Codec;

/// As the tracer is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Frames of a turn. Few enough that those which are made before stay in the cache.
const SENDS: usize = 100;
const PULLS: usize = 10;
const ROUNDS: usize = 301;

fn main() {
    let sends = [
        ("decode-send-json", Codec::Json, frames::json_send()),
        ("decode-send-binary", Codec::Binary, frames::binary_send()),
    ];
    let pull = frames::pull_answer(32);
    let mut groups: Vec<Group<'_>> = sends
        .iter()
        .map(|(name, codec, frame)| send(name, *codec, frame))
        .collect();
    let ours = Case::new(
        "rmqtrace",
        PULLS,
        || vec![&pull; PULLS],
        |frames| each(frames, |frame| decode::pull(frame)),
    );
    groups.push(Group {
        name: "decode-pull-32",
        rounds: ROUNDS,
        cases: vec![ours, crate_(PULLS, &pull, theirs::pull)],
    });
    measure(groups);
}

fn send<'a>(name: &'a str, codec: Codec, frame: &'a [u8]) -> Group<'a> {
    let raw: &[u8] = frames::header(frame);
    let ours = Case::new(
        "rmqtrace",
        SENDS,
        move || {
            vec![raw; SENDS]
                .into_iter()
                .map(Arc::<[u8]>::from)
                .collect::<Vec<_>>()
        },
        move |frames| each(frames, |raw| decode::send(codec, raw)),
    );
    Group {
        name,
        rounds: ROUNDS,
        cases: vec![ours, crate_(SENDS, frame, theirs::send)],
    }
}

/// Takes a buffer of its own, which is made outside the measurement.
fn crate_<'a>(times: usize, frame: &'a [u8], decode: impl Fn(BytesMut) -> usize + 'a) -> Case<'a> {
    Case::new(
        "rocketmq-protocol",
        times,
        move || {
            vec![frame; times]
                .into_iter()
                .map(BytesMut::from)
                .collect::<Vec<_>>()
        },
        move |frames| each(frames, &decode),
    )
}

fn each<T>(frames: Vec<T>, decode: impl Fn(T) -> usize) {
    for frame in frames {
        black_box(decode(frame));
    }
}
