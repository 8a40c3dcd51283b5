//! Spans that a receiver rejected while it took the rest of the batch (OTLP partial success).
//!
//! `opentelemetry-otlp` only writes a warning about them. This layer reads the number out of that
//! warning; the worker, which exports one request at a time on its own thread, collects it after each.

use std::{cell::RefCell, fmt};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context};

/// The crate whose warnings are read.
const SOURCE: &str = "opentelemetry-otlp";

thread_local! {
    static SEEN: RefCell<Rejected> = const { RefCell::new(Rejected { spans: 0, reason: None }) };
}

/// What a receiver rejected.
#[derive(Default)]
pub(super) struct Rejected {
    /// How many spans.
    pub(super) spans: u64,
    /// What it said.
    pub(super) reason: Option<String>,
}

/// Reads the crate's warnings about partial success.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectedSpans;

impl RejectedSpans {
    /// What it must see.
    pub(crate) fn filter() -> Targets {
        Targets::new().with_target(SOURCE, LevelFilter::WARN)
    }

    /// What this thread's requests had rejected since the last time.
    pub(super) fn take() -> Rejected {
        SEEN.take()
    }
}

impl<S: Subscriber> Layer<S> for RejectedSpans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != SOURCE || !event.metadata().name().ends_with(".PartialSuccess") {
            return;
        }
        SEEN.with_borrow_mut(|seen| event.record(seen));
    }
}

impl Visit for Rejected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "rejected_spans" {
            self.spans += u64::try_from(value).unwrap_or_default();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" && !value.is_empty() {
            self.reason = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
