//! The administrative requests that tests need, spoken directly: a JVM for them would take seconds.
//!
//! A frame is `length:u32, header length:u32 (top byte 0: JSON), header, body`; the length does not count itself. A broker
//! passes the answer of a client on as that client wrote it, also with a binary header (top byte 1), of which the code is read.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{server::Server, wait};

const UPDATE_AND_CREATE_TOPIC: u32 = 17;
const GET_CONSUMER_LIST_BY_GROUP: u32 = 38;
const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: u32 = 200;
const GET_ROUTEINFO_BY_TOPIC: u32 = 105;
const INVOKE_BROKER_TO_RESET_OFFSET: u32 = 222;
const CONSUME_MESSAGE_DIRECTLY: u32 = 309;
const SET_MESSAGE_REQUEST_MODE: u32 = 401;
const SUCCESS: i64 = 0;
/// Top byte of the header's length where the header is binary (§1.3).
const BINARY: u8 = 1;

/// Creates a topic, with attributes as `+name=value,…` (5.x), and waits until the name server has its route.
pub(crate) fn create_topic(server: &Server, topic: &str, queues: u32, attributes: &str) -> Result<()> {
    let fields = json!({
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues.to_string(),
        "writeQueueNums": queues.to_string(), "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0",
        "order": "false", "attributes": attributes,
    });
    let answer = call(server.broker, UPDATE_AND_CREATE_TOPIC, &fields)?;
    if answer["code"].as_i64() != Some(SUCCESS) {
        bail!("the broker refused: {answer}");
    }
    wait_for_route(server, topic)
}

/// Waits until the name server tells clients about a topic.
pub(crate) fn wait_for_route(server: &Server, topic: &str) -> Result<()> {
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

/// Creates a consumer group, whose first retry comes after a second like those of groups that come into being by themselves.
/// Attributes are `{"+name": value}` (5.x).
pub(crate) fn create_group(server: &Server, group: &str, attributes: &Value) -> Result<()> {
    let config = json!({
        "groupName": group, "consumeEnable": true, "consumeFromMinEnable": true, "consumeBroadcastEnable": true,
        "retryQueueNums": 1, "retryMaxTimes": 16, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
        "notifyConsumerIdsChangedEnable": true, "attributes": attributes,
    });
    let body = serde_json::to_vec(&config)?;
    exchange(
        server.broker,
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        &json!({}),
        &body,
    )
    .map(drop)
}

/// Has the clients of a group pop a topic (`POP`), or pull queues that the broker assigns (`PULL`).
pub(crate) fn set_request_mode(server: &Server, topic: &str, group: &str, mode: &str) -> Result<()> {
    let body = json!({ "topic": topic, "consumerGroup": group, "mode": mode, "popShareQueueNum": 8 });
    let body = serde_json::to_vec(&body)?;
    exchange(server.broker, SET_MESSAGE_REQUEST_MODE, &json!({}), &body).map(drop)
}

/// Sets a group's offsets of a topic back to its first messages, while its clients run. The broker refuses as long as it
/// does not know a client of the group, which on a busy machine takes until a heartbeat or more. It tells the clients in a
/// form that depends on the administrator's language: C++'s client needs one of its own.
pub(crate) fn reset_offset(server: &Server, topic: &str, group: &str, language: &str) -> Result<()> {
    let fields =
        json!({ "topic": topic, "group": group, "timestamp": "0", "isForce": "true", "queueId": "-1" });
    wait::until(Duration::from_secs(40), "the broker resets the offsets", || {
        let answer = exchange_as(
            language,
            server.broker,
            INVOKE_BROKER_TO_RESET_OFFSET,
            &fields,
            &[],
        );
        Ok(answer.map(drop).map_err(|error| error.to_string()))
    })
}

/// Ids of the clients of a group that a broker, or a proxy, knows.
pub(crate) fn consumers(address: SocketAddr, group: &str) -> Result<Vec<String>> {
    let fields = json!({ "consumerGroup": group });
    let body = exchange(address, GET_CONSUMER_LIST_BY_GROUP, &fields, &[])?;
    let body: Value = serde_json::from_slice(&body)?;
    let ids = body["consumerIdList"]
        .as_array()
        .context("no list of consumers")?;
    Ok(ids
        .iter()
        .filter_map(|id| Some(id.as_str()?.to_owned()))
        .collect())
}

/// Has one client of a group process one message, by its offset message id.
pub(crate) fn consume_directly(
    server: &Server,
    topic: &str,
    group: &str,
    client: &str,
    id: &str,
) -> Result<()> {
    let fields = json!({
        "consumerGroup": group, "clientId": client, "msgId": id, "brokerName": "broker-a", "topic": topic,
    });
    exchange(server.broker, CONSUME_MESSAGE_DIRECTLY, &fields, &[]).map(drop)
}

/// A request that must succeed; gives the body of the answer.
fn exchange(address: SocketAddr, code: u32, fields: &Value, body: &[u8]) -> Result<Vec<u8>> {
    exchange_as("RUST", address, code, fields, body)
}

/// The same in the name of a language.
fn exchange_as(
    language: &str,
    address: SocketAddr,
    code: u32,
    fields: &Value,
    body: &[u8],
) -> Result<Vec<u8>> {
    let (header, body) = call_with_body(language, address, code, fields, body)?;
    if header["code"].as_i64() != Some(SUCCESS) {
        bail!("request {code} was refused: {header}");
    }
    Ok(body)
}

/// One request on a connection of its own; gives the header of the answer.
fn call(address: SocketAddr, code: u32, fields: &Value) -> Result<Value> {
    Ok(call_with_body("RUST", address, code, fields, &[])?.0)
}

/// The same with bodies.
fn call_with_body(
    language: &str,
    address: SocketAddr,
    code: u32,
    fields: &Value,
    body: &[u8],
) -> Result<(Value, Vec<u8>)> {
    let header = json!({
        "code": code, "language": language, "version": 0, "opaque": 1, "flag": 0, "serializeTypeCurrentRPC": "JSON",
        "extFields": fields,
    });
    let header = serde_json::to_vec(&header)?;
    let length = u32::try_from(header.len())?;
    let mut frame = Vec::with_capacity(header.len() + body.len() + 8);
    frame.extend((length + 4 + u32::try_from(body.len())?).to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(&header);
    frame.extend(body);

    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&frame)?;
    let mut lengths = [0; 8];
    stream
        .read_exact(&mut lengths)
        .with_context(|| format!("reading the answer of {address}"))?;
    let [total @ .., form, a, b, c] = lengths;
    let header_length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
    let length = usize::try_from(u32::from_be_bytes(total))?;
    let mut header = vec![0; header_length];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; length.saturating_sub(4 + header_length)];
    stream.read_exact(&mut body)?;
    let header = match (form, header.as_slice()) {
        (BINARY, [high, low, ..]) => json!({ "code": i16::from_be_bytes([*high, *low]) }),
        _ => serde_json::from_slice(&header).context("the answer's header is not JSON")?,
    };
    Ok((header, body))
}
