//! Frames of RocketMQ remoting, put together by hand.

/// A frame with this JSON header and a body of so many bytes (docs/protocol.md §1.1).
pub fn json(header: &str, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + header.len() + body);
    out.extend(((4 + header.len() + body) as u32).to_be_bytes());
    // the codec, JSON, is the top byte: 0
    out.extend((header.len() as u32).to_be_bytes());
    out.extend(header.as_bytes());
    out.resize(out.len() + body, b'.');
    out
}
