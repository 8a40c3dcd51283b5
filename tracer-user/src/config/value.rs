//! The kinds of value that a setting can have, and how each is read from text.
//!
//! All of them come from YAML, from environment variables and from flags, and all report a bad value in the
//! same words: what is wrong, and what would be right.

mod kept;

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

pub(crate) use self::kept::{ContextName, Rates, Ratio};

/// A value that can be set from the texts of a flag or an environment variable.
pub(crate) trait Setting {
    /// Lists and tables are given by several texts; everything else by the last one.
    const MANY: bool = false;

    /// Replaces the value. The error says what is wrong with the text.
    fn set(&mut self, texts: &[&str]) -> Result<(), String>;
}

fn last<T: FromStr<Err: fmt::Display>>(texts: &[&str]) -> Result<T, String> {
    texts
        .last()
        .copied()
        .unwrap_or_default()
        .parse()
        .map_err(|e| format!("{e}"))
}

/// Settings that are one value with [`FromStr`].
macro_rules! scalar {
    ($($t:ty),*) => { $(
        impl Setting for $t {
            fn set(&mut self, texts: &[&str]) -> Result<(), String> { last(texts).map(|v| *self = v) }
        }
    )* };
}

scalar!(HumanDuration, ByteSize, Endpoint, Ratio, ContextName);

/// Settings that are plain numbers and switches, whose parse errors do not say what would be right.
macro_rules! plain {
    ($($t:ty => $wanted:literal),*) => { $(
        impl Setting for $t {
            fn set(&mut self, texts: &[&str]) -> Result<(), String> {
                let text = texts.last().copied().unwrap_or_default();
                *self = text.trim().parse().map_err(|_| format!(concat!("`{}` is not ", $wanted), text))?;
                Ok(())
            }
        }
    )* };
}

plain!(i32 => "a whole number", u32 => "a whole number", usize => "a whole number", bool => "`true` or `false`");

impl Setting for PathBuf {
    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        *self = texts.last().copied().unwrap_or_default().into();
        Ok(())
    }
}

impl<T: Setting + Default> Setting for Option<T> {
    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        let mut value = T::default();
        value.set(texts)?;
        *self = Some(value);
        Ok(())
    }
}

impl<T: Setting + Default> Setting for Vec<T> {
    const MANY: bool = true;

    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        let one = |text: &&str| {
            let mut value = T::default();
            value.set(&[text.trim()]).map(|()| value)
        };
        *self = texts
            .iter()
            .filter(|t| !t.trim().is_empty())
            .map(one)
            .collect::<Result<_, _>>()?;
        Ok(())
    }
}

impl Setting for String {
    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        *self = texts.last().copied().unwrap_or_default().to_owned();
        Ok(())
    }
}

/// A table of texts, as `name=value` each.
pub(crate) type Table = BTreeMap<String, String>;

impl Setting for Table {
    const MANY: bool = true;

    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        let pair = |text: &&str| match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
            _ => Err(format!("`{text}` is not `name=value`")),
        };
        *self = texts
            .iter()
            .filter(|t| !t.trim().is_empty())
            .map(pair)
            .collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// Splits the text of an environment variable at its commas; `{a,b}` of a glob stays together.
