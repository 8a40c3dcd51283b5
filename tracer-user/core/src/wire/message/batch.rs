//! The record of a message in a batch send (§4.5).
//!
//! ```text
//! totalSize u32 · magic u32 · bodyCRC u32 · flag i32 · bodyLength u32 │ body │ propertiesLength u16 · properties
//! ```
//!
//! The broker does not look at `totalSize`: it goes by the lengths of body and properties. EMQX's Erlang client leaves the
//! field's own four bytes out of it.

use super::BatchMessage;
use crate::wire::{
    Malformed, Properties, read,
    record::{Head, Record},
};

/// Bytes up to the body.
const HEAD: usize = 20;
/// Longest tail.
const MAX_TAIL: u32 = 2 + 0xffff;
/// By how much `totalSize` may be too small.
const SHORT: usize = 4;

impl Record for BatchMessage {
    type Fixed = BatchMessage;

    fn parse_head(bytes: &[u8]) -> Result<Head<BatchMessage>, Malformed> {
        let Some((total, flag, body)) = head(bytes) else {
            return Ok(Head::More(HEAD));
        };
        match total
            .checked_add(SHORT as u32)
            .and_then(|total| total.checked_sub(HEAD as u32)?.checked_sub(body))
            .filter(|most| *most >= 2)
            .map(|most| most.saturating_sub(SHORT as u32).max(2))
        {
            Some(tail @ 2..=MAX_TAIL) => {
                let fixed = BatchMessage {
                    flag,
                    body_length: body,
                    properties: Properties::default(),
                };
                Ok(Head::Record {
                    fixed,
                    head: HEAD as u32,
                    body,
                    tail,
                })
            }
            _ => Err(Malformed {
                what: "batch record's lengths",
                at: 0,
            }),
        }
    }

    fn tail_length(start: &[u8], told: usize) -> usize {
        let length = start
            .first_chunk()
            .map(|length| 2 + usize::from(u16::from_be_bytes(*length)));
        length
            .filter(|length| (told..=told + SHORT).contains(length))
            .unwrap_or(told)
    }

    fn parse_tail(
        fixed: BatchMessage,
        tail: &[u8],
        _before: Option<&BatchMessage>,
    ) -> Result<BatchMessage, Malformed> {
        let properties = trailer(tail).ok_or(Malformed {
            what: "batch record's properties",
            at: 0,
        })?;
        Ok(BatchMessage {
            properties: Properties(properties.into()),
            ..fixed
        })
    }
}

/// `totalSize`, `flag` and `bodyLength`. Magic and CRC are zero in all known clients, and the broker reads neither.
fn head(mut input: &[u8]) -> Option<(u32, i32, u32)> {
    let input = &mut input;
    let (total, _magic, _crc) = (read::u32(input)?, read::u32(input)?, read::u32(input)?);
    Some((total, read::i32(input)?, read::u32(input)?))
}

/// The properties; they end where the record ends.
fn trailer(mut input: &[u8]) -> Option<&[u8]> {
    let length = read::u16(&mut input)?;
    let properties = read::bytes(&mut input, length.into())?;
    input.is_empty().then_some(properties)
}
