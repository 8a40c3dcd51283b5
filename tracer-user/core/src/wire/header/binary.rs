//! The binary header (§1.3).
//!
//! ```text
//! code i16 · language u8 · version i16 · opaque i32 · flag i32 · R u32 · remark[R] · E u32 · entries[E]
//! entry: key length u16 · key · value length u32 · value
//! ```

use std::{ops::Range, sync::Arc};

use super::{Fields, Header, Text, text::Escapes};
use crate::wire::{Language, Malformed};

/// POP-family request codes do not fit into 16 bits and travel modulo 65536.
const POP_TRUNCATED: std::ops::RangeInclusive<i32> = 3442..=3545;
/// What the truncation takes away from them.
const POP_BASE: i32 = 3 << 16;

pub(super) fn parse(raw: Arc<[u8]>) -> Result<Header, Malformed> {
    let mut reader = Reader { raw: &raw, at: 0 };
    let what = "header fields";
    let code = i32::from(i16::from_be_bytes(reader.array(what)?));
    let [language] = reader.array(what)?;
    let version = i16::from_be_bytes(reader.array(what)?);
    let opaque = i32::from_be_bytes(reader.array(what)?);
    let flag = i32::from_be_bytes(reader.array(what)?);
    let remark_length = u32::from_be_bytes(reader.array("remark")?);
    let remark = reader.range(remark_length, "remark")?;
    let length = u32::from_be_bytes(reader.array("extFields length")?);
    // the identity H == 21 + R + E
    if raw.len() - reader.at != length as usize {
        return Err(reader.fault("extFields length"));
    }
    let fields = reader.entries()?;
    let pop = flag & 1 == 0 && POP_TRUNCATED.contains(&code);
    Ok(Header {
        code: if pop { code + POP_BASE } else { code },
        language: Language(language),
        version: version.into(),
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| Text::new(remark, Escapes::None)),
        fields,
        raw,
    })
}

/// Reads from the front.
struct Reader<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn entries(&mut self) -> Result<Fields, Malformed> {
        let mut fields = Fields::default();
        while self.at < self.raw.len() {
            let entry = self.at;
            let what = "extFields entry";
            let length = u16::from_be_bytes(self.array(what)?);
            let key = self.range(length.into(), what)?;
            let length = u32::from_be_bytes(self.array(what)?);
            let value = self.range(length, what)?;
            let wrong = |what| Err(Malformed { what, at: entry });
            if fields.is_full() {
                return wrong("number of extFields");
            }
            let bytes = self.raw.get(key.clone()).unwrap_or_default();
            if !bytes.iter().all(u8::is_ascii_graphic) {
                return wrong("extFields key");
            }
            // Java reads an empty key as null: no field
            if !key.is_empty() {
                fields.push(
                    self.raw,
                    Text::new(key, Escapes::None),
                    Text::new(value, Escapes::None),
                );
            }
        }
        Ok(fields)
    }

    /// The next `N` bytes, which are a number.
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk() else {
            return Err(self.fault(what));
        };
        self.at += N;
        Ok(*bytes)
    }

    /// Where the next `length` bytes stand.
    fn range(&mut self, length: u32, what: &'static str) -> Result<Range<usize>, Malformed> {
        let end = self.at.saturating_add(length as usize);
        if end > self.raw.len() {
            return Err(self.fault(what));
        }
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    #[cold]
    fn fault(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }
}