pub(crate) fn split_list(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Implements `Deserialize` by [`FromStr`] and `Serialize` by `Display`.
macro_rules! serde_by_text {
    ($t:ty, $expecting:literal) => {
        impl serde::Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$t, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $t;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$t, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

/// A length of time, written `30s`, `500ms`, `15m`, `1h 30m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct HumanDuration(pub(crate) Duration);

impl HumanDuration {
    pub(crate) const fn from_secs(seconds: u64) -> HumanDuration {
        HumanDuration(Duration::from_secs(seconds))
    }

    pub(crate) const fn from_millis(milliseconds: u64) -> HumanDuration {
        HumanDuration(Duration::from_millis(milliseconds))
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<HumanDuration, String> {
        let text = text.trim();
        humantime::parse_duration(text).map(HumanDuration).map_err(|_| {
            format!("`{text}` is not a length of time; write it with its unit, such as `30s` or `500ms`")
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

serde_by_text!(HumanDuration, "a length of time such as `30s`");

/// A number of bytes, written `16MiB`, `64KiB` or plainly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct ByteSize(pub(crate) u64);

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let text = text.trim();
        let unit = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        let (digits, factor) = unit.unwrap_or((text, 1));
        let number = digits
            .trim()
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor));
        number.map(ByteSize).ok_or_else(|| {
            format!("`{text}` is not a size; write bytes, or `KiB`, `MiB`, `GiB`, such as `16MiB`")
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS
            .iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
        {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => self.0.fmt(f),
        }
    }
}

serde_by_text!(ByteSize, "a size such as `16MiB`");

/// A shell pattern: `*`, `?`, `[ab]`, `{a,b}`. `*` also matches `/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern(globset::Glob);

impl Pattern {
    /// The compiled form.
    pub(crate) fn glob(&self) -> &globset::Glob {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let glob = globset::GlobBuilder::new(text)
            .literal_separator(false)
            .backslash_escape(true)
            .build();
        glob.map(Pattern)
            .map_err(|e| format!("`{text}` is not a pattern: {}", e.kind()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.glob())
    }
}

serde_by_text!(Pattern, "a pattern such as `orders-*`");

impl Setting for Vec<Pattern> {
    const MANY: bool = true;

    fn set(&mut self, texts: &[&str]) -> Result<(), String> {
        let texts = texts.iter().map(|t| t.trim()).filter(|t| !t.is_empty());
        *self = texts.map(str::parse).collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// Where an OTLP receiver listens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Endpoint {
    /// As it was given.
    pub(crate) url: String,
    /// The signal's own address, to be used as it is (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`). Otherwise
    /// OTLP/HTTP appends `/v1/traces`, unless the path already ends in `/traces`.
    pub(crate) exact: bool,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        let url = text.trim();
        let bad = |why: &str| format!("`{url}` is not an address ({why}); write it as `http://host:4318`");
        if url.is_empty() {
            return Err(bad("it is empty"));
        }
        let uri: http::Uri = url
            .parse()
            .map_err(|e: http::uri::InvalidUri| bad(&e.to_string()))?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            // not quoted: it holds a password
            return Err("the address holds credentials; give them as a header (`authorization`)".to_owned());
        }
        match uri.scheme_str() {
            None | Some("http" | "https") if uri.host().is_some() => Ok(Endpoint {
                url: url.into(),
                exact: false,
            }),
            None => Err(bad("it names no host")),
            Some(other) => Err(bad(&format!("`{other}` is neither http nor https"))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

serde_by_text!(Endpoint, "an address such as `http://localhost:4318`");

/// An enumeration whose values are words: `Display`, `FromStr`, serde and [`Setting`].
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, as it is written.
            pub(crate) const WORDS: &'static [&'static str] = &[$($text),*];
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<$name, String> {
                match text.trim() {
                    $($text => Ok($name::$variant),)*
                    other => Err($crate::config::error::not_one_of(other, $name::WORDS)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($name::$variant => $text,)* })
            }
        }

        $crate::config::value::serde_by_text!($name, "a word");

        impl $crate::config::value::Setting for $name {
            fn set(&mut self, texts: &[&str]) -> Result<(), String> {
                texts.last().copied().unwrap_or_default().parse().map(|v| *self = v)
            }
        }
    };
}

pub(crate) use {choice, serde_by_text};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_at_commas_outside_braces() {
        assert_eq!(split_list("a,b"), ["a", "b"]);
        assert_eq!(split_list("{a,b}-*,c"), ["{a,b}-*", "c"]);
        assert_eq!(split_list(""), [""]);
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("16MiB", 16 << 20, "16MiB"),
            ("65536", 65536, "64KiB"),
            ("100", 100, "100"),
            (" 2 GiB", 2 << 30, "2GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed), "{text}");
        }
        for bad in ["", "16MB", "-1", "16 EiB", "99999999999999999999GiB"] {
            bad.parse::<ByteSize>().unwrap_err();
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(
            "1m 30s".parse::<HumanDuration>().unwrap().0,
            Duration::from_secs(90)
        );
        assert_eq!(HumanDuration::from_secs(900).to_string(), "15m");
        for bad in ["", "30", "soon"] {
            bad.parse::<HumanDuration>().unwrap_err();
        }
    }

    #[test]
    fn endpoints_are_urls() {
        for good in [
            "http://localhost:4318",
            "https://h/v1/traces",
            "collector:4317",
            "http://[::1]:4318",
        ] {
            good.parse::<Endpoint>().unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        let secret = "http://user:hush@h:4318".parse::<Endpoint>().unwrap_err();
        assert!(
            secret.contains("credentials") && !secret.contains("hush"),
            "{secret}"
        );
        for bad in ["", "ftp://h", "http://", "/v1/traces", "two words"] {
            bad.parse::<Endpoint>().unwrap_err();
        }
    }
}
