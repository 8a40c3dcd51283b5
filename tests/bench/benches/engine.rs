//! The whole engine: records in, spans out, on one core; and the same at ten times as much of everything. Times on the CPU.

#[path = "support/mod.rs"]
mod support;

use bench::traffic::{self, Shape, Traffic};
use support::{Case, Group, measure};

/// As the tracer is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages of a turn.
const MESSAGES: usize = 32_000;
const ROUNDS: usize = 5;

fn main() {
    let small = Shape::SMALL;
    let connections = Shape {
        connections: 10 * small.connections,
        ..small
    };
    let topics = Shape {
        topics: 10 * small.topics,
        ..small
    };
    let groups = Shape {
        groups: 10 * small.groups,
        ..small
    };
    let batch = Shape {
        batch: 10 * small.batch,
        ..small
    };
    let base = [("base", small), ("connections", connections), ("topics", topics)];
    let all = [&base[..], &[("groups", groups), ("batch", batch)]].concat();
    let sends = traffic(Traffic::sends, &base);
    let deliveries = traffic(Traffic::deliveries, &all);
    measure(vec![
        group("engine-send", &sends),
        group("engine-delivery", &deliveries),
    ]);
}

fn traffic(
    make: fn(Shape, usize) -> Traffic,
    shapes: &[(&'static str, Shape)],
) -> Vec<(&'static str, Traffic)> {
    shapes
        .iter()
        .map(|(name, shape)| (*name, make(*shape, MESSAGES)))
        .collect()
}

fn group<'a>(name: &'a str, traffic: &'a [(&'static str, Traffic)]) -> Group<'a> {
    let case = |(name, traffic): &'a (&'static str, Traffic)| {
        let work = |mut engine| {
            let spans = traffic::run(&mut engine, traffic.records());
            spans + traffic::finish(&mut engine)
        };
        Case::new(name, MESSAGES, traffic::engine, work)
    };
    Group {
        name,
        rounds: ROUNDS,
        cases: traffic.iter().map(case).collect(),
    }
}
