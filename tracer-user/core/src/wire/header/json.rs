//! The JSON header (§1.2): a tolerant scanner that notes where things are.
//!
//! Java, Go, C++ and the smaller clients differ in key order, in the keys they send, in whether values of
//! `extFields` are strings, and in what follows the object; all of it is accepted. Keys that mean nothing here
//! are skipped with whatever value they have, down to [`MAX_DEPTH`] levels.

use bytes::Bytes;
use nom::{
    Parser,
    branch::alt,
    bytes::complete::{tag, take_till, take_while, take_while1},
    character::complete::char as one,
    error::context,
};

use super::{Fields, Header, MAX_FIELDS, Text};
use crate::wire::{
    Language, Malformed,
    parse::{Fault, Parsed, finish},
};

/// Deepest nesting of arrays and objects in a value that is skipped.
const MAX_DEPTH: u32 = 32;

/// A string between its quotes.
#[derive(Clone, Copy)]
struct Str<'a> {
    raw: &'a [u8],
    escaped: bool,
}

/// A value, as far as a header needs to know.
enum Value<'a> {
    Text(Str<'a>),
    /// A number, `true` or `false`, as written.
    Bare(&'a [u8]),
    Null,
    Nested,
}

/// What the object is made of, before it is known to be a header.
#[derive(Default)]
struct Members {
    code: Option<i32>,
    opaque: Option<i32>,
    flag: Option<i32>,
    version: Option<i32>,
    language: Option<Language>,
    remark: Option<Text>,
    fields: Fields,
}

pub(super) fn parse(raw: Bytes) -> Result<Header, Malformed> {
    let members = finish(&raw, "JSON header", document(&raw))?;
    let missing = |what| Malformed { what, at: raw.len() };
    Ok(Header {
        code: members.code.ok_or(missing("code"))?,
        language: members.language.unwrap_or(Language::OTHER),
        version: members.version.unwrap_or(0),
        opaque: members.opaque.ok_or(missing("opaque"))?,
        flag: members.flag.ok_or(missing("flag"))?,
        remark: members.remark,
        fields: members.fields,
        raw,
    })
}

/// One object, and nothing but white space around it: C++ ends with a line feed.
fn document(raw: &[u8]) -> Parsed<'_, Members> {
    let mut members = Members::default();
    let (rest, ()) = object(space(raw), |key, rest| {
        let (rest, value) = match key.raw {
            b"extFields" => return ext_fields(raw, rest, &mut members.fields),
            _ => value(rest, MAX_DEPTH)?,
        };
        match key.raw {
            b"code" => members.code = value.int(),
            b"opaque" => members.opaque = value.int(),
            b"flag" => members.flag = value.int(),
            b"version" => members.version = value.int(),
            b"language" => members.language = value.language(),
            b"remark" => members.remark = value.text(raw),
            _ => {}
        }
        Ok((rest, ()))
    })?;
    let rest = space(rest);
    if rest.is_empty() {
        Ok((rest, members))
    } else {
        Err(Fault::at(rest, "end of header"))
    }
}

/// The value of `extFields`: an object, or nothing of the kind (null in some clients).
fn ext_fields<'a>(raw: &'a [u8], input: &'a [u8], fields: &mut Fields) -> Parsed<'a, ()> {
    if input.first() != Some(&b'{') {
        return value(input, MAX_DEPTH).map(|(rest, _)| (rest, ()));
    }
    object(input, |key, input| {
        let (rest, value) = value(input, MAX_DEPTH)?;
        if let Some(value) = value.text(raw) {
            if fields.len() == MAX_FIELDS {
                return Err(Fault::at(input, "number of extFields"));
            }
            fields.push((Text::of(raw, key.raw, key.escaped), value));
        }
        Ok((rest, ()))
    })
}

