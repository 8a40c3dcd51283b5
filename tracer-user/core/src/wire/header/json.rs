//! The JSON header (§1.2): a tolerant scanner that notes where things are.
//!
//! Java, Go, C++ and the smaller clients differ in key order, in the keys they send, in whether values of
//! `extFields` are strings, and in what follows the object; all of it is accepted. Keys that mean nothing here
//! are skipped with whatever value they have, down to [`MAX_DEPTH`] levels.
//!
//! Nearly all that is read are fields of texts without escapes and white space, most of a letter and a few more: they
//! are walked over from quote to quote, and anything else is left to the scanner.

use std::sync::Arc;

use super::{
    Fields, Header, Text,
    text::{Escapes, escape, number},
};
use crate::wire::{Language, Malformed, scan::Marks};

/// Deepest nesting of arrays and objects in a value that is skipped.
const MAX_DEPTH: u32 = 32;

/// A value, as far as a header needs to know.
#[derive(Clone, Copy)]
enum Value {
    Text(Text),
    /// A number, `true` or `false`, as written.
    Bare(Text),
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
}

pub(super) fn parse(raw: Arc<[u8]>) -> Result<Header, Malformed> {
    parse_with::<true>(raw)
}

/// `WALK`: with [`Scanner::plain_fields`], which changes nothing but the time it takes.
fn parse_with<const WALK: bool>(mut raw: Arc<[u8]>) -> Result<Header, Malformed> {
    let (mut members, mut fields) = (Members::default(), Fields::default());
    let mut scanner = Scanner::<WALK> {
        raw: &raw,
        at: 0,
        marks: Marks::new(),
        escaped: false,
        wrong: "JSON header",
    };
    if scanner.document(&mut members, &mut fields).is_none() {
        let (what, at) = (scanner.wrong, scanner.at);
        return Err(Malformed { what, at });
    }
    if scanner.escaped
        && let Some(raw) = Arc::get_mut(&mut raw)
    {
        fields.unescape(raw);
    }
    let missing = |what| Malformed { what, at: raw.len() };
    Ok(Header {
        code: members.code.ok_or(missing("code"))?,
        language: members.language.unwrap_or(Language::OTHER),
        version: members.version.unwrap_or(0),
        opaque: members.opaque.ok_or(missing("opaque"))?,
        flag: members.flag.ok_or(missing("flag"))?,
        remark: members.remark,
        fields,
        raw,
    })
}

/// Where the scan stands. What reads something gives `None` where it is not there; then the scan is over, and
/// stands where it went wrong.
struct Scanner<'a, const WALK: bool> {
    raw: &'a [u8],
    at: usize,
    /// What ends a string, or a part of it.
    marks: Marks<b'"', b'\\'>,
    /// An escape has passed.
    escaped: bool,
    /// What was wanted in vain.
    wrong: &'static str,
}

