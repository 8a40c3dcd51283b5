//! Frames: the golden ones of the protocol's specification, and more of their kind.

use std::fs;

/// The bytes of a vector of the specification (§7).
///
/// # Panics
/// Where there is no such vector.
pub fn vector(n: u32) -> Vec<u8> {
    let path = format!(
        "{}/../../tracer-user/core/tests/vectors/t{n:02}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|digit| char::from(digit).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A send of Java's with a JSON header: keys, tag and W3C context among its properties.
pub fn json_send() -> Vec<u8> {
    vector(1)
}

/// A send of Java's with a binary header.
pub fn binary_send() -> Vec<u8> {
    vector(3)
}

/// The answer to a pull that brings this many messages.
pub fn pull_answer(messages: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..messages as i64)
        .flat_map(|n| Stored::new("OrderTopic", n).bytes())
        .collect();
    json(
        0,
        1,
        21,
        &[
            ("nextBeginOffset", "1266"),
            ("maxOffset", "1266"),
            ("minOffset", "0"),
            ("suggestWhichBrokerId", "0"),
        ],
        &body,
    )
}

/// The header of a frame, without the envelope.
pub fn header(frame: &[u8]) -> &[u8] {
    let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    &frame[8..8 + length]
}

/// A frame with a JSON header, whose keys stand in the order of Java's.
pub fn json(code: i32, flag: i32, opaque: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":\"{}\"", escaped(value)))
        .collect();
    let header = format!(
        "{{\"code\":{code},\"extFields\":{{{}}},\"flag\":{flag},\"language\":\"JAVA\",\"opaque\":{opaque},\
         \"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}}",
        fields.join(",")
    );
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header.as_bytes());
    frame.extend(body);
    frame
}

/// JSON's escapes for the separators of properties.
fn escaped(value: &str) -> String {
    value.replace('\u{1}', "\\u0001").replace('\u{2}', "\\u0002")
}

/// The properties that a producer gives the `n`th message: its id, keys, tag and, of every second one, a context.
pub fn properties(n: i64) -> String {
    let mut text = format!(
        "KEYS\u{1}order-{n}\u{2}UNIQ_KEY\u{1}{}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
        message_id(n)
    );
    if n % 2 == 0 {
        text += &format!("traceparent\u{1}00-4bf92f3577b34da6a3ce929d{n:08x}-00f067aa0ba902b7-01\u{2}");
    }
    text
}

/// An id in the form that Java makes.
pub fn message_id(n: i64) -> String {
    format!("0A010203001A18B4AAC2{n:012X}")
}

/// A message of the commit log (§4.1).
pub struct Stored<'a> {
    topic: &'a str,
    offset: i64,
    body: usize,
}

impl<'a> Stored<'a> {
    /// The message at this offset of its queue, with a body of 1 KiB.
    pub fn new(topic: &'a str, offset: i64) -> Stored<'a> {
        Stored {
            topic,
            offset,
            body: 1024,
        }
    }

    /// Bytes of its body.
    pub fn body(&self) -> usize {
        self.body
    }

    /// What stands before the body.
    pub fn head(&self) -> Vec<u8> {
        let tail = self.tail().len();
        let mut out = ((88 + self.body + tail) as u32).to_be_bytes().to_vec();
        out.extend(0xdaa3_20a7_u32.to_be_bytes());
        out.extend([0; 4]);
        out.extend(2_i32.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.offset.to_be_bytes());
        out.extend((self.offset * 1300).to_be_bytes());
        out.extend([0; 4]);
        for host in [[10, 1, 2, 3], [192, 168, 0, 10]] {
            out.extend(1_758_272_400_123_i64.to_be_bytes());
            out.extend(host);
            out.extend(10911_u32.to_be_bytes());
        }
        out.extend([0; 12]);
        out.extend((self.body as u32).to_be_bytes());
        out
    }

    /// What stands behind it.
    pub fn tail(&self) -> Vec<u8> {
        let properties = properties(self.offset)
            + "CLUSTER\u{1}DefaultCluster\u{2}MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}";
        let mut out = vec![self.topic.len() as u8];
        out.extend(self.topic.as_bytes());
        out.extend((properties.len() as u16).to_be_bytes());
        out.extend(properties.as_bytes());
        out
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), vec![b'x'; self.body], self.tail()].concat()
    }
}
