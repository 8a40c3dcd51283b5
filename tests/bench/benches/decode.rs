//! Decoders side by side: ours and the crate `rocketmq-protocol`, on the same frames. Times on the CPU.

#[path = "support/mod.rs"]
mod support;
mod theirs;

use bench::{decode, frames};
use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use support::CpuTime;
use tracer_core::wire::header::Codec;

/// As the tracer is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn decoders(c: &mut Criterion<CpuTime>) {
    let sends = [
        ("decode-send-json", Codec::Json, frames::json_send()),
        ("decode-send-binary", Codec::Binary, frames::binary_send()),
    ];
    for (name, codec, frame) in sends {
        let mut group = c.benchmark_group(name);
        let raw = frames::header(&frame);
        group.bench_function("rmqtrace", |b| {
            b.iter_batched(
                || Arc::from(raw),
                |raw| decode::send(codec, raw),
                BatchSize::SmallInput,
            );
        });
        crate_(&mut group, &frame, theirs::send);
        group.finish();
    }
    let frame = frames::pull_answer(32);
    let mut group = c.benchmark_group("decode-pull-32");
    group.bench_function("rmqtrace", |b| b.iter(|| decode::pull(&frame)));
    crate_(&mut group, &frame, theirs::pull);
    group.finish();
}

/// Both take a buffer of their own, which is made outside the measurement.
fn crate_(group: &mut BenchmarkGroup<'_, CpuTime>, frame: &[u8], decode: impl Fn(BytesMut) -> usize) {
    group.bench_function("rocketmq-protocol", |b| {
        b.iter_batched(|| BytesMut::from(frame), &decode, BatchSize::SmallInput);
    });
}

criterion_group! {
    name = all;
    config = Criterion::default().with_measurement(CpuTime).without_plots();
    targets = decoders
}
criterion_main!(all);
