//! The record of a stored message (§4.1).
//!
//! ```text
//! totalSize u32 · magic u32 · bodyCRC u32 · queueId i32 · flag i32 · queueOffset i64 · physicalOffset i64 ·
//! sysFlag i32 · bornTimestamp i64 · bornHost · storeTimestamp i64 · storeHost · reconsumeTimes i32 ·
//! preparedTransactionOffset i64 · bodyLength u32 │ body │ topicLength u8 (u16 with V2) · topic ·
//! propertiesLength u16 · properties
//! host: address 4 bytes (16 by sysFlag) · port u32
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use nom::{
    Parser,
    combinator::{all_consuming, map, map_opt},
    error::context,
    multi::length_data,
    number::complete::{be_i32, be_i64, be_u8, be_u16, be_u32, be_u128},
};

use super::{BatchMessage, StoredMessage};
use crate::wire::{
    Malformed, Properties, SysFlag,
    parse::{Parsed, finish},
    record::{Head, Record},
};

/// Magic of the layout with one byte for the topic's length.
const MAGIC_V1: u32 = 0xdaa3_20a7;
/// Magic of the layout with two bytes for the topic's length.
const MAGIC_V2: u32 = 0xdaa3_20ab;
/// Magic of the filler at the end of a commit-log file.
const MAGIC_FILLER: u32 = 0xcbd4_3194;
/// Bytes of the smallest record.
pub(crate) const MIN_STORED: u32 = 91;
/// Bytes up to and with `sysFlag`, which tells the length of the hosts.
const UP_TO_SYS_FLAG: usize = 40;
/// Bytes up to the body with two IPv4 hosts.
const HEAD_V4: usize = 88;
/// What an IPv6 host adds.
const V6_EXTRA: usize = 12;
/// Longest tail: both lengths and what they can announce.
const MAX_TAIL: u32 = 2 + 0xffff + 2 + 0xffff;

/// Whether the 8 bytes start a stored message that fits into `room` bytes.
pub(crate) fn starts_stored(bytes: &[u8; 8], room: u32) -> bool {
    let [size @ .., _, _, _, _] = *bytes;
    let [_, _, _, _, magic @ ..] = *bytes;
    let (size, magic) = (u32::from_be_bytes(size), u32::from_be_bytes(magic));
    (MIN_STORED..=room).contains(&size) && matches!(magic, MAGIC_V1 | MAGIC_V2)
}

/// A stored message without topic and properties.
#[derive(Debug)]
pub(crate) struct Fixed {
    message: StoredMessage,
    /// The topic's length has two bytes.
    v2: bool,
}

impl Record for StoredMessage {
    type Fixed = Fixed;

    fn wraps(fixed: &Fixed) -> bool {
        fixed.message.system_flags().wraps_messages()
    }

    /// As Java's client does: what a record within does not say is that of the record around it.
    fn unwrap(&self, mut body: &[u8]) -> Option<Vec<StoredMessage>> {
        let mut messages = Vec::new();
        while !body.is_empty() {
            let length = body.first_chunk().map(|length| u32::from_be_bytes(*length))?;
            let (record, rest) = body.split_at_checked(length as usize)?;
            let BatchMessage {
                flag,
                body_length,
                properties,
            } = BatchMessage::parse_whole(record).ok()?;
            messages.push(StoredMessage {
                flag,
                body_length,
                properties,
                queue_offset: self.queue_offset.checked_add(messages.len() as i64)?,
                reconsume_times: 0,
                topic: self.topic.clone(),
                ..*self
            });
            body = rest;
        }
        Some(messages)
    }

