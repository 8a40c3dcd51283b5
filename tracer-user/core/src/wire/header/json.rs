//! The JSON header (§1.2): a tolerant scanner that notes where things are.
//!
//! Java, Go, C++ and the smaller clients differ in key order, in the keys they send, in whether values of
//! `extFields` are strings, and in what follows the object; all of it is accepted. Keys that mean nothing here
//! are skipped with whatever value they have, down to [`MAX_DEPTH`] levels.

use bytes::Bytes;
use nom::{
    Parser,
    bytes::complete::{tag, take_while, take_while1},
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

/// Most digits of a number that is read: some more than fit into 32 bits, none that overflow 64.
const MAX_DIGITS: usize = 18;

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
        let (after, more) = either(space(after), b',', b'}')?;
        if !more {
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
        let (after, more) = either(space(after), b',', b']')?;
        if !more {
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
    let Some((b'"', body)) = input.split_first() else {
        return Err(Fault::at(input, "string"));
    };
    let mut rest = body;
    let mut escaped = false;
    loop {
        rest = rest.get(plain(rest)..).unwrap_or_default();
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

/// How many bytes stand before the first quote or backslash. Eight at a time: strings are most of a header.
#[inline]
fn plain(input: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    // the top bit of each zero byte, and perhaps of bytes behind the first of them
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut rest = input;
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            return input.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let tail = rest
        .iter()
        .position(|b| matches!(b, b'"' | b'\\'))
        .unwrap_or(rest.len());
    input.len() - rest.len() + tail
}

/// One of two punctuation marks: whether it was the first.
#[inline]
fn either(input: &[u8], first: u8, second: u8) -> Parsed<'_, bool> {
    match input.split_first() {
        Some((b, rest)) if *b == first || *b == second => Ok((rest, *b == first)),
        _ => Err(Fault::at(input, "end of object or array")),
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
        let (negative, digits) = match *raw {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if !(1..=MAX_DIGITS).contains(&digits.len()) {
            return None;
        }
        let value = digits.iter().try_fold(0i64, |n, b| {
            Some(n * 10 + i64::from(char::from(*b).to_digit(10)?))
        })?;
        i32::try_from(if negative { -value } else { value }).ok()
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
