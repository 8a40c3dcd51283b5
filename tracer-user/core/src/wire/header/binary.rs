//! The binary header (§1.3).
//!
//! ```text
//! code i16 · language u8 · version i16 · opaque i32 · flag i32 · R u32 · remark[R] · E u32 · entries[E]
//! entry: key length u16 · key · value length u32 · value
//! ```

use bytes::Bytes;
use nom::{
    Parser,
    bytes::complete::take,
    error::context,
    multi::length_data,
    number::complete::{be_i16, be_i32, be_u8, be_u16, be_u32},
};

use super::{Fields, Header, MAX_FIELDS, Text};
use crate::wire::{
    Language, Malformed,
    parse::{Fault, Parsed, finish},
};

/// POP-family request codes do not fit into 16 bits and travel modulo 65536.
const POP_TRUNCATED: std::ops::RangeInclusive<i32> = 3442..=3545;
/// What the truncation takes away from them.
const POP_BASE: i32 = 3 << 16;

pub(super) fn parse(raw: Bytes) -> Result<Header, Malformed> {
    let header = finish(&raw, "binary header", header(&raw))?;
    Ok(Header { raw, ..header })
}

fn header(raw: &[u8]) -> Parsed<'_, Header> {
    let (rest, (code, language, version, opaque, flag)) =
        context("header fields", (be_i16, be_u8, be_i16, be_i32, be_i32)).parse(raw)?;
    let (rest, remark) = context("remark", length_data(be_u32)).parse(rest)?;
    let (rest, length) = context("extFields length", be_u32).parse(rest)?;
    // the identity H == 21 + R + E
    if rest.len() != length as usize {
        return Err(Fault::at(rest, "extFields length"));
    }
    let (rest, fields) = entries(raw, rest)?;
    let code = i32::from(code);
    let pop = flag & 1 == 0 && POP_TRUNCATED.contains(&code);
    let header = Header {
        raw: Bytes::new(),
        code: if pop { code + POP_BASE } else { code },
        language: Language(language),
        version: version.into(),
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| Text::of(raw, remark, false)),
        fields,
    };
    Ok((rest, header))
}

fn entries<'a>(raw: &[u8], mut rest: &'a [u8]) -> Parsed<'a, Fields> {
    let mut fields = Fields::new();
    while !rest.is_empty() {
        let entry = rest;
        let (key, value);
        (rest, (key, value)) = context("extFields entry", (length_data(be_u16), value_bytes)).parse(entry)?;
        if fields.len() == MAX_FIELDS {
            return Err(Fault::at(entry, "number of extFields"));
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(Fault::at(entry, "extFields key"));
        }
        // Java reads an empty key as null: no field
        if !key.is_empty() {
            fields.push((Text::of(raw, key, false), Text::of(raw, value, false)));
        }
    }
    Ok((rest, fields))
}

fn value_bytes(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = be_u32(input)?;
    take(length).parse(rest)
}
