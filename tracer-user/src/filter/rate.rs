//! At most so many messages of a topic in a second, decided once for each message.
//!
//! The first span of a message that comes by takes a token from the bucket of its topic, which fills at the configured
//! rate and holds one second's worth; every later span of the message follows that decision, as long as it is
//! remembered. Other hosts decide by themselves: a limit bounds cost, for whole traces across hosts there are samplers.

use std::sync::Arc;

use globset::{Error, GlobMatcher};
use hashlink::LruCache;
use tracer_core::{
    model::{Span, Timestamp, TraceId},
    sampling,
};

use crate::config::{schema::Sampling, value::Pattern};

/// Messages whose decision is remembered; the one asked about longest ago is forgotten.
const DECISIONS: usize = 256 * 1024;
/// Topics that have a bucket; likewise.
const TOPICS: usize = 4096;

/// The limits, and how far they are used up.
#[derive(Debug)]
pub(crate) struct RateLimits {
    rules: Vec<Rule>,
    buckets: LruCache<Arc<str>, Option<Bucket>>,
    decisions: LruCache<TraceId, bool>,
}

#[derive(Debug)]
struct Rule {
    topics: GlobMatcher,
    per_second: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Timestamp,
    /// It was said that it ran dry.
    said: bool,
}

impl RateLimits {
    /// By the settings.
    pub(crate) fn new(settings: &Sampling) -> Result<RateLimits, Error> {
        let mut patterns: Vec<_> = settings.max_messages_per_second.iter().collect();
        // the longest pattern says most about a topic
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        let rule = |(pattern, per_second): (&String, &f64)| {
            let topics = match pattern.parse::<Pattern>() {
                Ok(pattern) => pattern.glob().compile_matcher(),
                // the settings have been checked
                Err(_) => globset::Glob::new(&globset::escape(pattern))?.compile_matcher(),
            };
            Ok(Rule {
                topics,
                per_second: *per_second,
            })
        };
        Ok(RateLimits {
            rules: patterns.into_iter().map(rule).collect::<Result<_, Error>>()?,
            buckets: LruCache::new(TOPICS),
            decisions: LruCache::new(DECISIONS),
        })
    }

    /// Whether a span is kept: with one of the messages that it is about.
    pub(crate) fn keeps(&mut self, span: &Span) -> bool {
        self.rules.is_empty() || sampling::deciding(span).any(|message| self.decide(message.trace_id, span))
    }

    fn decide(&mut self, message: TraceId, span: &Span) -> bool {
        if let Some(kept) = self.decisions.get(&message) {
            return *kept;
        }
        let rules = &self.rules;
        let bucket = self.buckets.entry(span.topic.clone()).or_insert_with(|| {
            let rule = rules.iter().find(|rule| rule.topics.is_match(&*span.topic))?;
            Some(Bucket::new(rule.per_second, span.end))
        });
        let kept = match bucket {
            Some(bucket) => bucket.take(span),
            None => return true,
        };
        self.decisions.insert(message, kept);
        kept
    }
}

impl Bucket {
    fn new(per_second: f64, now: Timestamp) -> Bucket {
        Bucket {
            per_second,
            tokens: Bucket::capacity(per_second),
            filled: now,
            said: false,
        }
    }

    /// One second's worth, at least one message unless the limit is none at all.
    fn capacity(per_second: f64) -> f64 {
        if per_second > 0.0 {
            per_second.max(1.0)
        } else {
            0.0
        }
    }

    /// Takes a token, if there is one.
    fn take(&mut self, span: &Span) -> bool {
        // spans come out in about the order of their ends
        let passed = span.end.since(self.filled).as_secs_f64();
        self.filled = self.filled.max(span.end);
        self.tokens = (self.tokens + passed * self.per_second).min(Bucket::capacity(self.per_second));
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        if !self.said {
            self.said = true;
            tracing::info!(
                topic = &*span.topic,
                per_second = self.per_second,
                "more messages than the limit allows; those beyond it make no spans"
            );
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tracer_core::{ids, model::Link};

    use super::*;

    fn limits(rates: &[(&str, f64)]) -> RateLimits {
        let rates: BTreeMap<_, _> = rates.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect();
        RateLimits::new(&Sampling {
            max_messages_per_second: rates,
            ..Sampling::default()
        })
        .unwrap()
    }

    /// A span of message `n` of a topic that ends at a millisecond.
    fn span(topic: &str, n: u32, ms: u64) -> Span {
        Span {
            context: ids::creation_context(&n.to_be_bytes()),
            end: Timestamp(ms * 1_000_000),
            ..crate::export::sample::span(topic, None)
        }
    }

    #[test]
    fn the_longest_pattern_counts_and_a_topic_without_one_is_free() {
        let mut limits = limits(&[("*-b", 0.0), ("orders-*", 2.0), ("x", 1.0)]);
        let kept = |limits: &mut RateLimits, topic, from: u32| {
            (from..from + 10)
                .filter(|n| limits.keeps(&span(topic, *n, 0)))
                .count()
        };
        assert_eq!(kept(&mut limits, "orders-b", 0), 2);
        assert_eq!(kept(&mut limits, "orders-a", 100), 2);
        assert_eq!(kept(&mut limits, "b-b", 200), 0);
        assert_eq!(kept(&mut limits, "x", 300), 1);
        assert_eq!(kept(&mut limits, "y", 400), 10);
    }

    #[test]
    fn buckets_fill_with_time() {
        let mut limits = limits(&[("*", 0.5)]);
        let mut at = |n, ms| limits.keeps(&span("t", n, ms));
        assert!(at(1, 0));
        assert!(!at(2, 1_999));
        assert!(at(3, 2_000));
        assert!(!at(4, 1_000), "an older span gives no time");
        assert!(at(5, 4_000));
    }

    #[test]
    fn what_concerns_several_messages_goes_with_the_first_that_is_kept() {
        let mut limits = limits(&[("*", 1.0)]);
        assert!(limits.keeps(&span("t", 1, 0)));
        assert!(!limits.keeps(&span("t", 2, 0)));
        let link = |n: u32| Link {
            context: ids::creation_context(&n.to_be_bytes()),
            attributes: Vec::new(),
        };
        let batch = |numbers: &[u32]| Span {
            links: numbers.iter().map(|n| link(*n)).collect(),
            ..span("t", 99, 0)
        };
        assert!(limits.keeps(&batch(&[2, 1])));
        assert!(!limits.keeps(&batch(&[2, 3])));
    }

    proptest! {
        /// However spans of messages are mixed: all of a message's are kept or none, and not more than the rate allows.
        #[test]
        fn one_decision_for_each_message(
            rate in 0.0..50.0,
            spans in prop::collection::vec((0_u32..40, 0_u64..20), 1..200),
        ) {
            let mut limits = limits(&[("*", rate)]);
            let (mut decided, mut now) = (BTreeMap::new(), 0);
            for (message, wait) in spans {
                now += wait;
                let kept = limits.keeps(&span("t", message, now));
                prop_assert_eq!(*decided.entry(message).or_insert(kept), kept);
            }
            let kept = decided.values().filter(|kept| **kept).count() as f64;
            prop_assert!(kept <= rate.max(1.0) + rate * now as f64 / 1e3 + 1e-6);
        }
    }
}
