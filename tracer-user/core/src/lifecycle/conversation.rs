//! Requests that a reply may come to (§6.1): a reply carries the CORRELATION_ID of its request, so it belongs into
//! the request's trace.

use std::sync::Arc;

use hashlink::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::trace::{Origin, Trace};
use crate::{engine::limits, model::SpanContext};

/// A request's place in a trace.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) creation: SpanContext,
    pub(crate) state: Option<Arc<str>>,
    pub(crate) origin: Origin,
}

/// Requests that were sent or delivered, by correlation id. Bounded; the one used longest ago is forgotten.
#[derive(Debug)]
pub(crate) struct Conversations(LruCache<u128, Request>);

impl Conversations {
    pub(crate) fn new() -> Conversations {
        Conversations(LruCache::new(limits::CONVERSATIONS))
    }

    /// Takes in a request. One without a place in a trace is none.
    pub(crate) fn note(&mut self, correlation_id: Option<&str>, trace: &Trace) {
        if let (Some(id), Some(creation)) = (correlation_id, trace.creation) {
            let request = Request {
                creation,
                state: trace.state.clone(),
                origin: trace.origin,
            };
            self.0.insert(xxh3_128(id.as_bytes()), request);
        }
    }

    /// The request that a reply answers.
    pub(crate) fn find(&mut self, correlation_id: &str) -> Option<Request> {
        self.0.get(&xxh3_128(correlation_id.as_bytes())).cloned()
    }
}
