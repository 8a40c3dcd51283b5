//! What the wire tests share: vectors, builders of frames, and ways to run bytes through a stream.
#![allow(dead_code, reason = "each test binary uses its part")]

use tracer_core::{
    model::Timestamp,
    stream::{Counters, Event, Gap, Stream},
    wire::Frame,
};

/// The bytes of a vector of the specification (§7).
pub(crate) fn vector(n: u32) -> Vec<u8> {
    let path = format!("{}/tests/vectors/t{n:02}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a vector");
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| char::from(d).to_digit(16).expect("a hex digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The vectors that are frames: all but the trace records of T21.
pub(crate) fn frame_vectors() -> Vec<Vec<u8>> {
    (1..=22).filter(|n| *n != 21).map(vector).collect()
}

/// A frame with a JSON header.
pub(crate) fn json_frame(code: i32, opaque: i32, flag: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let quote = |s: &str| serde_json::Value::from(s).to_string();
    let fields: Vec<String> = fields
        .iter()
        .map(|(k, v)| format!("{}:{}", quote(k), quote(v)))
        .collect();
    let header = format!(
        "{{\"code\":{code},\"extFields\":{{{}}},\"flag\":{flag},\"language\":\"JAVA\",\"opaque\":{opaque},\"version\":479}}",
        fields.join(",")
    );
    envelope(0, header.as_bytes(), body)
}

/// A frame with a binary header.
pub(crate) fn binary_frame(
    code: i16,
    opaque: i32,
    flag: i32,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut ext = Vec::new();
    for (key, value) in fields {
        ext.extend((key.len() as u16).to_be_bytes());
        ext.extend(key.as_bytes());
        ext.extend((value.len() as u32).to_be_bytes());
        ext.extend(value.as_bytes());
    }
    let mut header = code.to_be_bytes().to_vec();
    header.extend([0, 1, 0xdf]);
    header.extend(opaque.to_be_bytes());
    header.extend(flag.to_be_bytes());
    header.extend([0; 4]);
    header.extend((ext.len() as u32).to_be_bytes());
    header.extend(ext);
    envelope(1, &header, body)
}

fn envelope(kind: u32, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend((kind << 24 | header.len() as u32).to_be_bytes());
    frame.extend(header);
    frame.extend(body);
    frame
}

/// A stored message (§4.1) with IPv4 hosts; V2 where the topic needs it.
pub(crate) fn stored(queue_offset: i64, topic: &str, properties: &str, body: &[u8]) -> Vec<u8> {
    let v2 = topic.len() > 127;
    let total = 91 + usize::from(v2) + body.len() + topic.len() + properties.len();
    let mut out = (total as u32).to_be_bytes().to_vec();
    out.extend(if v2 { 0xdaa3_20abu32 } else { 0xdaa3_20a7 }.to_be_bytes());
    out.extend([0; 12]);
    out.extend(queue_offset.to_be_bytes());
    out.extend((queue_offset * 1000).to_be_bytes());
    out.extend([0; 4]);
    for host in [[10, 0, 0, 1], [10, 0, 0, 2]] {
        out.extend(1_758_272_400_123i64.to_be_bytes());
        out.extend(host);
        out.extend(10911u32.to_be_bytes());
    }
    out.extend([0; 12]);
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    if v2 {
        out.extend((topic.len() as u16).to_be_bytes());
    } else {
        out.push(topic.len() as u8);
    }
    out.extend(topic.as_bytes());
    out.extend((properties.len() as u16).to_be_bytes());
    out.extend(properties.as_bytes());
    assert_eq!(out.len(), total);
    out
}

/// A record of a batch send (§4.5).
pub(crate) fn batch(properties: &str, body: &[u8]) -> Vec<u8> {
    let mut out = ((22 + body.len() + properties.len()) as u32)
        .to_be_bytes()
        .to_vec();
    out.extend([0; 12]);
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    out.extend((properties.len() as u16).to_be_bytes());
    out.extend(properties.as_bytes());
    out
}

/// The time that the tests give to the operation that moves the byte at `offset`: they run 10 ns each.
pub(crate) fn times(offset: u64) -> (Timestamp, Timestamp) {
    (Timestamp(1_000 + 100 * offset), Timestamp(1_010 + 100 * offset))
}

/// A stream, and what came out of it.
pub(crate) struct Run {
    pub(crate) stream: Stream,
    pub(crate) frames: Vec<Frame>,
    pub(crate) gaps: Vec<Gap>,
}

impl Run {
    pub(crate) fn new() -> Run {
        Run {
            stream: Stream::starting_at(0),
            frames: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Bytes at an offset.
    pub(crate) fn push(&mut self, offset: usize, bytes: &[u8]) -> &mut Run {
        self.push_range(offset, bytes.len(), bytes)
    }

    /// A range of which `bytes` are the first.
    pub(crate) fn push_range(&mut self, offset: usize, length: usize, bytes: &[u8]) -> &mut Run {
        let (start, end) = times(offset as u64);
        self.stream.push(offset as u64, length as u32, bytes, start, end);
        self.poll()
    }

    pub(crate) fn flush(&mut self) -> &mut Run {
        self.stream.flush();
        self.poll()
    }

    pub(crate) fn poll(&mut self) -> &mut Run {
        while let Some(event) = self.stream.poll() {
            match event {
                Event::Frame(frame) => self.frames.push(frame),
                Event::Gap(gap) => self.gaps.push(gap),
            }
        }
        self
    }

    pub(crate) fn counters(&self) -> Counters {
        self.stream.counters()
    }

    pub(crate) fn opaques(&self) -> Vec<i32> {
        self.frames.iter().map(|f| f.header.opaque).collect()
    }
}

/// The frames of a whole stream, in one range.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut run = Run::new();
    run.push(0, bytes).flush();
    assert_eq!(run.gaps, []);
    run.frames
}

/// The one frame that `bytes` are.
pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let mut frames = frames(bytes);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

/// Frames without their times, which depend on how the bytes were moved.
pub(crate) fn timeless(frames: &[Frame]) -> Vec<Frame> {
    let zero = Timestamp::default();
    frames
        .iter()
        .map(|f| Frame {
            start: zero,
            end: zero,
            ..f.clone()
        })
        .collect()
}
