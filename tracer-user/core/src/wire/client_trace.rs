//! Records of clients' own message trace (§8.1): the body of a send by a group named [`GROUP_PREFIX`]….
//!
//! ```text
//! body: record · 02 · record · 02 …
//! record: type · 01 · field · 01 · field …
//!
//! SubBefore  startMs · regionId · group · requestId · msgId · retryTimes · keys [· clientHost]
//! SubAfter   requestId · msgId · costMs · success · keys [· contextCode [· endMs · group]]
//! ```
//!
//! The shorter forms of SubAfter are those of C++ and of the cloud's access channel. The other types, `Pub`,
//! `EndTransaction` and `Recall`, tell nothing that the frames themselves do not. Missing values come as the text
//! `null`. Times are wall-clock milliseconds.
//!
//! Limits: [`MAX_INFLATED`] bytes come out of a compressed body.

use std::borrow::Cow;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use super::{SysFlag, sys_flag::Compression};

/// What the names of producer groups that carry trace records start with, in every client.
pub const GROUP_PREFIX: &str = "_INNER_TRACE_PRODUCER";
/// Most bytes that a compressed body may have. Clients put at most 128,000 into one, before compression.
pub const MAX_INFLATED: usize = 1024 * 1024;

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// A listener is about to be called.
    SubBefore(SubBefore<'a>),
    /// It has returned.
    SubAfter(SubAfter<'a>),
    /// Any other type.
    Other(&'a str),
}

/// A listener is about to be called with a message, perhaps one of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubBefore<'a> {
    /// Epoch milliseconds.
    pub start_ms: i64,
    /// Consumer group, without namespace.
    pub group: &'a str,
    /// Names the call.
    pub request_id: &'a str,
    /// The id that the application sees.
    pub message_id: &'a str,
    /// How many times the client has been given the message before, as far as it knows.
    pub retry_times: Option<i32>,
    /// Business keys.
    pub keys: Option<&'a str>,
}

/// The listener has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubAfter<'a> {
    /// Names the call.
    pub request_id: &'a str,
    /// The id that the application sees. C++ names the first message of the call only.
    pub message_id: &'a str,
    /// How long the call took, divided by its number of messages.
    pub cost_ms: Option<i64>,
    /// The listener said so.
    pub success: bool,
    /// Business keys.
    pub keys: Option<&'a str>,
    /// How it returned; see [`SubAfter::outcome`].
    pub context_code: Option<i32>,
    /// Epoch milliseconds.
    pub end_ms: Option<i64>,
    /// Consumer group, without namespace.
    pub group: Option<&'a str>,
}

impl SubAfter<'_> {
    /// How a listener failed: the names of Java's `ConsumeReturnType`, but where it asked for a retry what any other
    /// evidence of that says.
    pub fn outcome(&self) -> &'static str {
        match self.context_code {
            Some(1) => "TIME_OUT",
            Some(2) => "EXCEPTION",
            Some(3) => "RETURNNULL",
            _ => "FAILURE",
        }
    }
}

/// The records of a body that is not compressed; `None` for one that lacks a field or has no number where one
/// belongs.
pub fn records(body: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    body.split(|b| *b == 2)
        .filter(|record| !record.is_empty())
        .map(|record| Record::parse(std::str::from_utf8(record).ok()?))
}

impl<'a> Record<'a> {
    fn parse(text: &'a str) -> Option<Record<'a>> {
        let mut fields = text.split('\u{1}');
        let kind = fields.next()?;
        Some(match kind {
            "SubBefore" => {
                let start_ms = fields.next()?.parse().ok()?;
                let _region = fields.next()?;
                Record::SubBefore(SubBefore {
                    start_ms,
                    group: fields.next()?,
                    request_id: fields.next()?,
                    message_id: fields.next()?,
                    retry_times: fields.next()?.parse().ok(),
                    keys: present(fields.next()),
                })
            }
            "SubAfter" => Record::SubAfter(SubAfter {
                request_id: fields.next()?,
                message_id: fields.next()?,
                cost_ms: fields.next()?.parse().ok(),
                success: fields.next()?.eq_ignore_ascii_case("true"),
                keys: present(fields.next()),
                context_code: fields.next().and_then(|text| text.parse().ok()),
                end_ms: fields.next().and_then(|text| text.parse().ok()),
                group: present(fields.next()),
            }),
            _ => Record::Other(kind),
        })
    }
}

/// A value that is there.
fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !matches!(*text, "" | "null" | "dKey"))
}

/// Why a body cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Compressed in a way that is not undone here.
    #[error("a body compressed as {0:?}")]
    Compression(Compression),
    /// Not what its compression says.
    #[error("a compressed body that is damaged")]
    Damaged,
    /// More than [`MAX_INFLATED`] bytes.
    #[error("a compressed body of more than {MAX_INFLATED} bytes")]
    TooLong,
}

