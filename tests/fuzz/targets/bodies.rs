//! Bodies in JSON, and texts with a structure of their own: heartbeat, batch ack, pop handle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::wire::{
    Heartbeat,
    pop::{BatchAck, Handle, Kind},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(heartbeat) = Heartbeat::parse(bytes) {
        assert!(heartbeat.client_id.len() <= 3 * bytes.len());
    }
    if let Ok(batch) = BatchAck::parse(bytes) {
        for ack in &batch.acks {
            assert!(ack.offsets().count() <= 8 * bytes.len());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Handle::parse(text);
        if let Some((group, topic)) = text.split_once('\n') {
            let (kind, asked) = Kind::of_topic(topic, group);
            assert!(topic.ends_with(asked));
            assert!(kind != Kind::Normal || asked == topic);
        }
    }
});
