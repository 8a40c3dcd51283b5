//! End-to-end tests: real clients send and consume through real brokers, rmqtrace watches, and what arrives in a real
//! OpenTelemetry Collector is compared, message by message, with what the clients themselves logged.
//!
//! Run by `cargo xtask test`, as root. The tests run one after another: they share two brokers, which take seconds to start,
//! and each group shares a tracer and a collector.

mod accounting;
mod canary;
mod chaos;
mod check;
mod clients;
mod consuming;
mod exports;
mod failures;
mod filters;
mod foreign;
mod ipv6;
mod jaeger;
mod lifecycle;
mod load;
mod matrix;
mod privacy;
mod proxy;
mod replay;
mod scene;
mod settings;
mod unreadable;
mod world;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};

use crate::world::World;

/// A named test.
fn trial(name: impl Into<String>, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| format!("{error:#}").into()))
}

/// A test that needs nothing but the world.
type Case = (&'static str, fn(&World) -> anyhow::Result<()>);

/// The tests of a group.
fn cases(world: &Arc<World>, group: &str, cases: &[Case]) -> Vec<Trial> {
    let case = |(name, test): &Case| {
        let (world, test) = (Arc::clone(world), *test);
        trial(format!("{group}: {name}"), move || test(&world))
    };
    cases.iter().map(case).collect()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let world = Arc::new(World::new());
    let mut trials = Vec::new();
    trials.extend(matrix::trials(&world));
    trials.extend(clients::trials(&world));
    trials.extend(consuming::trials(&world));
    trials.extend(failures::trials(&world));
    trials.extend(filters::trials(&world));
    trials.extend(ipv6::trials(&world));
    trials.extend(exports::trials(&world));
    trials.extend(jaeger::trials(&world));
    trials.extend(privacy::trials(&world));
    trials.extend(canary::trials(&world));
    trials.extend(replay::trials(&world));
    trials.extend(proxy::trials(&world));
    trials.extend(foreign::trials(&world));
    trials.extend(unreadable::trials(&world));
    trials.extend(chaos::trials(&world));
    trials.extend(settings::trials(&world));
    trials.extend(accounting::trials(&world));
    trials.extend(lifecycle::trials(&world));
    trials.extend(load::trials(&world));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The last handle: stops the brokers.
    drop(world);
    conclusion.exit_code()
}
