//! The JSON header (§1.2): a tolerant scanner that notes where things are.
//!
//! Java, Go, C++ and the smaller clients differ in key order, in the keys they send, in whether values of
//! `extFields` are strings, and in what follows the object; all of it is accepted. Keys that mean nothing here
//! are skipped with whatever value they have, down to [`MAX_DEPTH`] levels.

use std::sync::Arc;

use super::{
    Fields, Header, Text,
    text::{Escapes, escape, number},
};
use crate::wire::{Language, Malformed, scan};

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

pub(super) fn parse(mut raw: Arc<[u8]>) -> Result<Header, Malformed> {
    let (mut members, mut fields) = (Members::default(), Fields::default());
    let mut scanner = Scanner {
        raw: &raw,
        at: 0,
        wrong: "JSON header",
    };
    if scanner.document(&mut members, &mut fields).is_none() {
        let (what, at) = (scanner.wrong, scanner.at);
        return Err(Malformed { what, at });
    }
    if let Some(raw) = Arc::get_mut(&mut raw) {
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
struct Scanner<'a> {
    raw: &'a [u8],
    at: usize,
    /// What was wanted in vain.
    wrong: &'static str,
}

impl Scanner<'_> {
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
        self.object(|scanner, key| {
            let at = scanner.at;
            if let Some(value) = scanner.value(MAX_DEPTH)?.text() {
                if fields.is_full() {
                    scanner.at = at;
                    return scanner.fail("number of extFields");
                }
                fields.push(scanner.raw, key, value);
            }
            Some(())
        })
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
            let key = self.string()?;
            self.space();
            self.expect(b':', "colon")?;
            self.space();
            member(self, key)?;
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
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
        let mut escapes = Escapes::None;
        loop {
            self.at = scan::find(self.raw, self.at, b'"', b'\\');
            match self.raw.get(self.at..) {
                Some([b'"', ..]) => {
                    let text = Text::new(start..self.at, escapes);
                    self.at += 1;
                    return Some(text);
                }
                // whatever is escaped, a quote above all, does not end the string
                Some([_, escaped @ ..]) if !escaped.is_empty() => {
                    escapes = escapes.and(escape(escaped));
                    self.at += 2;
                }
                _ => return self.fail("string"),
            }
        }
    }

    /// Behind a member: whether a comma leads to the next one, or `closing` ends it.
    #[inline]
    fn goes_on(&mut self, closing: u8) -> Option<bool> {
        self.space();
        if self.skip(b',') {
            self.space();
            return Some(true);
        }
        self.expect(closing, "end of object or array").map(|()| false)
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
