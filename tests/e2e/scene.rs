//! A tracer and the collector that it exports to.

use std::{collections::HashMap, path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};
use testbed::{Collector, Span, Tracer, artifacts::require, tracer::Options};

use crate::world::World;

/// How long spans may take from the wire to the collector's file: sends at once, process spans until their evidence.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(40);

/// A running tracer with its collector.
pub(crate) struct Scene {
    pub(crate) collector: Collector,
    pub(crate) tracer: Tracer,
}

impl Scene {
    /// Starts both; `args` go to `rmqtrace run`.
    pub(crate) fn start(world: &World, name: &str, args: &[&str]) -> Result<Scene> {
        Scene::start_with(
            world,
            name,
            Options {
                args,
                ..Options::default()
            },
        )
    }

    /// The same with all options.
    pub(crate) fn start_with(world: &World, name: &str, options: Options<'_>) -> Result<Scene> {
        let dir = world.dir()?;
        let name = world.fresh(name);
        let collector = Collector::start(&world.artifacts, dir, &name)?;
        let tracer = Tracer::start(&world.artifacts, dir, &name, &collector, options)?;
        Ok(Scene { collector, tracer })
    }

    /// Waits for `count` spans of an operation on a topic, and gives them.
    pub(crate) fn spans(&mut self, operation: &str, topic: &str, count: usize) -> Result<Vec<Span>> {
        self.collector.wait_for(count, ARRIVAL, |span| {
            span.operation() == operation && span.topic() == topic
        })
    }

    /// Stops the tracer, which flushes, and gives all spans of this run's topics and what the tracer logged.
    pub(crate) fn finish(self, world: &World) -> Result<(Vec<Span>, String)> {
        let Scene {
            mut collector,
            tracer,
        } = self;
        let (status, log) = tracer.stop()?;
        ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
        // The collector writes what it still holds when it ends.
        collector.pause();
        // An old name of the topic's attribute is in no accessor, but every span's name has the topic.
        let ours = collector.spans()?.iter().filter(|span| world.owns(&span.name));
        Ok((ours.cloned().collect(), log))
    }
}

/// A tracer without a collector: spans go to a file, its log, with everything for people to debug, to another.
pub(crate) struct Filed {
    pub(crate) tracer: Tracer,
    /// Spans, as OTLP in lines of JSON.
    pub(crate) spans: PathBuf,
    pub(crate) log: PathBuf,
}

impl Filed {
    /// Starts it; `args` go to `rmqtrace run`. `name` is that of its files.
    pub(crate) fn start(world: &World, name: &str, args: &[&str]) -> Result<Filed> {
        let dir = world.dir()?;
        let (spans, log) = (dir.join(format!("{name}.jsonl")), dir.join(format!("{name}.log")));
        let mut command = Command::new(require(world.artifacts.rmqtrace(), "the rmqtrace binary")?);
        command
            .args(["run", "--print", "none", "--log-level", "debug", "--otlp-file"])
            .arg(&spans)
            .args(args);
        let tracer = Tracer::launch(command, &log)?;
        Ok(Filed { tracer, spans, log })
    }
}

/// Spans by message id; an id that occurs twice is an error.
pub(crate) fn by_message(spans: &[Span]) -> Result<HashMap<&str, &Span>> {
    let mut found = HashMap::new();
    for span in spans {
        let id = span.message_id();
        ensure!(
            found.insert(id, span).is_none(),
            "two {} spans of message {id}",
            span.operation()
        );
    }
    Ok(found)
}
