//! Message properties: `name 0x01 value 0x02 …` (§3.1).
//!
//! Read as Java reads them: an entry without name or value is no entry, a value may itself contain 0x01, the
//! last 0x02 may be missing, and of a repeated name the last value counts.

use std::ops::Range;

use super::{scan::Marks, shared::Shared};

/// Between a name and its value.
const NAME_END: u8 = 1;
/// Behind a value.
const VALUE_END: u8 = 2;

/// The raw properties of a message. Values are looked up, not copied into a map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties(pub Shared);

impl Properties {
    /// The value of a property; the last one where a name is repeated, as Java reads it. `None` where the
    /// value is empty or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = self.entries().filter(|(key, _)| *key == name.as_bytes());
        std::str::from_utf8(named.last()?.1).ok()
    }

    /// The first value of a repeated name: for a stored batch message its own UNIQ_KEY (§3.4).
    pub fn first(&self, name: &str) -> Option<&str> {
        let found = self.entries().find(|(key, _)| *key == name.as_bytes());
        std::str::from_utf8(found?.1).ok()
    }

    /// Like [`Properties::get`], without regard to case: names of trace context differ by propagator (§3.2).
    pub fn get_ignore_case(&self, name: &str) -> Option<&str> {
        let same = |key: &[u8]| key.eq_ignore_ascii_case(name.as_bytes());
        let named = self.entries().filter(|(key, _)| same(key));
        std::str::from_utf8(named.last()?.1).ok()
    }

    /// All well-formed entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |(key, value)| Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?));
        self.entries().filter_map(text)
    }

    /// All entries with a name and a value, in order, whether they are UTF-8 or not.
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            raw: &self.0,
            at: 0,
            marks: Marks::new(),
        }
    }
}

/// See [`Properties::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    raw: &'a [u8],
    /// Where the next one starts.
    at: usize,
    marks: Marks<NAME_END, VALUE_END>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (name, value) = self.next_places()?;
        Some((self.raw.get(name)?, self.raw.get(value)?))
    }
}

impl<'a> Entries<'a> {
    /// Where name and value of the next entry stand.
    #[inline]
    fn next_places(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        while self.at < self.raw.len() {
            let name = self.at..self.marks.next(self.raw, self.at);
            if self.raw.get(name.end) != Some(&NAME_END) {
                // no value
                self.at = name.end + 1;
                continue;
            }
            let mut value = name.end + 1..self.marks.next(self.raw, name.end + 1);
            while self.raw.get(value.end) == Some(&NAME_END) {
                value.end = self.marks.next(self.raw, value.end + 1);
            }
            self.at = value.end + 1;
            if !name.is_empty() && !value.is_empty() {
                return Some((name, value));
            }
        }
        None
    }

    /// The entries with their values as text; `None` for one that is not UTF-8. Where all is UTF-8, as it is nearly always,
    /// that is looked at once.
    pub fn texts(mut self) -> impl Iterator<Item = (&'a [u8], Option<&'a str>)> {
        let whole = std::str::from_utf8(self.raw).ok();
        std::iter::from_fn(move || {
            let (name, value) = self.next_places()?;
            let text = match whole {
                Some(whole) => whole.get(value),
                None => std::str::from_utf8(self.raw.get(value)?).ok(),
            };
            Some((self.raw.get(name)?, text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(raw: &'static [u8]) -> Properties {
        Properties(raw.into())
    }

    #[test]
    fn rules_of_the_java_parser() {
        let p = properties(b"a\x011\x02\x01no name\x02no value\x01\x02plain\x02b\x01x\x01y\x02\x02a\x012");
        assert_eq!(
            p.iter().collect::<Vec<_>>(),
            [("a", "1"), ("b", "x\u{1}y"), ("a", "2")]
        );
        assert_eq!((p.get("a"), p.first("a")), (Some("2"), Some("1")));
        for absent in ["", "no value", "plain", "c"] {
            assert_eq!(p.get(absent), None, "{absent}");
            assert_eq!(p.first(absent), None, "{absent}");
        }
    }

    #[test]
    fn trailing_separator_is_optional() {
        for raw in [&b"a\x011\x02b\x012"[..], b"a\x011\x02b\x012\x02"] {
            assert_eq!(
                properties(raw).iter().collect::<Vec<_>>(),
                [("a", "1"), ("b", "2")]
            );
        }
        assert_eq!(properties(b"").iter().count(), 0);
    }

    #[test]
    fn names_without_regard_to_case() {
        let p = properties(b"TraceParent\x0100-a\x02traceparent\x0100-b\x02");
        assert_eq!(p.get_ignore_case("TRACEPARENT"), Some("00-b"));
        assert_eq!(p.get("TraceParent"), Some("00-a"));
    }

    #[test]
    fn not_utf8() {
        let p = properties(b"a\x01ok\x02a\x01\xff\x02b\x01ok");
        let texts: Vec<_> = p.entries().texts().map(|(_, text)| text).collect();
        assert_eq!(texts, [Some("ok"), None, Some("ok")]);
        assert_eq!(p.get("a"), None, "the last one counts");
        assert_eq!(p.iter().collect::<Vec<_>>(), [("a", "ok"), ("b", "ok")]);
    }
}
