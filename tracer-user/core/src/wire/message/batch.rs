//! The record of a message in a batch send (§4.5).
//!
//! ```text
//! totalSize u32 · magic u32 · bodyCRC u32 · flag i32 · bodyLength u32 │ body │ propertiesLength u16 · properties
//! ```

use bytes::Bytes;
use nom::{
    Parser,
    combinator::all_consuming,
    multi::length_data,
    number::complete::{be_i32, be_u16, be_u32},
};

use super::BatchMessage;
use crate::wire::{
    Malformed, Properties,
    parse::{Parsed, finish},
    record::{Head, Record},
};

/// Bytes up to the body.
const HEAD: usize = 20;
/// Longest tail.
const MAX_TAIL: u32 = 2 + 0xffff;

impl Record for BatchMessage {
    type Fixed = BatchMessage;

    fn parse_head(bytes: &[u8]) -> Result<Head<BatchMessage>, Malformed> {
        let Some(head) = bytes.get(..HEAD) else {
            return Ok(Head::More(HEAD));
        };
        // magic and CRC are zero in all known clients, and the broker reads neither
        let (total, _, _, flag, body) = finish(head, "batch record", fixed(head))?;
        match total
            .checked_sub(HEAD as u32)
            .and_then(|rest| rest.checked_sub(body))
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

    fn parse_tail(fixed: BatchMessage, tail: &[u8]) -> Result<BatchMessage, Malformed> {
        let parsed: Parsed<'_, _> = all_consuming(length_data(be_u16)).parse(tail);
        let properties = finish(tail, "batch record's properties", parsed)?;
        Ok(BatchMessage {
            properties: Properties(Bytes::copy_from_slice(properties)),
            ..fixed
        })
    }
}

fn fixed(input: &[u8]) -> Parsed<'_, (u32, u32, u32, i32, u32)> {
    (be_u32, be_u32, be_u32, be_i32, be_u32).parse(input)
}
