//! The attributes that several spans share.

use std::sync::Arc;

use super::message::Known;
use crate::{
    exchange::Peer,
    model::{Attribute, CapturedProperty, Key, Operation, Value, attribute::*},
    wire::Properties,
};

/// A list of attributes in the making. Each key is set once.
#[derive(Debug)]
pub(crate) struct Attributes(Vec<Attribute>);

impl Attributes {
    /// What every span of an operation has.
    pub(crate) fn new(operation: Operation) -> Attributes {
        let mut attributes = Attributes(Vec::with_capacity(28));
        attributes.set(MESSAGING_SYSTEM, "rocketmq");
        attributes.set(MESSAGING_OPERATION_NAME, operation.name());
        attributes.maybe(MESSAGING_OPERATION_TYPE, operation.kind());
        attributes
    }

    pub(crate) fn set(&mut self, key: Key, value: impl Into<Value>) {
        self.0.push(Attribute::new(key, value));
    }

    pub(crate) fn maybe(&mut self, key: Key, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// The destination: topic, namespace and queue.
    pub(crate) fn destination(&mut self, topic: &Arc<str>, namespace: &Arc<str>, queue_id: Option<i64>) {
        self.set(MESSAGING_DESTINATION_NAME, topic.clone());
        self.set(MESSAGING_ROCKETMQ_NAMESPACE, namespace.clone());
        self.maybe(MESSAGING_DESTINATION_PARTITION_ID, queue_id.map(queue_text));
    }

    /// The client and the address it is connected to.
    pub(crate) fn peer(&mut self, peer: &Peer) {
        self.maybe(MESSAGING_CLIENT_ID, peer.client_id.clone());
        if let Some(server) = peer.server {
            self.maybe(SERVER_ADDRESS, peer.server_address.clone());
            self.set(SERVER_PORT, server.port());
        }
        if let Some(language) = peer.language {
            let name = language
                .name()
                .map_or_else(|| Value::from(language.0.to_string()), Value::from);
            self.set(RMQTRACE_CLIENT_LANGUAGE, name);
        }
        self.maybe(RMQTRACE_CLIENT_VERSION, peer.version_text.clone());
    }

    /// The address that is really connected to.
    pub(crate) fn network(&mut self, peer: &Peer) {
        if let Some(server) = peer.server {
            self.maybe(NETWORK_PEER_ADDRESS, peer.server_address.clone());
            self.set(NETWORK_PEER_PORT, server.port());
        }
    }

    /// What a message's own properties say.
    pub(crate) fn message(&mut self, known: &Known<'_>, sys_flag: i64, born_timestamp: Option<i64>) {
        self.set(MESSAGING_ROCKETMQ_MESSAGE_TYPE, known.kind(sys_flag));
        self.maybe(MESSAGING_ROCKETMQ_MESSAGE_TAG, known.tag.map(str::to_owned));
        let keys = known
            .keys
            .map(|keys| keys.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        self.maybe(
            MESSAGING_ROCKETMQ_MESSAGE_KEYS,
            keys.filter(|keys| !keys.is_empty()),
        );
        self.maybe(
            MESSAGING_ROCKETMQ_MESSAGE_GROUP,
            known.sharding_key.map(str::to_owned),
        );
        self.maybe(
            MESSAGING_MESSAGE_CONVERSATION_ID,
            known.correlation_id.map(str::to_owned),
        );
        self.maybe(MESSAGING_ROCKETMQ_BORN_TIMESTAMP, born_timestamp);
    }

    /// The properties that the configuration asks for. Of a repeated name the last value counts, as it does for Java.
    pub(crate) fn properties(&mut self, captured: &[CapturedProperty], properties: &Properties) {
        for property in captured {
            self.maybe(property.key, properties.get(&property.name).map(str::to_owned));
        }
    }

    /// The finished list.
    pub(crate) fn done(self) -> Vec<Attribute> {
        self.0
    }
}

/// A queue's number as text. Topics rarely have more than a few queues, whose texts are at hand.
fn queue_text(id: i64) -> Value {
    const FEW: [&str; 16] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
    ];
    let known = usize::try_from(id).ok().and_then(|id| FEW.get(id));
    known.map_or_else(|| id.to_string().into(), |text| Value::from(*text))
}
