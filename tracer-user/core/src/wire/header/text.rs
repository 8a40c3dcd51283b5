//! A range of a header's bytes, with or without JSON escapes in it.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::{
    hex,
    wire::{scan::Marks, shared::Shared},
};

/// Marks a range that has escapes; lengths stay below it, because a header is shorter than 2^24 bytes.
const ESCAPED: u32 = 1 << 31;
/// Likewise, where all of them are longer than what they stand for.
const SHRINKING: u32 = 1 << 30;

/// Most digits of a number that cannot overflow 64 bits.
const MAX_DIGITS: usize = 18;

/// What escapes there are in a JSON string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escapes {
    None,
    /// Each is longer than what it stands for.
    Shrinking,
    /// Some may not be: what is no valid escape becomes a replacement character of three bytes.
    Any,
}

impl Escapes {
    /// These and one more.
    #[inline]
    pub(super) fn and(self, more: Escapes) -> Escapes {
        if self == Escapes::Any { self } else { more }
    }
}

/// What the escape is whose backslash stands before `rest`.
#[inline(always)]
pub(super) fn escape(rest: &[u8]) -> Escapes {
    match resolve(rest) {
        Some(_) => Escapes::Shrinking,
        None => Escapes::Any,
    }
}

/// What the escape stands for whose backslash stands before `rest`, and its length with the backslash. `None` where it
/// is none, or not longer than what it stands for.
#[inline(always)]
fn resolve(rest: &[u8]) -> Option<(char, usize)> {
    // what separates properties, and so nearly all escapes there are
    if let Some((start, [digit @ b'0'..=b'9', ..])) = rest.split_first_chunk()
        && start == b"u000"
    {
        return Some((char::from(digit - b'0'), 6));
    }
    match rest {
        [b'u', rest @ ..] => Some((char::from_u32(hex4(rest)?.0)?, 6)),
        [c, ..] => Some((simple(*c), 2)).filter(|(c, _)| *c != char::REPLACEMENT_CHARACTER),
        [] => None,
    }
}

/// What digits say, if there are no more of them than fit and nothing else.
#[inline]
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    if !(1..=MAX_DIGITS).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |n, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(n * 10 + i64::from(digit))
    })
}

/// A range of a header's raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Text {
    start: u32,
    /// Length, with [`ESCAPED`] and [`SHRINKING`].
    length: u32,
}

impl Text {
    /// The bytes in `range`, which have these escapes.
    #[inline]
    pub(super) fn new(range: Range<usize>, escapes: Escapes) -> Text {
        let marks = match escapes {
            Escapes::None => 0,
            Escapes::Shrinking => ESCAPED | SHRINKING,
            Escapes::Any => ESCAPED,
        };
        Text {
            start: range.start as u32,
            length: (range.end - range.start) as u32 & !(ESCAPED | SHRINKING) | marks,
        }
    }

    /// Whether it has escapes.
    pub(super) fn escaped(self) -> bool {
        self.length & ESCAPED != 0
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + (self.length & !(ESCAPED | SHRINKING)) as usize
    }

    /// The bytes as they stand, escapes and all.
    #[inline]
    pub(super) fn raw(self, whole: &[u8]) -> &[u8] {
        whole.get(self.range()).unwrap_or_default()
    }

    /// Whether the text is `name`.
    #[inline]
    pub(super) fn is(self, whole: &[u8], name: &str) -> bool {
        if self.length as usize == name.len() {
            let raw = self.raw(whole);
            // names of one letter are the most, and told apart without a call
            raw.first() == name.as_bytes().first() && raw == name.as_bytes()
        } else {
            self.escaped() && self.decode(whole) == name
        }
    }

    /// The text's byte, if it has only one.
    #[inline(always)]
    pub(super) fn only_byte(self, whole: &[u8]) -> Option<u8> {
        if self.length == 1 {
            return whole.get(self.start as usize).copied();
        }
        if !self.escaped() {
            return None;
        }
        match self.decode(whole).as_bytes() {
            [byte] => Some(*byte),
            _ => None,
        }
    }

    /// The text itself.
    pub(super) fn decode(self, whole: &[u8]) -> Cow<'_, str> {
        if self.escaped() {
            Cow::Owned(unescape(self.raw(whole)))
        } else {
            let raw = self.raw(whole);
            std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed)
        }
    }

    /// As a whole number.
    pub(super) fn int(self, whole: &[u8]) -> Option<i64> {
        // mostly it is digits and nothing else
        let plain = if self.escaped() {
            None
        } else {
            number(self.raw(whole))
        };
        plain.or_else(|| self.decode(whole).trim().parse().ok())
    }

    /// Whether it is `true` in any case.
    pub(super) fn is_true(self, whole: &[u8]) -> bool {
        if self.escaped() {
            self.decode(whole).eq_ignore_ascii_case("true")
        } else {
            self.raw(whole).eq_ignore_ascii_case(b"true")
        }
    }

    /// The text's bytes, shared where nothing is to be unescaped.
    pub(super) fn bytes(self, whole: &Arc<[u8]>) -> Shared {
        if self.escaped() {
            Shared::from(unescape(self.raw(whole)).into_bytes())
        } else {
            Shared::part(whole, self.range())
        }
    }

    /// Resolves the escapes where they stand, if there is room for what they stand for and the rest is UTF-8.
    #[inline]
    pub(super) fn unescape_in(&mut self, whole: &mut [u8]) {
        if self.length & SHRINKING == 0 {
            return;
        }
        let Some(raw) = whole.get_mut(self.range()) else {
            return;
        };
        if (raw.is_ascii() || std::str::from_utf8(raw).is_ok())
            && let Some(length) = shrink(raw)
        {
            self.length = length as u32;
        }
    }
}

