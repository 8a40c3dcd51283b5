//! Batches from the queue to the receiver, with patience.
//!
//! Several requests are under way at a time, as OTLP asks of exporters: how fast spans go must not depend on how soon a
//! receiver answers, and a busy one takes a tenth of a second or more. Each belongs to a lane, which takes spans from the
//! queue, delivers them, and comes back; while one collects, the others deliver. All lanes share one thread.
//!
//! A request that fails for a passing reason — nobody there, overloaded, too slow — is tried again with
//! exponential back-off and jitter for as long as the settings say; meanwhile the queue fills and, when it is
//! full, drops and counts. One that is refused for good is dropped at once, as OTLP demands.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use futures_util::future::join_all;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{error::OTelSdkError, trace::SpanExporter as _};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{
    partial::{self, RejectedSpans},
    transport::Failures,
};
use crate::{
    config::schema::Otlp,
    enrich::Process,
    export::{
        Finished, convert,
        file::collect,
        queue::{Cause, Counters, Queue},
    },
};

/// Batches that are taken from the queue together. A request has the spans of one process only: of few batches each process
/// would get a few spans, and a receiver that takes its time for each request would not keep up.
const TOGETHER: usize = 16;
/// The first wait after a failed request, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Exports until the queue is closed and empty, with a lane for each exporter.
pub(super) async fn run(
    queue: Queue,
    counters: &Counters,
    settings: &Otlp,
    exporters: Vec<SpanExporter>,
    failures: &Failures,
) {
    let queue = Mutex::new(queue);
    let shared = Shared {
        counters,
        settings,
        failures,
        failing: Cell::new(None),
    };
    let lanes = exporters.into_iter().map(|exporter| {
        let lane = Lane {
            shared: &shared,
            exporter,
        };
        lane.run(&queue)
    });
    join_all(lanes).await;
}

/// Counts everything as refused, where there is no exporter.
pub(super) async fn refuse(mut queue: Queue, counters: &Counters) {
    while queue.recv().await.is_some() {
        counters.dropped(Cause::Refused, 1);
    }
}

/// What the lanes have in common.
struct Shared<'a> {
    counters: &'a Counters,
    settings: &'a Otlp,
    failures: &'a Failures,
    /// Since when nothing could be delivered, and how many spans were given up since.
    failing: Cell<Option<(Instant, u64)>>,
}

/// One request at a time.
struct Lane<'a> {
    shared: &'a Shared<'a>,
    exporter: SpanExporter,
}

impl Lane<'_> {
    async fn run(mut self, queue: &Mutex<Queue>) {
        let size = self.shared.settings.batch_size;
        let wait = self.shared.settings.interval.0;
        loop {
            let spans = collect(&mut *queue.lock().await, size * TOGETHER, wait).await;
            let Some(spans) = spans else { return };
            for (process, spans) in convert::by_process(&spans) {
                for batch in spans.chunks(size) {
                    self.deliver(process, batch).await;
                }
            }
        }
    }

    async fn deliver(&mut self, process: &Process, spans: &[&Finished]) {
        let Shared {
            counters,
            settings,
            failures,
            ..
        } = *self.shared;
        let count = spans.len() as u64;
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        self.exporter.set_resource(&convert::resource(process));
        loop {
            let data = spans.iter().map(|f| convert::span_data(f)).collect();
            // the exporter's own limit does not cover a connection that hangs
            let limit = settings.timeout.0 * 2 + Duration::from_secs(1);
            let result = timeout(limit, self.exporter.export(data)).await;
            // What the request had to say beside its result is read before another lane's can be: it left that behind in
            // the same turn.
            let error = match result {
                Ok(Ok(())) => return self.shared.delivered(count),
                Ok(Err(error)) => error,
                Err(_) => OTelSdkError::Timeout(limit),
            };
            let reason = failures.take().unwrap_or_else(|| reason(&error));
            if !passing(&error) {
                tracing::warn!(spans = count, %reason, "the OTLP receiver refused spans; they are dropped");
                return counters.dropped(Cause::Refused, count);
            }
            self.shared.failed(&reason);
            let pause = jittered(wait);
            if started.elapsed() + pause >= settings.retry_for.0 {
                tracing::debug!(spans = count, %reason, "spans could not be delivered in time; they are dropped");
                return self.shared.given_up(count);
            }
            sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Shared<'_> {
    fn delivered(&self, count: u64) {
        let partial::Rejected { spans, reason } = RejectedSpans::take();
        let rejected = spans.min(count);
        self.counters.exported(count - rejected);
        if rejected > 0 {
            self.counters.dropped(Cause::Rejected, rejected);
            tracing::warn!(
                spans = rejected,
                reason = reason.as_deref(),
                "the OTLP receiver rejected some spans"
            );
        } else if let Some(reason) = reason {
            tracing::warn!(%reason, "the OTLP receiver says");
        }
        if let Some((since, lost)) = self.failing.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(
                seconds,
                spans_given_up = lost,
                "the OTLP receiver takes spans again"
            );
        }
    }

    /// Says once that nothing gets through.
    fn failed(&self, reason: &str) {
        if self.failing.get().is_none() {
            self.failing.set(Some((Instant::now(), 0)));
            let queue_size = self.settings.queue_size;
            tracing::warn!(%reason, queue_size, "the OTLP receiver takes no spans; they wait and are tried again");
        }
    }

    fn given_up(&self, count: u64) {
        self.counters.dropped(Cause::Exhausted, count);
        let failing = self.failing.get().map(|(since, lost)| (since, lost + count));
        self.failing.set(failing);
    }
}

