//! The whole engine: records in, spans out, on one core; and the same at ten times as much of everything. Times on the CPU.

#[path = "support/mod.rs"]
mod support;

use bench::traffic::{self, Shape, Traffic};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use support::CpuTime;

/// As the tracer is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages of a run.
const MESSAGES: usize = 64_000;

fn engine(c: &mut Criterion<CpuTime>) {
    let small = Shape::SMALL;
    let shapes = [
        ("base", small),
        (
            "connections",
            Shape {
                connections: 10 * small.connections,
                ..small
            },
        ),
        (
            "topics",
            Shape {
                topics: 10 * small.topics,
                ..small
            },
        ),
        (
            "groups",
            Shape {
                groups: 10 * small.groups,
                ..small
            },
        ),
        (
            "batch",
            Shape {
                batch: 10 * small.batch,
                ..small
            },
        ),
    ];
    for (what, make) in [
        ("engine-send", Traffic::sends as fn(Shape, usize) -> Traffic),
        ("engine-delivery", Traffic::deliveries),
    ] {
        let mut group = c.benchmark_group(what);
        group
            .throughput(Throughput::Elements(MESSAGES as u64))
            .sample_size(20);
        for (name, shape) in shapes {
            if what == "engine-send" && matches!(name, "groups" | "batch") {
                continue;
            }
            let traffic = make(shape, MESSAGES);
            group.bench_function(name, |b| {
                b.iter_batched(
                    traffic::engine,
                    |mut engine| {
                        let spans = traffic::run(&mut engine, traffic.records());
                        spans + traffic::finish(&mut engine)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().with_measurement(CpuTime).without_plots();
    targets = engine
}
criterion_main!(all);