impl<const WALK: bool> Scanner<'_, WALK> {
    /// One object, and nothing but white space around it: C++ ends with a line feed.
    fn document(&mut self, members: &mut Members, fields: &mut Fields) -> Option<()> {
        self.space();
        self.object(|scanner, key| {
            let slot = match key.raw(scanner.raw) {
                b"extFields" => return scanner.ext_fields(fields),
                b"code" => &mut members.code,
                b"opaque" => &mut members.opaque,
                b"flag" => &mut members.flag,
                b"version" => &mut members.version,
                b"language" => {
                    let value = scanner.value(MAX_DEPTH)?;
                    members.language = scanner.language(value);
                    return Some(());
                }
                b"remark" => {
                    members.remark = scanner.value(MAX_DEPTH)?.text();
                    return Some(());
                }
                _ => return scanner.value(MAX_DEPTH).map(|_| ()),
            };
            let value = scanner.value(MAX_DEPTH)?;
            *slot = scanner.int(value);
            Some(())
        })?;
        self.space();
        if self.at == self.raw.len() {
            Some(())
        } else {
            self.fail("end of header")
        }
    }

    /// The value of `extFields`: an object, or nothing of the kind (null in some clients).
    #[inline(always)]
    fn ext_fields(&mut self, fields: &mut Fields) -> Option<()> {
        if self.peek() != Some(b'{') {
            return self.value(MAX_DEPTH).map(|_| ());
        }
        self.expect(b'{', "object")?;
        self.space();
        if self.skip(b'}') {
            return Some(());
        }
        loop {
            if WALK {
                self.plain_fields(fields);
            }
            let key = self.key()?;
            let before = self.at;
            if let Some(value) = self.value(MAX_DEPTH)?.text() {
                if fields.is_full() {
                    self.at = before;
                    return self.fail("number of extFields");
                }
                fields.push(self.raw, key, value);
            }
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
    }

    /// Passes fields as all clients but a few write them, `"key":"value",` without escapes and with another field
    /// behind. The first one that is anything else is left.
    #[inline(never)]
    fn plain_fields(&mut self, fields: &mut Fields) {
        // copies, which the compiler keeps in registers
        let (raw, mut marks, mut at) = (self.raw, self.marks, self.at);
        while raw.get(at) == Some(&b'"') && !fields.is_full() {
            let key = at + 1..marks.next(raw, at + 1);
            if !stands_at(raw, key.end, b"\":\"") {
                break;
            }
            let value = key.end + 3..marks.next(raw, key.end + 3);
            if !stands_at(raw, value.end, b"\",\"") {
                break;
            }
            at = value.end + 2;
            let [key, value] = [key, value].map(|range| Text::new(range, Escapes::None));
            fields.push(raw, key, value);
        }
        (self.marks, self.at) = (marks, at);
    }

    /// `{ "key" : … , … }`; `member` reads each value, from its first byte on.
    #[inline(always)]
    fn object(&mut self, mut member: impl FnMut(&mut Self, Text) -> Option<()>) -> Option<()> {
        self.expect(b'{', "object")?;
        self.space();
        if self.skip(b'}') {
            return Some(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
    }

    /// `"key" :`, and the white space behind it.
    #[inline(always)]
    fn key(&mut self) -> Option<Text> {
        let key = self.string()?;
        if !self.skip(b':') {
            self.space();
            self.expect(b':', "colon")?;
        }
        self.space();
        Some(key)
    }

    /// `[ … , … ]`, skipped.
    fn array(&mut self, depth: u32) -> Option<()> {
        self.expect(b'[', "array")?;
        self.space();
        if self.skip(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    /// Any value, from its first byte on. `depth` is how many levels may still open.
    #[inline(always)]
    fn value(&mut self, depth: u32) -> Option<Value> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{' | b'[') => self.nested(depth),
            _ => self.bare(),
        }
    }

    /// An object or an array, skipped.
    #[inline(never)]
    fn nested(&mut self, depth: u32) -> Option<Value> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.fail("nesting");
        };
        if self.peek() == Some(b'[') {
            self.array(depth)?;
        } else {
            self.object(|scanner, _| scanner.value(depth).map(|_| ()))?;
        }
        Some(Value::Nested)
    }

    /// A number, `true`, `false` or `null`.
    fn bare(&mut self) -> Option<Value> {
        let start = self.at;
        let rest = self.raw.get(start..).unwrap_or_default();
        if rest.starts_with(b"null") {
            self.at += 4;
            return Some(Value::Null);
        }
        let length = rest.iter().position(|b| !is_bare(*b)).unwrap_or(rest.len());
        if length == 0 || rest.starts_with(b"n") {
            return self.fail("value");
        }
        self.at += length;
        Some(Value::Bare(Text::new(start..self.at, Escapes::None)))
    }

    #[inline(always)]
    fn string(&mut self) -> Option<Text> {
        self.expect(b'"', "string")?;
        let start = self.at;
        self.at = self.marks.next(self.raw, start);
        let escapes = match self.peek() {
            Some(b'"') => Escapes::None,
            _ => self.escapes()?,
        };
        let text = Text::new(start..self.at, escapes);
        self.at += 1;
        Some(text)
    }

    /// The rest of a string, from its first escape on, to the quote behind it.
    #[inline(never)]
    fn escapes(&mut self) -> Option<Escapes> {
        self.escaped = true;
        let mut escapes = Escapes::None;
        let (raw, mut marks, mut at) = (self.raw, self.marks, self.at);
        let ended = loop {
            match raw.get(at..) {
                Some([b'"', ..]) => break true,
                // whatever is escaped, a quote above all, does not end the string
                Some([_, escaped @ ..]) if !escaped.is_empty() => {
                    escapes = escapes.and(escape(escaped));
                    at = marks.next(raw, at + 2);
                }
                _ => break false,
            }
        };
        (self.marks, self.at) = (marks, at);
        if ended { Some(escapes) } else { self.fail("string") }
    }

    /// Behind a member: whether a comma leads to the next one, or `closing` ends it.
    #[inline]
    fn goes_on(&mut self, closing: u8) -> Option<bool> {
        if !self.skip(b',') {
            self.space();
            if !self.skip(b',') {
                return self.expect(closing, "end of object or array").map(|()| false);
            }
        }
        self.space();
        Some(true)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.raw.get(self.at).copied()
    }

    /// Passes this byte, if it is the next one.
    #[inline]
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Option<()> {
        if self.skip(byte) {
            Some(())
        } else {
            self.fail(what)
        }
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[cold]
    fn fail<T>(&mut self, what: &'static str) -> Option<T> {
        self.wrong = what;
        None
    }

    /// As a whole number of 32 bits, in quotes or not.
    fn int(&self, value: Value) -> Option<i32> {
        let (Value::Text(text) | Value::Bare(text)) = value else {
            return None;
        };
        let value = match text.raw(self.raw) {
            [b'-', digits @ ..] => -number(digits)?,
            digits => number(digits)?,
        };
        i32::try_from(value).ok()
    }

    fn language(&self, value: Value) -> Option<Language> {
        match value {
            Value::Text(text) => Some(Language::from_name(text.raw(self.raw))),
            _ => self.int(value).map(|n| Language::from_number(n.into())),
        }
    }
}

#[inline]
fn stands_at<const N: usize>(raw: &[u8], at: usize, bytes: &[u8; N]) -> bool {
    raw.get(at..).and_then(|rest| rest.first_chunk()) == Some(bytes)
}

/// Bytes of numbers, `true` and `false`.
fn is_bare(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')
}

impl Value {
    /// As text; `None` for null and for what is nested.
    #[inline]
    fn text(self) -> Option<Text> {
        match self {
            Value::Text(text) | Value::Bare(text) => Some(text),
            Value::Null | Value::Nested => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// What stands between the quotes of a string.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-z]",
            4 => "[a-zA-Z0-9_:,{}éß ]{0,80}",
            2 => "([a-zA-Z]{0,12}(\\\\u000[12]|\\\\[\"\\\\nq]|\\\\u(d83d|20ac|0061|00))){0,12}",
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            9 => text().prop_map(|text| format!("\"{text}\"")),
            1 => "-?[0-9]{1,12}|true|null|\\[ ?1,\"a\\\\\"\"\\]|\\{\"a\": [0-9]\\}",
        ]
    }

    /// Members of an object, mostly without white space between them.
    fn members(most: usize) -> impl Strategy<Value = String> {
        let space = || prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
        let member = (text(), space(), space(), value(), space(), space())
            .prop_map(|(key, a, b, value, c, d)| [d, "\"", &key, "\"", a, ":", b, &value, c].concat());
        vec(member, 0..most).prop_map(|members| members.join(","))
    }

    /// Headers, and what becomes of them when a few bytes change.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let changed = prop_oneof![Just(b'"'), Just(b'\\'), Just(b','), Just(b' '), any::<u8>()];
        let changes = prop_oneof![3 => Just(0..1), 1 => Just(1..4)]
            .prop_flat_map(move |number| vec((any::<Index>(), changed.clone(), any::<bool>()), number));
        (members(4), members(40), changes).prop_map(|(others, fields, changes)| {
            let comma = if others.is_empty() { "" } else { "," };
            let mut bytes =
                format!("{{\"code\":310,\"extFields\":{{{fields}}},\"flag\":0,\"opaque\":7{comma}{others}}}")
                    .into_bytes();
            for (at, byte, insert) in changes {
                let at = at.index(bytes.len());
                if insert {
                    bytes.insert(at, byte);
                } else {
                    bytes[at] = byte;
                }
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The walk over plain fields finds what the rest of the scanner finds, good or bad.
        #[test]
        fn with_and_without_the_walk(bytes in bytes()) {
            let with = parse_with::<true>(Arc::from(&bytes[..]));
            prop_assert_eq!(with, parse_with::<false>(Arc::from(&bytes[..])));
        }

        /// Bytes that somebody else has too are not written to, and say the same.
        #[test]
        fn escapes_in_place_and_on_demand(bytes in bytes()) {
            let shared: Arc<[u8]> = Arc::from(&bytes[..]);
            let Ok(on_demand) = parse(shared.clone()) else { return Ok(()) };
            prop_assert_eq!(&shared[..], &bytes[..]);
            let in_place = parse(Arc::from(&bytes[..])).unwrap();
            prop_assert!(in_place.fields().eq(on_demand.fields()));
            // a name with other bytes than UTF-8 is not found by what is shown of it
            let names = on_demand.fields().map(|(name, _)| name);
            for name in names.filter(|name| !name.contains(char::REPLACEMENT_CHARACTER)) {
                let last = on_demand.fields().filter(|(other, _)| *other == name).last();
                prop_assert_eq!(on_demand.field(&name), last.map(|(_, value)| value));
                prop_assert_eq!(in_place.int(&name), on_demand.int(&name));
                prop_assert_eq!(in_place.bool(&name), on_demand.bool(&name));
            }
            prop_assert_eq!(in_place.properties(), on_demand.properties());
        }
    }
}
