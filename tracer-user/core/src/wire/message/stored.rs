//! The record of a stored message (§4.1).
//!
//! ```text
//! totalSize u32 · magic u32 · bodyCRC u32 · queueId i32 · flag i32 · queueOffset i64 · physicalOffset i64 ·
//! sysFlag i32 · bornTimestamp i64 · bornHost · storeTimestamp i64 · storeHost · reconsumeTimes i32 ·
//! preparedTransactionOffset i64 · bodyLength u32 │ body │ topicLength u8 (u16 with V2) · topic ·
//! propertiesLength u16 · properties
//! host: address 4 bytes (16 by sysFlag) · port u32
//! ```

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{BatchMessage, StoredMessage};
use crate::wire::{
    Malformed, Properties, SysFlag, read,
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

    #[inline(always)]
    fn parse_head(bytes: &[u8]) -> Result<Head<Fixed>, Malformed> {
        let Some(start) = Start::read(bytes) else {
            return Ok(Head::More(UP_TO_SYS_FLAG));
        };
        let total = start.total;
        match start.magic {
            MAGIC_FILLER if total as usize >= UP_TO_SYS_FLAG => return Ok(Head::Filler(total)),
            MAGIC_V1 | MAGIC_V2 if total >= MIN_STORED => {}
            _ => {
                return Err(Malformed {
                    what: "record's size or magic",
                    at: 0,
                });
            }
        }
        let flags = SysFlag(start.sys_flag);
        let v6_hosts = usize::from(flags.born_host_v6()) + usize::from(flags.store_host_v6());
        let need = HEAD_V4 + v6_hosts * V6_EXTRA;
        let Some(head) = bytes.get(..need) else {
            return Ok(Head::More(need));
        };
        let message = fixed(&start, head).ok_or(Malformed {
            what: "record's hosts",
            at: UP_TO_SYS_FLAG,
        })?;
        let (head, body) = (need as u32, message.body_length);
        match total.checked_sub(head).and_then(|rest| rest.checked_sub(body)) {
            Some(tail) if tail <= MAX_TAIL => Ok(Head::Record {
                fixed: Fixed {
                    message,
                    v2: start.magic == MAGIC_V2,
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

    #[inline(always)]
    fn parse_tail(
        fixed: Fixed,
        tail: &[u8],
        before: Option<&StoredMessage>,
    ) -> Result<StoredMessage, Malformed> {
        let (topic, properties) = trailer(tail, fixed.v2).ok_or(Malformed {
            what: "record's tail",
            at: 0,
        })?;
        Ok(StoredMessage {
            topic: match before {
                Some(before) if before.topic.as_bytes() == topic => before.topic.clone(),
                _ => String::from_utf8_lossy(topic).into(),
            },
            properties: Properties(properties.into()),
            ..fixed.message
        })
    }
}

/// `totalSize`, `magic`, `bodyCRC`, `queueId`, `flag`, `queueOffset`, `physicalOffset`, `sysFlag`.
struct Start {
    total: u32,
    magic: u32,
    queue_id: i32,
    flag: i32,
    queue_offset: i64,
    physical_offset: i64,
    sys_flag: i32,
}

impl Start {
    fn read(mut input: &[u8]) -> Option<Start> {
        let input = &mut input;
        let (total, magic, _crc) = (read::u32(input)?, read::u32(input)?, read::u32(input)?);
        Some(Start {
            total,
            magic,
            queue_id: read::i32(input)?,
            flag: read::i32(input)?,
            queue_offset: read::i64(input)?,
            physical_offset: read::i64(input)?,
            sys_flag: read::i32(input)?,
        })
    }
}

/// The whole head; `None` where a port is none.
#[inline(always)]
fn fixed(start: &Start, head: &[u8]) -> Option<StoredMessage> {
    let input = &mut head.get(UP_TO_SYS_FLAG..)?;
    let flags = SysFlag(start.sys_flag);
    Some(StoredMessage {
        queue_id: start.queue_id,
        flag: start.flag,
        queue_offset: start.queue_offset,
        physical_offset: start.physical_offset,
        sys_flag: start.sys_flag,
        born_timestamp: read::i64(input)?,
        born_host: host(input, flags.born_host_v6())?,
        store_timestamp: read::i64(input)?,
        store_host: host(input, flags.store_host_v6())?,
        reconsume_times: read::i32(input)?,
        prepared_transaction_offset: read::i64(input)?,
        body_length: read::u32(input)?,
        topic: Arc::default(),
        properties: Properties::default(),
    })
}

/// An address and its port, which has four bytes of which two are used.
fn host(input: &mut &[u8], v6: bool) -> Option<SocketAddr> {
    let ip = if v6 {
        IpAddr::V6(Ipv6Addr::from(read::array::<16>(input)?))
    } else {
        IpAddr::V4(Ipv4Addr::from(read::array::<4>(input)?))
    };
    let port = read::u32(input)?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

/// Topic and properties; they end where the record ends.
fn trailer(mut input: &[u8], v2: bool) -> Option<(&[u8], &[u8])> {
    let input = &mut input;
    let length = if v2 {
        read::u16(input)?
    } else {
        read::u8(input)?.into()
    };
    let topic = read::bytes(input, length.into())?;
    let length = read::u16(input)?;
    let properties = read::bytes(input, length.into())?;
    input.is_empty().then_some((topic, properties))
}