/// Resolves escapes that are all shorter then, in place. Returns the length of the text, which `raw` starts with.
fn shrink(raw: &mut [u8]) -> Option<usize> {
    let mut marks = Marks::<b'\\', b'\\'>::new();
    let mut from = marks.next(raw, 0);
    let mut to = from;
    while let Some([_, rest @ ..]) = raw.get(from..) {
        let (c, length) = resolve(rest)?;
        if c.is_ascii() {
            *raw.get_mut(to)? = c as u8;
            to += 1;
        } else {
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            raw.get_mut(to..to + utf8.len())?.copy_from_slice(utf8);
            to += utf8.len();
        }
        let plain = from + length;
        from = marks.next(raw, plain);
        raw.copy_within(plain..from, to);
        to += from - plain;
    }
    Some(to)
}

/// Resolves the escapes of a JSON string. What is no valid escape becomes a replacement character.
fn unescape(mut raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    while let Some(at) = raw.iter().position(|b| *b == b'\\') {
        let (plain, rest) = raw.split_at(at);
        out.push_str(&String::from_utf8_lossy(plain));
        raw = match rest {
            [_, b'u', rest @ ..] => {
                let (c, rest) = unicode(rest);
                out.push(c);
                rest
            }
            [_, c, rest @ ..] => {
                out.push(simple(*c));
                rest
            }
            _ => &[],
        };
    }
    out.push_str(&String::from_utf8_lossy(raw));
    out
}

fn simple(c: u8) -> char {
    match c {
        b'"' | b'\\' | b'/' | b'\'' => c.into(),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// What follows `\u`: four hex digits, or a surrogate pair. A surrogate without its other half is replaced,
/// and what follows it is read on its own.
fn unicode(rest: &[u8]) -> (char, &[u8]) {
    let Some((unit, after)) = hex4(rest) else {
        return (char::REPLACEMENT_CHARACTER, rest);
    };
    if let Some(c) = char::from_u32(unit) {
        return (c, after);
    }
    let pair = after.strip_prefix(b"\\u").and_then(hex4);
    let joined = pair.and_then(|(low, after)| {
        let units = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
        Some((char::decode_utf16(units).next()?.ok()?, after))
    });
    joined.unwrap_or((char::REPLACEMENT_CHARACTER, after))
}

fn hex4(raw: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = raw.split_first_chunk()?;
    let [a, b, c, d] = digits.map(hex::of_either_case);
    let value = || [a, b, c, d].iter().fold(0, |n, digit| n << 4 | u32::from(*digit));
    ((a | b | c | d) < 16).then(|| (value(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (raw, text) in [
            (&br"plain"[..], "plain"),
            (br"a\u0001b\u0002", "a\u{1}b\u{2}"),
            (br#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (br"\u003cb\u003E", "<b>"),
            (br"\ud83d\ude80!", "🚀!"),
            // a surrogate alone, two high ones, a low one first
            (br"\ud83d!", "\u{fffd}!"),
            (br"\ud83d\ud83d\ude80", "\u{fffd}🚀"),
            (br"\ude80\u0041", "\u{fffd}A"),
            // not escapes
            (br"\u00", "\u{fffd}00"),
            (br"\q\", "\u{fffd}"),
            (b"\xff\\n\xfe", "\u{fffd}\n\u{fffd}"),
        ] {
            assert_eq!(unescape(raw), text, "{}", raw.escape_ascii());
        }
    }

    /// In place where it can be done, the result is the same.
    #[test]
    fn escapes_in_place() {
        for (raw, in_place) in [
            (&br#"KEYS\u0001k\u0002\"\\\/\b\u00e9\u20ac"#[..], true),
            ("plain é\\u0001".as_bytes(), true),
            (br"plain", false),
            // not UTF-8; a pair of surrogates; not an escape
            (b"\xff\\u0001", false),
            (br"\u0001\ud83d\ude80", false),
            (br"\u0001\q\q\q\q\q\q\q", false),
            (br"\u0001\u00g0", false),
        ] {
            let mut bytes = [b"before", raw, b"behind"].concat();
            let mut escapes = Escapes::None;
            for at in 0..raw.len() {
                if raw[at] == b'\\' && (at == 0 || raw[at - 1] != b'\\') {
                    escapes = escapes.and(escape(&raw[at + 1..]));
                }
            }
            let mut text = Text::new(6..6 + raw.len(), escapes);
            let decoded = text.decode(&bytes).into_owned();
            text.unescape_in(&mut bytes);
            assert_eq!(text.escaped(), escapes != Escapes::None && !in_place);
            assert_eq!(text.decode(&bytes), decoded, "{}", raw.escape_ascii());
            assert!(bytes.starts_with(b"before") && bytes.ends_with(b"behind"));
        }
    }
}
