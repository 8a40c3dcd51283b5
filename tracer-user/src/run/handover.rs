//! From the engine to the outputs, with a little patience.
//!
//! A consumer's commit ends everything since the last one, five seconds' worth of messages: more spans at once than a queue may
//! have room for, though the output takes them faster than they come on average. So the daemon waits for room, and the ring holds
//! what comes meanwhile. It waits for a small part of the time: a receiver that is too slow, or is not there, must not keep the
//! ring from being read.

use std::time::Duration;

use tokio::time::Instant;

use crate::export::{Finished, Outputs};

/// Longest wait. The ring holds twice as much of ten thousand messages a second.
const MOST: Duration = Duration::from_millis(350);
/// One in so many parts of the time may be spent waiting.
const PART: u32 = 10;

/// Hands spans over.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) outputs: Outputs,
    /// Spans that found no room: those of one reading of the ring at most.
    waiting: Vec<Finished>,
    patience: Patience,
}

impl Handover {
    pub(crate) fn new(outputs: Outputs) -> Handover {
        Handover {
            outputs,
            waiting: Vec::new(),
            patience: Patience {
                left: MOST,
                since: Instant::now(),
            },
        }
    }

    /// Hands a span to every output, or keeps it where one has no room.
    pub(crate) fn take(&mut self, finished: Finished) {
        if self.waiting.is_empty() && self.outputs.has_room() {
            self.outputs.send(finished);
        } else {
            self.waiting.push(finished);
        }
    }

    /// Hands over what was kept, and waits for room as long as there is patience. Then what finds none is dropped and counted.
    pub(crate) async fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let deadline = self.patience.deadline(Instant::now());
        self.settle_by(deadline).await;
        self.patience.waited(Instant::now());
    }

    /// The same, but until this moment: at the end nothing else has to be done.
    pub(crate) async fn settle_by(&mut self, deadline: Instant) {
        for finished in std::mem::take(&mut self.waiting) {
            self.outputs.deliver_until(finished, deadline).await;
        }
    }
}

/// Time that may be spent waiting: some is earned as time passes, up to [`MOST`].
#[derive(Debug)]
struct Patience {
    left: Duration,
    since: Instant,
}

impl Patience {
    /// Until when may be waited now.
    fn deadline(&mut self, now: Instant) -> Instant {
        self.left = (self.left + now.duration_since(self.since) / PART).min(MOST);
        self.since = now;
        now + self.left
    }

    /// The waiting is over.
    fn waited(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(now.duration_since(self.since));
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::export::{queue::Output, sample};

    fn milliseconds(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn patience_is_used_up_and_comes_again() {
        let start = Instant::now();
        let mut patience = Patience {
            left: MOST,
            since: start,
        };
        assert_eq!(patience.deadline(start), start + MOST);
        patience.waited(start + milliseconds(300));
        let later = start + milliseconds(400);
        assert_eq!(patience.deadline(later), later + milliseconds(60));
        patience.waited(later + milliseconds(60));
        let much_later = later + Duration::from_secs(60);
        assert_eq!(patience.deadline(much_later), much_later + MOST);
    }

    /// An output that takes a span each time it is told to.
    fn output(size: usize) -> (Outputs, mpsc::Sender<()>) {
        let (go, wait) = mpsc::channel::<()>();
        let output = Output::spawn("test", size, move |mut queue, counters| {
            while wait.recv().is_ok() && queue.blocking_recv().is_some() {
                counters.exported(1);
            }
        });
        (Outputs::of(vec![output.unwrap()]), go)
    }

    /// Spans that were exported, and dropped, when the output has ended.
    async fn ended(mut handover: Handover) -> (u64, u64) {
        handover.outputs.finish(Duration::from_secs(10)).await;
        let (_, stats) = handover.outputs.stats().next().unwrap();
        (stats.exported, stats.total_dropped())
    }

    #[tokio::test]
    async fn what_finds_no_room_waits_for_it() {
        let (outputs, go) = output(2);
        let mut handover = Handover::new(outputs);
        for _ in 0..5 {
            handover.take(sample::owned("t"));
        }
        assert_eq!(handover.waiting.len(), 3);
        (0..5).for_each(|_| go.send(()).unwrap());
        handover.settle().await;
        drop(go);
        assert_eq!(ended(handover).await, (5, 0));
    }

    #[tokio::test]
    async fn at_the_end_all_the_time_is_there() {
        let (outputs, go) = output(1);
        let mut handover = Handover::new(outputs);
        handover.patience.left = Duration::ZERO;
        (0..4).for_each(|_| handover.take(sample::owned("t")));
        (0..4).for_each(|_| go.send(()).unwrap());
        handover.settle_by(Instant::now() + Duration::from_secs(10)).await;
        drop(go);
        assert_eq!(ended(handover).await, (4, 0));
    }

    #[tokio::test]
    async fn a_stuck_output_is_waited_for_once() {
        let (outputs, _go) = output(1);
        let mut handover = Handover::new(outputs);
        let begun = Instant::now();
        for _ in 0..4 {
            (0..10).for_each(|_| handover.take(sample::owned("t")));
            handover.settle().await;
        }
        // the first time all the patience, then a tenth of what passed
        assert!(begun.elapsed() < 2 * MOST, "{:?}", begun.elapsed());
        let (_, stats) = handover.outputs.stats().next().unwrap();
        assert_eq!((stats.accepted, stats.total_dropped()), (40, 39));
    }
}