    fn parse_head(bytes: &[u8]) -> Result<Head<Fixed>, Malformed> {
        let Some(start) = bytes.get(..UP_TO_SYS_FLAG) else {
            return Ok(Head::More(UP_TO_SYS_FLAG));
        };
        let (total, magic, .., sys_flag) = finish(start, "record", start_fields(start))?;
        match magic {
            MAGIC_FILLER if total as usize >= UP_TO_SYS_FLAG => return Ok(Head::Filler(total)),
            MAGIC_V1 | MAGIC_V2 if total >= MIN_STORED => {}
            _ => {
                return Err(Malformed {
                    what: "record's size or magic",
                    at: 0,
                });
            }
        }
        let flags = SysFlag(sys_flag);
        let v6_hosts = usize::from(flags.born_host_v6()) + usize::from(flags.store_host_v6());
        let need = HEAD_V4 + v6_hosts * V6_EXTRA;
        let Some(head) = bytes.get(..need) else {
            return Ok(Head::More(need));
        };
        let message = finish(head, "record", fixed(head, flags))?;
        let (head, body) = (need as u32, message.body_length);
        match total.checked_sub(head).and_then(|rest| rest.checked_sub(body)) {
            Some(tail) if tail <= MAX_TAIL => Ok(Head::Record {
                fixed: Fixed {
                    message,
                    v2: magic == MAGIC_V2,
                },
                head,
                body,
                tail,
            }),
            _ => Err(Malformed {
                what: "record's body length",
                at: need - 4,
            }),
        }
    }

    fn parse_tail(fixed: Fixed, tail: &[u8]) -> Result<StoredMessage, Malformed> {
        let (topic, properties) = finish(tail, "record's tail", trailer(tail, fixed.v2))?;
        Ok(StoredMessage {
            topic: String::from_utf8_lossy(topic).into_owned(),
            properties: Properties(Bytes::copy_from_slice(properties)),
            ..fixed.message
        })
    }
}

/// `totalSize`, `magic`, `bodyCRC`, `queueId`, `flag`, `queueOffset`, `physicalOffset`, `sysFlag`.
#[expect(clippy::type_complexity, reason = "the fields in the order of the wire")]
fn start_fields(input: &[u8]) -> Parsed<'_, (u32, u32, u32, i32, i32, i64, i64, i32)> {
    (be_u32, be_u32, be_u32, be_i32, be_i32, be_i64, be_i64, be_i32).parse(input)
}

fn fixed(input: &[u8], flags: SysFlag) -> Parsed<'_, StoredMessage> {
    let (rest, (_, _, _, queue_id, flag, queue_offset, physical_offset, sys_flag)) = start_fields(input)?;
    let (rest, (born_timestamp, born_host)) =
        (be_i64, context("born host", host(flags.born_host_v6()))).parse(rest)?;
    let (rest, (store_timestamp, store_host)) =
        (be_i64, context("store host", host(flags.store_host_v6()))).parse(rest)?;
    let (rest, (reconsume_times, prepared_transaction_offset, body_length)) =
        (be_i32, be_i64, be_u32).parse(rest)?;
    let message = StoredMessage {
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body_length,
        topic: String::new(),
        properties: Properties::default(),
    };
    Ok((rest, message))
}

/// An address and its port, which has four bytes of which two are used.
fn host<'a>(v6: bool) -> impl FnMut(&'a [u8]) -> Parsed<'a, SocketAddr> {
    move |input| {
        let (rest, ip) = if v6 {
            map(be_u128, |ip| IpAddr::V6(Ipv6Addr::from(ip))).parse(input)?
        } else {
            map(be_u32, |ip| IpAddr::V4(Ipv4Addr::from(ip))).parse(input)?
        };
        map_opt(be_u32, |port| {
            Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
        })
        .parse(rest)
    }
}

/// Topic and properties; they end where the record ends.
fn trailer(input: &[u8], v2: bool) -> Parsed<'_, (&[u8], &[u8])> {
    let (rest, length) = if v2 {
        be_u16(input)?
    } else {
        map(be_u8, u16::from).parse(input)?
    };
    let topic = context("topic", nom::bytes::complete::take(length));
    let properties = context("properties", length_data(be_u16));
    all_consuming((topic, properties)).parse(rest)
}
