//! The header of a frame in both codecs: JSON (§1.2) and binary (§1.3).
//!
//! A header keeps its raw bytes. Remark and `extFields` are ranges in them: parsing copies nothing, and
//! allocates only for more fields than known clients send. A field's JSON escapes are resolved where they stand, so
//! that properties can be shared; what takes more room than its escape is unescaped when it is asked for. Text that
//! is not UTF-8 comes with replacement characters.
//!
//! Limits: the number of fields, and the nesting bound of the JSON scanner.

mod binary;
mod fields;
mod json;
mod text;

use std::{borrow::Cow, fmt, sync::Arc};

use self::{fields::Fields, text::Text};
use super::{Language, Malformed, Properties, RequestCode, ResponseCode};

/// Fields that [`fmt::Debug`] shows without their value (§2.1).
const SECRETS: [&str; 3] = ["AccessKey", "Signature", "SecurityToken"];

/// How a header is written; each frame says for itself (§1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// A JSON object.
    Json,
    /// RocketMQ's binary form.
    Binary,
}

impl Codec {
    /// The codec of a serialize type, byte 4 of a frame (§1.1).
    pub fn from_wire(serialize_type: u8) -> Option<Codec> {
        match serialize_type {
            0 => Some(Codec::Json),
            1 => Some(Codec::Binary),
            _ => None,
        }
    }
}

/// A decoded header. Owns the raw bytes; fields are ranges in them, nothing is copied but escaped text.
#[derive(Clone, PartialEq)]
pub struct Header {
    raw: Arc<[u8]>,
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
    fields: Fields,
}

impl Header {
    /// Decodes a header; `raw` is exactly its bytes, without the envelope. Bytes that nobody else has are used as they
    /// are.
    ///
    /// # Errors
    /// [`Malformed`] where `raw` is no header of that codec, lacks `code`, `opaque` or `flag` (§1.8), or is
    /// over the module's limits.
    pub fn parse(codec: Codec, raw: impl Into<Arc<[u8]>>) -> Result<Header, Malformed> {
        let raw = raw.into();
        match codec {
            Codec::Json => json::parse(raw),
            Codec::Binary => binary::parse(raw),
        }
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

    /// The remark, where there is one; Go and C++ always send one, mostly empty (§1.2).
    pub fn remark(&self) -> Option<Cow<'_, str>> {
        self.remark.map(|t| t.decode(&self.raw))
    }

    /// A field of `extFields` by name; the last one where a name is repeated (§1.3). An empty value is an
    /// empty text in both codecs; numbers and booleans come as they are written. JSON's `null` is no field.
    pub fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(name).map(|t| t.decode(&self.raw))
    }

    /// A field as a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.find(name)?.int(&self.raw)
    }

    /// A field as Java reads a boolean: `true` in any case, else `false`. `None` where there is no such field.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.find(name).map(|text| text.is_true(&self.raw))
    }

    /// All fields in the order of the wire, repeated ones too.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.fields
            .iter()
            .map(|(k, v)| (k.decode(&self.raw), v.decode(&self.raw)))
    }

    /// The message properties of a send: field `i` of the short form, `properties` of the long one (§2.2).
    /// Shares the header's bytes where they hold no escape.
    pub fn properties(&self) -> Option<Properties> {
        let text = self.find("i").or_else(|| self.find("properties"))?;
        Some(Properties(text.bytes(&self.raw)))
    }

    fn find(&self, name: &str) -> Option<Text> {
        self.fields.find(&self.raw, name)
    }
}

/// Credentials are not shown.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Shown<'a>(&'a Header);
        impl fmt::Debug for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let hidden = |key: &str| SECRETS.iter().any(|s| s.eq_ignore_ascii_case(key));
                f.debug_map()
                    .entries(
                        self.0
                            .fields()
                            .map(|(k, v)| if hidden(&k) { (k, "…".into()) } else { (k, v) }),
                    )
                    .finish()
            }
        }
        f.debug_struct("Header")
            .field("code", &self.code)
            .field("language", &self.language)
            .field("version", &self.version)
            .field("opaque", &self.opaque)
            .field("flag", &self.flag)
            .field("remark", &self.remark())
            .field("fields", &Shown(self))
            .finish()
    }
}

#[cfg(test)]
mod tests;
