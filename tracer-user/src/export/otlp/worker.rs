//! Batches from the queue to the receiver, with patience.
//!
//! Several requests are under way at a time, as OTLP asks of exporters: how fast spans go must not depend on how soon a
//! receiver answers, and a busy one takes a tenth of a second or more. Each belongs to a lane, which takes spans from the
//! queue, delivers them, and comes back; while one collects, the others deliver. All lanes share one thread.
//!
//! A request that fails for a passing reason — nobody there, overloaded, too slow — is tried again for as long as the
//! settings say: after the time that the receiver asks for, else with exponential back-off and jitter. Meanwhile the queue
//! fills and, when it is full, drops and counts. One that is refused for good is dropped at once, as OTLP demands.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    encode,
    transport::{Failure, Transport},
};
use crate::{
    config::schema::Otlp,
    export::{
        Finished, convert,
        file::collect,
        queue::{Cause, Counters, Queue},
    },
};

/// The first wait after a failed request, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The shortest wait that a receiver may ask for.
const SHORTEST_ASKED: Duration = Duration::from_millis(100);

/// Exports until the queue is closed and empty, with as many requests under way at a time as the settings say.
pub(super) async fn run(queue: Queue, counters: &Counters, settings: &Otlp, transport: Transport) {
    let queue = Mutex::new(queue);
    let shared = Shared {
        counters,
        settings,
        failing: Cell::new(None),
    };
    let lanes = (0..settings.concurrency).map(|_| {
        let lane = Lane {
            shared: &shared,
            transport: transport.clone(),
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
    /// Since when nothing could be delivered, and how many spans were given up since.
    failing: Cell<Option<(Instant, u64)>>,
}

/// One request at a time.
struct Lane<'a> {
    shared: &'a Shared<'a>,
    transport: Transport,
}

impl Lane<'_> {
    async fn run(mut self, queue: &Mutex<Queue>) {
        let (size, wait) = (self.shared.settings.batch_size, self.shared.settings.interval.0);
        loop {
            let spans = collect(&mut *queue.lock().await, size, wait).await;
            let Some(spans) = spans else { return };
            self.deliver(&spans).await;
        }
    }

    async fn deliver(&mut self, spans: &[Arc<Finished>]) {
        let Shared {
            counters, settings, ..
        } = *self.shared;
        let count = spans.len() as u64;
        let request = Bytes::from(if self.transport.is_json() {
            serde_json::to_vec(&convert::request(spans)).unwrap_or_default()
        } else {
            encode::request(spans)
        });
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let failure = match self.transport.send(request.clone(), settings.timeout.0).await {
                Ok(answer) => return self.shared.delivered(count, answer),
                Err(failure) => failure,
            };
            let Failure {
                reason,
                passing,
                wait: asked,
            } = failure;
            if !passing {
                tracing::warn!(spans = count, %reason, "the OTLP receiver refused spans; they are dropped");
                return counters.dropped(Cause::Refused, count);
            }
            self.shared.failed(&reason);
            let pause = asked.map_or_else(|| jittered(wait), |asked| asked.max(SHORTEST_ASKED));
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
    fn delivered(&self, count: u64, answer: ExportTraceServiceResponse) {
        let partial = answer.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans)
            .unwrap_or_default()
            .min(count);
        let reason = Some(partial.error_message).filter(|reason| !reason.is_empty());
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

/// Between half the wait and the whole: tracers that lost the same receiver do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    wait / 2 + wait.mul_f64(random as f64 / 2_000.0)
}
