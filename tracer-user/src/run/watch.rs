//! Says when something is lost, at most once in ten seconds for each kind of loss. The totals have the rest.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracer_abi::Counter;
use tracer_core::engine::Totals as EngineTotals;

use super::totals::LOST_BYTES;
use crate::{
    capture::KernelCounters,
    export::queue::{Cause, Stats},
};

/// Shortest time between two lines about one kind of loss.
const PAUSE: Duration = Duration::from_secs(10);

/// What was told of so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    bytes: Kind,
    tables: Kind,
    spans: Kind,
}

impl Watch {
    /// Compares the counts with those that were told of.
    pub(super) fn look(
        &mut self,
        now: Instant,
        kernel: &KernelCounters,
        engine: &EngineTotals,
        outputs: impl Iterator<Item = (&'static str, Stats)>,
    ) {
        let bytes = LOST_BYTES.map(|counter| (counter.name().to_owned(), kernel.get(counter)));
        if let Some(lost) = self.bytes.news(now, bytes) {
            let hint = if lost.contains(Counter::RingFullBytes.name()) {
                "a larger ring may help (capture.ring_bytes)"
            } else {
                "spans that they belong to are incomplete or missing"
            };
            tracing::warn!(lost, "bytes of connections were not seen; {hint}");
        }
        let tables = engine.evictions().map(|(name, n)| (name.to_owned(), n));
        if let Some(lost) = self.tables.news(now, tables) {
            tracing::warn!(
                lost,
                "tables were full, so what they held longest was forgotten; spans of it are missing or have no end"
            );
        }
        let spans = outputs.flat_map(|(output, stats)| {
            let dropped: Vec<(Cause, u64)> = stats.dropped().collect();
            let named = move |(cause, n): (Cause, u64)| (format!("{output}.{}", cause.name()), n);
            dropped.into_iter().map(named)
        });
        if let Some(lost) = self.spans.news(now, spans) {
            tracing::warn!(
                lost,
                "spans were not exported; a receiver that takes them faster helps, or a longer queue \
                 (export.otlp.queue_size) if it is slow only at times"
            );
        }
    }
}

/// One kind of loss.
#[derive(Debug, Default)]
struct Kind {
    /// Counts that were told of.
    told: HashMap<String, u64>,
    said: Option<Instant>,
}

impl Kind {
    /// What was lost since it was last told, if it is time to tell.
    fn news(&mut self, now: Instant, counts: impl IntoIterator<Item = (String, u64)>) -> Option<String> {
        if self.said.is_some_and(|said| now.duration_since(said) < PAUSE) {
            return None;
        }
        let mut lost = Vec::new();
        for (name, count) in counts {
            let told = self.told.get(&name).copied().unwrap_or_default();
            if count > told {
                lost.push(format!("{name}={}", count - told));
                self.told.insert(name, count);
            }
        }
        if lost.is_empty() {
            return None;
        }
        self.said = Some(now);
        Some(lost.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_new_and_not_too_often() {
        let mut kind = Kind::default();
        let start = Instant::now();
        let mut look = |seconds, a, b| {
            let counts = [("a".to_owned(), a), ("b".to_owned(), b)];
            kind.news(start + Duration::from_secs(seconds), counts)
        };
        assert_eq!(look(0, 0, 0), None);
        assert_eq!(look(1, 5, 0).as_deref(), Some("a=5"));
        assert_eq!(look(2, 6, 1), None, "too soon");
        assert_eq!(look(11, 8, 1).as_deref(), Some("a=3 b=1"));
        assert_eq!(look(30, 8, 1), None, "nothing new");
    }
}
