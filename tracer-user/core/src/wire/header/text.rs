//! A range of a header's bytes, with or without JSON escapes in it.

use std::borrow::Cow;

use bytes::Bytes;
use nom::Offset;

/// Marks a range that has escapes; lengths stay below it, because a header is shorter than 2^24 bytes.
const ESCAPED: u32 = 1 << 31;

/// A range of a header's raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Text {
    start: u32,
    /// Length, with [`ESCAPED`].
    length: u32,
}

impl Text {
    /// The range that `part` is of `whole`; `part` must be a slice of it.
    pub(super) fn of(whole: &[u8], part: &[u8], escaped: bool) -> Text {
        let start = whole.offset(part) as u32;
        Text {
            start,
            length: part.len() as u32 & !ESCAPED | if escaped { ESCAPED } else { 0 },
        }
    }

    fn escaped(self) -> bool {
        self.length & ESCAPED != 0
    }

    fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + (self.length & !ESCAPED) as usize
    }

    fn raw(self, whole: &[u8]) -> &[u8] {
        whole.get(self.range()).unwrap_or_default()
    }

    /// Whether the text is `name`.
    pub(super) fn is(self, whole: &[u8], name: &str) -> bool {
        if self.escaped() {
            self.decode(whole) == name
        } else {
            self.raw(whole) == name.as_bytes()
        }
    }

    /// The text itself.
    pub(super) fn decode(self, whole: &[u8]) -> Cow<'_, str> {
        if self.escaped() {
            Cow::Owned(unescape(self.raw(whole)))
        } else {
            String::from_utf8_lossy(self.raw(whole))
        }
    }

    /// The text's bytes, shared where nothing is to be unescaped.
    pub(super) fn bytes(self, whole: &Bytes) -> Bytes {
        if self.escaped() {
            Bytes::from(unescape(self.raw(whole)))
        } else {
            whole.slice_ref(self.raw(whole))
        }
    }
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
    let (digits, rest) = raw.split_at_checked(4)?;
    let value = digits
        .iter()
        .try_fold(0, |n, d| Some(n << 4 | char::from(*d).to_digit(16)?))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::unescape;

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
}
