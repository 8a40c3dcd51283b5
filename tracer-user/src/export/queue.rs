//! A bounded queue in front of a thread that writes, and the account of what became of each span.
//!
//! Every span handed over is counted once: exported, dropped by a cause, or still waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::Finished;

/// Spans that may wait for the terminal or a file.
pub(crate) const WAITING: usize = 64 * 1024;

/// Why a span was not exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// The queue was full.
    QueueFull,
    /// It could not be delivered in the time that a batch is tried again.
    Exhausted,
    /// The receiver refused the batch for good.
    Refused,
    /// The receiver took the batch but for this one (partial success).
    Rejected,
    /// The terminal or file cannot be written to any more.
    Closed,
    /// The daemon ended first.
    Shutdown,
}

impl Cause {
    /// All of them.
    pub(crate) const ALL: [Cause; 6] = [
        Cause::QueueFull,
        Cause::Exhausted,
        Cause::Refused,
        Cause::Rejected,
        Cause::Closed,
        Cause::Shutdown,
    ];

    /// Stable name for logs and totals.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::QueueFull => "queue_full",
            Cause::Exhausted => "retries_exhausted",
            Cause::Refused => "refused",
            Cause::Rejected => "rejected",
            Cause::Closed => "closed",
            Cause::Shutdown => "shutdown",
        }
    }
}

/// The account, as the writing thread keeps it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; Cause::ALL.len()],
}

impl Counters {
    /// These were written or taken by the receiver.
    pub(crate) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    /// These were not.
    pub(crate) fn dropped(&self, cause: Cause, spans: u64) {
        self.dropped[cause as usize].fetch_add(spans, Relaxed);
    }

    /// The account now.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            accepted: self.accepted.load(Relaxed),
            exported: self.exported.load(Relaxed),
            dropped: std::array::from_fn(|i| self.dropped[i].load(Relaxed)),
        }
    }
}

/// The account at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stats {
    /// Spans handed over, those dropped at once included.
    pub(crate) accepted: u64,
    /// Spans written or taken by the receiver.
    pub(crate) exported: u64,
    dropped: [u64; Cause::ALL.len()],
}

impl Stats {
    /// Spans that were not exported, by cause; causes without any are left out.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL
            .into_iter()
            .map(|c| (c, self.dropped[c as usize]))
            .filter(|(_, n)| *n > 0)
    }

    /// Spans that were not exported.
    pub(crate) fn total_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// The near end of a queue.
#[derive(Debug)]
pub(crate) struct Output {
    name: &'static str,
    queue: Option<mpsc::Sender<Arc<Finished>>>,
    counters: Arc<Counters>,
    done: Option<oneshot::Receiver<()>>,
    ended: bool,
}

/// The far end.
pub(crate) type Queue = mpsc::Receiver<Arc<Finished>>;

impl Output {
    /// Starts a thread that takes spans from a queue of this size until it is closed and empty.
    pub(crate) fn spawn(
        name: &'static str,
        size: usize,
        work: impl FnOnce(Queue, &Counters) + Send + 'static,
    ) -> std::io::Result<Output> {
        let (sender, receiver) = mpsc::channel(size);
        let (finished, done) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let theirs = counters.clone();
        thread::Builder::new()
            .name(format!("export-{name}"))
            .spawn(move || {
                work(receiver, &theirs);
                // nobody waits when the daemon is ending in a hurry
                let _ = finished.send(());
            })?;
        Ok(Output {
            name,
            queue: Some(sender),
            counters,
            done: Some(done),
            ended: false,
        })
    }

    /// Which output.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Queues a span or counts its loss.
    pub(crate) fn send(&self, finished: &Arc<Finished>) {
        self.counters.accepted.fetch_add(1, Relaxed);
        let result = match &self.queue {
            Some(queue) => queue.try_send(finished.clone()).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => Cause::QueueFull,
                mpsc::error::TrySendError::Closed(_) => Cause::Closed,
            }),
            None => Err(Cause::Shutdown),
        };
        if let Err(cause) = result {
            self.counters.dropped(cause, 1);
        }
    }

    /// Whether a span would not be dropped for want of room.
    pub(crate) fn has_room(&self) -> bool {
        let is_full = |queue: &mpsc::Sender<_>| queue.capacity() == 0 && !queue.is_closed();
        !self.queue.as_ref().is_some_and(is_full)
    }

    /// Queues a span, and waits until `deadline` where there is no room for it.
    pub(crate) async fn deliver_until(&self, finished: &Arc<Finished>, deadline: Instant) {
        if let Some(queue) = self.queue.as_ref().filter(|_| !self.has_room()) {
            // room, the end of the output, or none in time: what it came to is found by queuing
            let _ = tokio::time::timeout_at(deadline, queue.reserve()).await;
        }
        self.send(finished);
    }

    /// Queues a span, and waits where there is no room for it.
    pub(crate) async fn deliver(&self, finished: &Arc<Finished>) {
        self.counters.accepted.fetch_add(1, Relaxed);
        let result = match &self.queue {
            Some(queue) => queue.send(finished.clone()).await.map_err(|_| Cause::Closed),
            None => Err(Cause::Shutdown),
        };
        if let Err(cause) = result {
            self.counters.dropped(cause, 1);
        }
    }

    /// The account now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        if self.ended {
            let known = stats.exported + stats.total_dropped();
            stats.dropped[Cause::Shutdown as usize] += stats.accepted.saturating_sub(known);
        }
        stats
    }

    /// Nothing more will be handed over.
    pub(crate) fn close(&mut self) {
        self.queue = None;
    }

    /// Waits until everything is written or the time is up. What waits then is counted as dropped.
    pub(crate) async fn finished(&mut self, deadline: Instant) {
        self.close();
        if let Some(done) = self.done.take() {
            // an error: the thread ended without a word, which is an end too
            let _ = tokio::time::timeout_at(deadline, done).await;
        }
        self.abandon();
    }

    /// Counts what waits as dropped.
    pub(crate) fn abandon(&mut self) {
        self.close();
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::export::sample;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_nothing_waits() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut output = Output::spawn("test", 2, move |mut queue, counters| {
            wait.recv().unwrap();
            while queue.blocking_recv().is_some() {
                counters.exported(1);
            }
        })
        .unwrap();
        for _ in 0..5 {
            output.send(&sample::finished("t"));
        }
        go.send(()).unwrap();
        output.finished(soon()).await;
        let stats = output.stats();
        assert_eq!((stats.accepted, stats.exported), (5, 2));
        assert_eq!(stats.dropped().collect::<Vec<_>>(), [(Cause::QueueFull, 3)]);
    }

    #[tokio::test]
    async fn a_source_that_can_wait_loses_nothing() {
        let mut output = Output::spawn("test", 1, |mut queue, counters| {
            while queue.blocking_recv().is_some() {
                std::thread::yield_now();
                counters.exported(1);
            }
        })
        .unwrap();
        for _ in 0..100 {
            output.deliver(&sample::finished("t")).await;
        }
        output.finished(soon()).await;
        assert_eq!(
            (output.stats().exported, output.stats().total_dropped()),
            (100, 0)
        );
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_counted() {
        let (_go, wait) = std::sync::mpsc::channel::<()>();
        let mut output = Output::spawn("test", 8, move |queue, _| {
            // stuck, as a terminal that takes nothing
            let _ = wait.recv();
            drop(queue);
        })
        .unwrap();
        output.send(&sample::finished("t"));
        output.finished(Instant::now() + Duration::from_millis(10)).await;
        assert_eq!(
            output.stats().dropped().collect::<Vec<_>>(),
            [(Cause::Shutdown, 1)]
        );
    }
}
