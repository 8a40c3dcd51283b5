//! The two administrative requests that tests need, spoken directly: a JVM for them would take seconds.
//!
//! A frame is `length:u32, header length:u32 (top byte 0: JSON), header, body`; the length does not count itself.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{server::Server, wait};

const UPDATE_AND_CREATE_TOPIC: u32 = 17;
const GET_ROUTEINFO_BY_TOPIC: u32 = 105;
const SUCCESS: i64 = 0;

/// Creates a topic and waits until the name server has its route.
pub(crate) fn create_topic(server: &Server, topic: &str, queues: u32) -> Result<()> {
    let fields = json!({
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues.to_string(),
        "writeQueueNums": queues.to_string(), "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
        "order": "false",
    });
    let answer = call(server.broker, UPDATE_AND_CREATE_TOPIC, &fields)?;
    if answer["code"].as_i64() != Some(SUCCESS) {
        bail!("the broker refused: {answer}");
    }
    wait::until(Duration::from_secs(30), "the name server has the route", || {
        let answer = call(
            server.name_server,
            GET_ROUTEINFO_BY_TOPIC,
            &json!({ "topic": topic }),
        )?;
        Ok(if answer["code"].as_i64() == Some(SUCCESS) {
            Ok(())
        } else {
            Err(answer.to_string())
        })
    })
}

/// One request on a connection of its own; gives the header of the answer.
fn call(address: SocketAddr, code: u32, fields: &Value) -> Result<Value> {
    let header = json!({
        "code": code, "language": "RUST", "version": 0, "opaque": 1, "flag": 0, "serializeTypeCurrentRPC": "JSON",
        "extFields": fields,
    });
    let header = serde_json::to_vec(&header)?;
    let length = u32::try_from(header.len())?;
    let mut frame = Vec::with_capacity(header.len() + 8);
    frame.extend((length + 4).to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(&header);

    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&frame)?;
    let mut lengths = [0; 8];
    stream
        .read_exact(&mut lengths)
        .with_context(|| format!("reading the answer of {address}"))?;
    let header_length = u32::from_be_bytes([0, lengths[5], lengths[6], lengths[7]]);
    let mut header = vec![0; usize::try_from(header_length)?];
    stream.read_exact(&mut header)?;
    serde_json::from_slice(&header).context("the answer's header is not JSON")
}
