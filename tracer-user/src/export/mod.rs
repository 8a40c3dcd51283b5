//! Where spans go. OpenTelemetry types exist only in here.
//!
//! | Module | What |
//! |---|---|
//! | [`convert`] | a span in OpenTelemetry's types |
//! | [`otlp`] | an OTLP receiver: transport, batches, retries |
//! | [`file`] | a file of OTLP/JSON lines |
//! | [`print`] | the terminal |
//! | [`queue`] | the bounded queue and the counters that each of them has |
//!
//! To add an exporter: a module with a `start` that gives a [`queue::Output`], a line in [`Outputs::start`].

pub(crate) mod convert;
pub(crate) mod file;
pub(crate) mod otlp;
pub(crate) mod print;
pub(crate) mod queue;
#[cfg(test)]
pub(crate) mod sample;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracer_core::model::{Cut, Naming, Span};

use crate::{clock::Wall, config::schema, enrich::Process};
use queue::{Output, Stats};

/// A span ready to leave: with its process and wall-clock times.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The span.
    pub(crate) span: Span,
    /// What its name and its attributes are called.
    pub(crate) naming: Naming,
    /// What was cut from it.
    pub(crate) cut: Cut,
    /// Whose it is.
    pub(crate) process: Arc<Process>,
    /// Start.
    pub(crate) start: Wall,
    /// End.
    pub(crate) end: Wall,
}

/// Every place that spans go to. Each has its own queue: none waits for another, and capture waits for none.
#[derive(Debug)]
pub(crate) struct Outputs(Vec<Output>);

impl Outputs {
    /// Starts what the settings ask for.
    pub(crate) fn start(settings: &schema::Export) -> anyhow::Result<Outputs> {
        let mut outputs = Vec::new();
        if settings.otlp.endpoint.is_some() {
            outputs.push(otlp::start(&settings.otlp)?);
        }
        if let Some(path) = &settings.otlp_file {
            outputs.push(file::start(path)?);
        }
        outputs.extend(print::start(effective_print(settings))?);
        Ok(Outputs(outputs))
    }

    #[cfg(test)]
    pub(crate) fn of(outputs: Vec<Output>) -> Outputs {
        Outputs(outputs)
    }

    /// Whether no output would drop a span for want of room.
    pub(crate) fn has_room(&self) -> bool {
        self.0.iter().all(Output::has_room)
    }

    /// Hands a span to every output, and waits until `deadline` where one has no room for it.
    pub(crate) async fn deliver_until(&self, finished: Finished, deadline: Instant) {
        let finished = Arc::new(finished);
        for output in &self.0 {
            output.deliver_until(&finished, deadline).await;
        }
    }

    /// Hands a span to every output. Never waits; a full queue drops and counts.
    pub(crate) fn send(&self, finished: Finished) {
        let finished = Arc::new(finished);
        self.0.iter().for_each(|output| output.send(&finished));
    }

    /// Hands a span to every output, and waits where one has no room for it: for sources that can wait.
    pub(crate) async fn deliver(&self, finished: Finished) {
        let finished = Arc::new(finished);
        for output in &self.0 {
            output.deliver(&finished).await;
        }
    }

    /// What became of the spans, by output.
    pub(crate) fn stats(&self) -> impl Iterator<Item = (&'static str, Stats)> {
        self.0.iter().map(|output| (output.name(), output.stats()))
    }

    /// Gives up what still waits, and counts it.
    pub(crate) fn abandon(&mut self) {
        self.0.iter_mut().for_each(Output::abandon);
    }

    /// Lets every output write what it has, for at most `limit`.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.0.iter_mut().for_each(Output::close);
        for output in &mut self.0 {
            output.finished(deadline).await;
        }
    }
}

/// `auto` resolved: the terminal is the output where there is no other.
pub(crate) fn effective_print(settings: &schema::Export) -> schema::Print {
    match settings.print {
        schema::Print::Auto if settings.otlp.endpoint.is_none() && settings.otlp_file.is_none() => {
            schema::Print::Text
        }
        schema::Print::Auto => schema::Print::None,
        chosen => chosen,
    }
}