/// `{ "key" : … , … }`; `member` reads each value, from its first byte on.
fn object<'a>(
    input: &'a [u8],
    mut member: impl FnMut(Str<'a>, &'a [u8]) -> Parsed<'a, ()>,
) -> Parsed<'a, ()> {
    let (rest, _) = context("object", one('{')).parse(input)?;
    let mut rest = space(rest);
    if let Some((b'}', rest)) = rest.split_first() {
        return Ok((rest, ()));
    }
    loop {
        let (after, key) = context("object key", string).parse(rest)?;
        let (after, _) = context("colon", one(':')).parse(space(after))?;
        let (after, ()) = member(key, space(after))?;
        let (after, end) = context("end of object", alt((one(','), one('}')))).parse(space(after))?;
        if end == '}' {
            return Ok((after, ()));
        }
        rest = space(after);
    }
}

/// `[ … , … ]`, skipped.
fn array(input: &[u8], depth: u32) -> Parsed<'_, ()> {
    let (rest, _) = context("array", one('[')).parse(input)?;
    let mut rest = space(rest);
    if let Some((b']', rest)) = rest.split_first() {
        return Ok((rest, ()));
    }
    loop {
        let (after, _) = value(rest, depth)?;
        let (after, end) = context("end of array", alt((one(','), one(']')))).parse(space(after))?;
        if end == ']' {
            return Ok((after, ()));
        }
        rest = space(after);
    }
}

/// Any value, from its first byte on. `depth` is how many levels may still open.
fn value(input: &[u8], depth: u32) -> Parsed<'_, Value<'_>> {
    let inner = || depth.checked_sub(1).ok_or(Fault::at(input, "nesting"));
    match input.first() {
        Some(b'"') => string.map(Value::Text).parse(input),
        Some(b'{') => {
            let depth = inner()?;
            let skip = |_, rest| value(rest, depth).map(|(rest, _)| (rest, ()));
            object(input, skip).map(|(rest, ())| (rest, Value::Nested))
        }
        Some(b'[') => {
            let depth = inner()?;
            array(input, depth).map(|(rest, ())| (rest, Value::Nested))
        }
        Some(b'n') => tag("null").map(|_: &[u8]| Value::Null).parse(input),
        _ => context("value", take_while1(is_bare))
            .map(Value::Bare)
            .parse(input),
    }
}

/// Bytes of numbers, `true` and `false`.
fn is_bare(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')
}

fn string(input: &[u8]) -> Parsed<'_, Str<'_>> {
    let (body, _) = one('"').parse(input)?;
    let mut rest = body;
    let mut escaped = false;
    loop {
        (rest, _) = take_till(|b| b == b'"' || b == b'\\').parse(rest)?;
        match rest {
            [b'"', after @ ..] => {
                let raw = body.get(..body.len() - rest.len()).unwrap_or_default();
                return Ok((after, Str { raw, escaped }));
            }
            // whatever is escaped, a quote above all, does not end the string
            [_, _, after @ ..] => (rest, escaped) = (after, true),
            _ => return Err(Fault::at(input, "string")),
        }
    }
}

fn space(input: &[u8]) -> &[u8] {
    // nearly always there is none
    match input.first() {
        Some(b) if is_space(*b) => take_while::<_, _, Fault<'_>>(is_space)
            .parse(input)
            .map_or(input, |(rest, _)| rest),
        _ => input,
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

impl Value<'_> {
    /// As a whole number of 32 bits, in quotes or not.
    fn int(&self) -> Option<i32> {
        let (Value::Text(Str { raw, .. }) | Value::Bare(raw)) = self else {
            return None;
        };
        std::str::from_utf8(raw).ok()?.trim().parse().ok()
    }

    fn language(&self) -> Option<Language> {
        match self {
            Value::Text(Str { raw, .. }) => Some(Language::from_name(raw)),
            _ => self.int().map(|n| Language::from_number(n.into())),
        }
    }

    /// As text within `whole`; `None` for null and for what is nested.
    fn text(&self, whole: &[u8]) -> Option<Text> {
        match self {
            Value::Text(Str { raw, escaped }) => Some(Text::of(whole, raw, *escaped)),
            Value::Bare(raw) => Some(Text::of(whole, raw, false)),
            Value::Null | Value::Nested => None,
        }
    }
}
