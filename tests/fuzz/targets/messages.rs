//! Stored messages and batch records: by themselves, and as the body of a pull answer or a send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{
    model::Timestamp,
    stream::{Event, Stream},
    wire::{BatchMessage, Body, StoredMessage},
};

fn frame(header: &str, body: &[u8]) -> Vec<u8> {
    let length = (4 + header.len() + body.len()) as u32;
    let head = (header.len() as u32).to_be_bytes();
    [&length.to_be_bytes(), &head, header.as_bytes(), body].concat()
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = StoredMessage::parse(bytes) {
        assert!(message.body_length as usize <= bytes.len());
        assert!(message.topic.len() + message.properties.0.len() <= 3 * bytes.len());
        let _ = (message.offset_message_id(), message.system_flags().compression());
    }
    if let Ok(message) = BatchMessage::parse(bytes) {
        assert!(message.body_length as usize <= bytes.len());
    }
    let answer = r#"{"code":0,"extFields":{"nextBeginOffset":"1"},"flag":1,"language":"JAVA","opaque":1,"version":513}"#;
    let send = r#"{"code":320,"extFields":{"a":"g","b":"t","m":"true"},"flag":0,"language":"JAVA","opaque":1,"version":513}"#;
    for header in [answer, send] {
        let frame = frame(header, bytes);
        let mut stream = Stream::starting_at(0);
        stream.push(0, frame.len() as u32, &frame, Timestamp(1), Timestamp(1));
        let mut seen = 0;
        while let Some(event) = stream.poll() {
            let Event::Frame(frame) = event else { continue };
            seen += 1;
            let kept: usize = match &frame.body {
                Body::Messages(messages) => messages
                    .iter()
                    .map(|m| m.topic.len() + m.properties.0.len())
                    .sum(),
                Body::Batch(messages) => messages.iter().map(|m| m.properties.0.len()).sum(),
                Body::Raw(raw) => raw.len(),
                Body::Empty | Body::Skipped(_) => 0,
            };
            // what is no UTF-8 becomes a character of three bytes
            assert!(kept <= 3 * bytes.len(), "more is kept than there was");
        }
        assert_eq!(seen, 1, "a body never costs its frame");
    }
});
