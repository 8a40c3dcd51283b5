//! Trace and span ids, computed from the message id, so that tracers that never talk to each other agree.
//!
//! With `K` the message id as it stands on the wire, byte for byte:
//!
//! ```text
//! trace id   XXH3_128(K), seed 0, big-endian
//! send span  XXH3_64(K 00 "send"), seed 0, big-endian
//! ```
//!
//! SkyWalking's ids are texts. Ids of the right size are computed from them likewise:
//!
//! ```text
//! trace id   XXH3_128(trace id), big-endian
//! span id    XXH3_64(segment id 00 span id in decimal), big-endian
//! ```
//!
//! An all-zero result, which OpenTelemetry does not allow, gets its last byte set to 1. The derivation is
//! public and stable: a change is a breaking change.

use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::model::{SpanContext, SpanId, TraceId};

/// The trace of the message `key`.
pub fn trace_id(key: &[u8]) -> TraceId {
    TraceId(non_zero(xxh3_128(key).to_be_bytes()))
}

/// The span of the first attempt to send the message `key` that succeeded.
pub fn send_span_id(key: &[u8]) -> SpanId {
    let mut input = SmallVec::<[u8; 64]>::from_slice(key);
    input.extend_from_slice(b"\0send");
    SpanId(non_zero(xxh3_64(&input).to_be_bytes()))
}

/// What a message `key` without a carried context is the child of, wherever it is seen.
pub fn creation_context(key: &[u8]) -> SpanContext {
    SpanContext {
        trace_id: trace_id(key),
        span_id: send_span_id(key),
        flags: None,
    }
}

/// The context that a SkyWalking agent means by a trace id, a segment id and the number of a span in the segment.
pub fn skywalking_context(trace: &[u8], segment: &[u8], span: u32) -> SpanContext {
    let mut input = segment.to_vec();
    input.push(0);
    input.extend_from_slice(span.to_string().as_bytes());
    SpanContext {
        trace_id: trace_id(trace),
        span_id: SpanId(non_zero(xxh3_64(&input).to_be_bytes())),
        flags: None,
    }
}

/// A generator of ids for everything that is not derived. The same seed gives the same ids; it is no source of
/// secrets.
#[derive(Debug)]
pub struct Generator(fastrand::Rng);

impl Generator {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Generator {
        Generator(fastrand::Rng::with_seed(seed))
    }

    /// A trace id; never zero.
    pub fn trace_id(&mut self) -> TraceId {
        TraceId(non_zero(self.0.u128(..).to_be_bytes()))
    }

    /// A span id; never zero.
    pub fn span_id(&mut self) -> SpanId {
        SpanId(non_zero(self.0.u64(..).to_be_bytes()))
    }
}

fn non_zero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes == [0; N]
        && let Some(last) = bytes.last_mut()
    {
        *last = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        for (key, trace, span) in [
            (
                "7F0000010A1B18B4AAC2012345670000",
                "6e23fd1dfafa0f310659bca29ea4522c",
                "de5ebaf55853c709",
            ),
            (
                "240E03B1A0C2000000000000000000010A1B18B4AAC2012345670001",
                "9e50a86c883f403b7ff8e93f03e3c8bf",
                "8fc5805b7c7a7d04",
            ),
            (
                "ac11000100002a9f0000000a1b2c3d4e",
                "bf6608f33d405eafa92fda5fe1315fee",
                "6613b0f58958e8e9",
            ),
        ] {
            assert_eq!(trace_id(key.as_bytes()).to_string(), trace, "{key}");
            assert_eq!(send_span_id(key.as_bytes()).to_string(), span, "{key}");
        }
    }

    #[test]
    fn golden_skywalking() {
        let trace = b"1f6a6e2f4e5b4b6c8d3a6b1c2d3e4f50.42.17319876543210001";
        let segment = b"1f6a6e2f4e5b4b6c8d3a6b1c2d3e4f50.42.17319876543210000";
        let context = skywalking_context(trace, segment, 3);
        assert_eq!(context.trace_id.to_string(), "8d5eb67bb6c2c5a1a8876b749b177a42");
        assert_eq!(context.span_id.to_string(), "79003a77a2d54073");
    }

    #[test]
    fn keys_are_not_folded() {
        assert_ne!(trace_id(b"0A01"), trace_id(b"0a01"));
    }

    #[test]
    fn zero_is_avoided() {
        assert_eq!(non_zero([0; 8]), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(non_zero([7, 0]), [7, 0]);
    }

    #[test]
    fn a_seed_repeats_itself() {
        let ids = |seed| {
            let mut generator = Generator::new(seed);
            (generator.trace_id(), generator.span_id(), generator.span_id())
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        let (_, a, b) = ids(1);
        assert_ne!(a, b);
    }
}