/// The body of a send with this `sysFlag` (§4.2) as it was before compression.
///
/// # Errors
/// [`Unreadable`] where it is compressed with anything but zlib, damaged or too long.
pub fn plain(body: &[u8], flag: SysFlag) -> Result<Cow<'_, [u8]>, Unreadable> {
    match flag.compression() {
        None => Ok(body.into()),
        Some(Compression::Zlib) => decompress_to_vec_zlib_with_limit(body, MAX_INFLATED)
            .map(Cow::from)
            .map_err(|error| match error.status {
                TINFLStatus::HasMoreOutput => Unreadable::TooLong,
                _ => Unreadable::Damaged,
            }),
        Some(other) => Err(Unreadable::Compression(other)),
    }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::*;

    fn record(text: &str) -> Option<Record<'static>> {
        let raw = text.replace('|', "\u{1}").leak();
        let mut found = records(raw.as_bytes());
        let first = found.next().expect("one record");
        assert_eq!(found.next(), None);
        first
    }

    #[test]
    fn before() {
        let java = SubBefore {
            start_ms: 1_758_272_402_126,
            group: "cg-orders",
            request_id: "R1",
            message_id: "M1",
            retry_times: Some(2),
            keys: Some("order-42"),
        };
        for (text, expected) in [
            (
                "SubBefore|1758272402126|DefaultRegion|cg-orders|R1|M1|2|order-42",
                java,
            ),
            (
                "SubBefore|1758272402126||cg-orders|R1|M1|2|order-42|10.1.2.3",
                java,
            ),
            (
                "SubBefore|1758272402126|null|cg-orders|R1|M1|x|null",
                SubBefore {
                    retry_times: None,
                    keys: None,
                    ..java
                },
            ),
        ] {
            assert_eq!(record(text), Some(Record::SubBefore(expected)), "{text}");
        }
    }

    #[test]
    fn after() {
        let java = SubAfter {
            request_id: "R1",
            message_id: "M1",
            cost_ms: Some(12),
            success: true,
            keys: Some("order-42"),
            context_code: Some(0),
            end_ms: Some(1_758_272_402_138),
            group: Some("cg-orders"),
        };
        let cloud = SubAfter {
            end_ms: None,
            group: None,
            ..java
        };
        for (text, expected) in [
            ("SubAfter|R1|M1|12|true|order-42|0|1758272402138|cg-orders", java),
            ("SubAfter|R1|M1|12|true|order-42|0|", cloud),
            (
                "SubAfter|R1|M1|12|true|order-42",
                SubAfter {
                    context_code: None,
                    ..cloud
                },
            ),
            (
                "SubAfter|R1|M1|12|false|dKey",
                SubAfter {
                    context_code: None,
                    success: false,
                    keys: None,
                    ..cloud
                },
            ),
        ] {
            assert_eq!(record(text), Some(Record::SubAfter(expected)), "{text}");
        }
    }

    #[test]
    fn other_types_and_what_is_none() {
        assert_eq!(record("Pub|1|r"), Some(Record::Other("Pub")));
        assert_eq!(record("Recall"), Some(Record::Other("Recall")));
        for text in [
            "SubBefore|x|r|g|R|M|0|k",
            "SubBefore|1|r|g|R",
            "SubAfter|R",
            "SubAfter|R|M|1",
        ] {
            assert_eq!(record(text), None, "{text}");
        }
        assert_eq!(records(b"SubAfter\x01\xff\x02").next(), Some(None));
        assert_eq!(records(b"\x02").next(), None);
    }

    #[test]
    fn outcomes() {
        let outcome = |code| match record(&format!("SubAfter|R|M|1|false|k|{code}|")) {
            Some(Record::SubAfter(after)) => after.outcome(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            ["0", "1", "2", "3", "4", ""].map(outcome),
            [
                "FAILURE",
                "TIME_OUT",
                "EXCEPTION",
                "RETURNNULL",
                "FAILURE",
                "FAILURE"
            ]
        );
    }

    #[test]
    fn compressed() {
        let long = b"SubAfter\x01R\x02".repeat(1000);
        let zlib = compress_to_vec_zlib(&long, 5);
        for flag in [0x001, 0x301] {
            assert_eq!(plain(&zlib, SysFlag(flag)).as_deref(), Ok(long.as_slice()));
        }
        assert_eq!(plain(&long, SysFlag(0)).as_deref(), Ok(long.as_slice()));
        let cut = zlib.get(..zlib.len() / 2).unwrap_or_default();
        assert_eq!(plain(cut, SysFlag(1)), Err(Unreadable::Damaged));
        let bomb = compress_to_vec_zlib(&vec![0; MAX_INFLATED + 1], 9);
        assert_eq!(plain(&bomb, SysFlag(1)), Err(Unreadable::TooLong));
        for (flag, codec) in [(0x101, Compression::Lz4), (0x201, Compression::Zstd)] {
            assert_eq!(plain(&zlib, SysFlag(flag)), Err(Unreadable::Compression(codec)));
        }
    }
}
