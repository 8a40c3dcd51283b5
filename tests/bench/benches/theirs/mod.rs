//! The same questions, asked of `rocketmq-protocol`, the wire protocol of rocketmq-rust.

use bench::decode::Found;
use bytes::{Bytes, BytesMut};
use cheetah_string::CheetahString;
use rocketmq_protocol::{
    RemotingCommand,
    protocol::body::message_codec::{decode_message_frame, decode_properties},
};
use std::collections::HashMap;

/// Reads a send and the properties in its header.
pub fn send(mut frame: BytesMut) -> Found {
    let Ok(Some(command)) = RemotingCommand::decode(&mut frame) else {
        panic!("no frame");
    };
    let Some(fields) = command.ext_fields() else {
        panic!("no fields");
    };
    let text = |name: &str| fields.get(name).map_or(0, |text| text.len());
    let queue = fields.get("e").and_then(|id| id.parse::<usize>().ok());
    let properties = fields.get("i").map(|text| decode_properties(text.as_bytes()));
    text("a") + text("b") + queue.unwrap_or(0) + properties.map_or(0, |properties| message(&properties))
}

/// Reads the whole answer to a pull.
pub fn pull(mut frame: BytesMut) -> Found {
    let Ok(Some(command)) = RemotingCommand::decode(&mut frame) else {
        panic!("no frame");
    };
    let mut body: Bytes = command.body().cloned().unwrap_or_default();
    let mut found = 0;
    while !body.is_empty() {
        let Ok(stored) = decode_message_frame(&mut body) else {
            panic!("no message");
        };
        found += stored.topic.len() + stored.queue_id as usize + message(&stored.properties);
    }
    found
}

fn message(properties: &HashMap<CheetahString, CheetahString>) -> Found {
    let text = |name: &str| properties.get(name).map_or(0, |text| text.len());
    text("UNIQ_KEY") + text("KEYS") + text("TAGS") + text("traceparent")
}