fn reason(error: &OTelSdkError) -> String {
    match error {
        OTelSdkError::InternalFailure(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Whether the receiver may take the same batch later (OTLP's retryable failures). The exporter keeps the status only
/// in its message: `… with status code: 503`, `… network error`, `… gRPC code: Unavailable`. Whether a
/// `ResourceExhausted` came with leave to try again is not among that; the exporter's own retries have used it then.
fn passing(error: &OTelSdkError) -> bool {
    let OTelSdkError::InternalFailure(message) = error else {
        return matches!(error, OTelSdkError::Timeout(_));
    };
    if let Some((_, code)) = message.rsplit_once("status code: ") {
        return matches!(code.trim(), "429" | "502" | "503" | "504");
    }
    if let Some((_, rest)) = message.split_once("gRPC code: ") {
        let code = rest.split(':').next().unwrap_or(rest).trim();
        let passing = [
            "Cancelled",
            "DeadlineExceeded",
            "Aborted",
            "OutOfRange",
            "Unavailable",
            "DataLoss",
        ];
        // a connection that broke comes as `Unknown` with its cause behind it, a receiver's `Unknown` without
        return passing.contains(&code) || (code == "Unknown" && rest.contains(':'));
    }
    message.ends_with("network error")
}

/// Between half the wait and the whole: tracers that lost the same receiver do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    wait / 2 + wait.mul_f64(random as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exporter's messages, and whether the failure passes.
    #[test]
    fn failures_are_told_apart() {
        for (message, expected) in [
            ("HTTP export failed with status code: 503", true),
            ("HTTP export failed with status code: 429", true),
            ("HTTP export failed with status code: 500", false),
            ("HTTP export failed with status code: 404", false),
            ("HTTP export failed: network error", true),
            (
                "TonicTracesClient export failed with gRPC code: Unavailable: transport error",
                true,
            ),
            (
                "TonicTracesClient export failed with gRPC code: ResourceExhausted",
                false,
            ),
            (
                "TonicTracesClient export failed with gRPC code: Unknown: transport error: broken pipe",
                true,
            ),
            ("TonicTracesClient export failed with gRPC code: Unknown", false),
            (
                "TonicTracesClient export failed with gRPC code: InvalidArgument",
                false,
            ),
            (
                "TonicTracesClient export failed with gRPC code: Unauthenticated",
                false,
            ),
            ("anything else", false),
        ] {
            assert_eq!(
                passing(&OTelSdkError::InternalFailure(message.into())),
                expected,
                "{message}"
            );
        }
        assert!(passing(&OTelSdkError::Timeout(Duration::ZERO)));
    }
}
