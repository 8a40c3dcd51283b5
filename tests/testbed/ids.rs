//! The ids that a message's key gives, computed here a second time: the tests must not trust the code under test.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Trace id of the message with this key, in lower-case hex: `XXH3_128(K)`, big-endian.
pub fn trace_id(key: &str) -> String {
    format!("{:032x}", xxh3_128(key.as_bytes()).max(1))
}

/// Span id of the message's first successful send: `XXH3_64(K ‖ 00 ‖ "send")`.
pub fn send_span_id(key: &str) -> String {
    let bytes = [key.as_bytes(), b"\0send"].concat();
    format!("{:016x}", xxh3_64(&bytes).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        let key = "7F0000010A1B18B4AAC2012345670000";
        assert_eq!(trace_id(key), "6e23fd1dfafa0f310659bca29ea4522c");
        assert_eq!(send_span_id(key), "de5ebaf55853c709");
    }
}
