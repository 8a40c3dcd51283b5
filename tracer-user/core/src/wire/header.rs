//! The header of a frame in both codecs: JSON (§1.2) and binary (§1.3).

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Language, Malformed, RequestCode, ResponseCode};

/// How a header is written; each frame says for itself (§1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// A JSON object.
    Json,
    /// RocketMQ's binary form.
    Binary,
}

/// A decoded header. Owns the raw bytes; fields are ranges in them, nothing is copied but escaped text.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    raw: Bytes,
    /// Request code or response code, by bit 0 of `flag`.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Version ordinal of the sender (§1.6).
    pub version: i32,
    /// Correlation id.
    pub opaque: i32,
    /// Bit 0 response, bit 1 one-way (§1.4).
    pub flag: i32,
    remark: Option<Text>,
    fields: SmallVec<[(Text, Text); 18]>,
}

/// A range of `raw`, and whether JSON escapes are left in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Text {
    start: u32,
    end: u32,
    escaped: bool,
}

impl Header {
    /// Decodes a header.
    pub fn parse(codec: Codec, raw: Bytes) -> Result<Header, Malformed> {
        let _ = (codec, raw);
        Err(Malformed { what: "header", at: 0 })
    }

    /// Bit 0: this answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & 1 != 0
    }

    /// Bit 1 without bit 0: nobody will answer.
    pub fn is_one_way(&self) -> bool {
        self.flag & 3 == 2
    }

    /// The code as a request's.
    pub fn request_code(&self) -> RequestCode {
        RequestCode(self.code)
    }

    /// The code as a response's.
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode(self.code)
    }

    /// The remark, where there is one.
    pub fn remark(&self) -> Option<Cow<'_, str>> {
        self.remark.map(|t| self.text(t))
    }

    /// A field of `extFields` by name; the last one where a name is repeated (§1.3). Empty values are `None`
    /// in neither codec; numbers and booleans come as text.
    pub fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        let _ = name;
        None
    }

    /// A field as a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.field(name)?.trim().parse().ok()
    }

    fn text(&self, text: Text) -> Cow<'_, str> {
        let _ = (text.start, text.end, text.escaped, &self.raw, &self.fields);
        Cow::Borrowed("")
    }
}
