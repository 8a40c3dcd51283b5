//! The frames: JSON headers as Java's client and broker write them (docs/protocol.md §1.2, §2.2), and reading them.

use std::io::Read;

use anyhow::{Context, Result};
use testbed::frames::json;

/// The id of a message: 32 digits, as long as those of real clients.
pub(crate) fn id(number: usize) -> String {
    format!("7F00000100002A139A55{number:012X}")
}

/// SEND_MESSAGE_V2 of message `number`, whose id is also the frame's correlation id.
pub(crate) fn send(number: usize, topic: usize, body: usize) -> Vec<u8> {
    let opaque = number as i32;
    let id = id(number);
    let header = format!(
        "{{\"code\":310,\"extFields\":{{\"a\":\"load-producer\",\"b\":\"load-{topic}\",\"c\":\"TBW102\",\"d\":\"8\",\"e\":\"{queue}\",\
         \"f\":\"0\",\"g\":\"1795000000000\",\"h\":\"0\",\"i\":\"KEYS\\u0001k-{number}\\u0002UNIQ_KEY\\u0001{id}\\u0002WAIT\\u0001true\",\
         \"j\":\"0\",\"k\":\"false\",\"m\":\"false\"}},\"flag\":0,\"language\":\"JAVA\",\"opaque\":{opaque},\
         \"serializeTypeCurrentRPC\":\"JSON\",\"version\":493}}",
        queue = number % 8,
    );
    json(&header, body)
}

/// Its answer.
pub(crate) fn sent(opaque: i32) -> Vec<u8> {
    let header = format!(
        "{{\"code\":0,\"extFields\":{{\"queueId\":\"{queue}\",\"msgId\":\"7F00000100002A9F{opaque:016X}\",\"queueOffset\":\"{opaque}\"}},\
         \"flag\":1,\"language\":\"JAVA\",\"opaque\":{opaque},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":493}}",
        queue = opaque % 8,
    );
    json(&header, 0)
}

/// Reads a frame: its correlation id, and how many bytes it had.
pub(crate) fn read(stream: &mut impl Read) -> Result<(i32, u64)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("the other end is gone")?;
    let mut rest = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut rest)?;
    let header = rest.get(1..4).context("no header length")?;
    let end = 4 + header.iter().fold(0, |n, b| n << 8 | usize::from(*b));
    let header = rest.get(4..end).context("the header is longer than the frame")?;
    let header = std::str::from_utf8(header)?;
    let (_, opaque) = header.split_once("\"opaque\":").context("no opaque")?;
    let digits = opaque.split(|c: char| c != '-' && !c.is_ascii_digit()).next();
    Ok((digits.unwrap_or_default().parse()?, 4 + rest.len() as u64))
}
