//! What consumers' frames mean (§2.3): pulls and what they bring, offsets committed, queried and reset, and
//! messages sent back.

use std::sync::Arc;

use super::{
    Lifecycle, Pending,
    delivery::{Delivery, Source},
    group::{Broker, GroupKey, QueueKey},
    message::Known,
    names::{Name, is_internal, is_tool, own_namespace},
    queue::{Carrier, Commit},
    receive::Receive,
    settle::Settle,
};
use crate::{
    exchange::Peer,
    model::{Operation, Timestamp},
    wire::{Body, Frame, Header, Language, Properties, RequestCode, ResponseCode},
};

/// Bit of a pull's `sysFlag`: `commitOffset` counts (§2.3).
const COMMITS: i64 = 1;

/// A pull that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pull {
    peer: Arc<Peer>,
    /// When it was written.
    start: Timestamp,
    group: GroupKey,
    queue: QueueKey,
    /// Namespace in a field of its own.
    namespace: Option<Arc<str>>,
    /// Of an application that pulls for itself (§2.3).
    lite: bool,
}

/// See [`Commit`].
fn counts_each(peer: &Peer) -> bool {
    peer.language != Some(Language::CPP)
}

impl Lifecycle {
    /// Takes in a pull request. `None` where nothing of its answer matters.
    pub(super) fn pull(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Option<Pull> {
        let header = &frame.header;
        let (Some((group, queue)), Some(offset)) = (self.queue_of(peer, header), header.int("queueOffset"))
        else {
            self.sink.totals.malformed += 1;
            return None;
        };
        if is_internal(Name::parse(&queue.topic).bare) || is_tool(&group.1) {
            return None;
        }
        if self.groups.known(&group).and_then(|group| group.broadcasting) != Some(true) {
            let sink = &mut self.sink;
            self.groups.pulled(&group, &queue, peer, offset, frame.end, sink);
            if header.int("sysFlag").unwrap_or(0) & COMMITS != 0
                && let Some(offset) = header.int("commitOffset")
            {
                let commit = Commit {
                    carrier: Carrier::Pull,
                    connection: peer.connection,
                    offset,
                    start: frame.start,
                    end: frame.end,
                    counts_each: counts_each(peer),
                };
                self.groups.commit(&group, &queue, peer.server, commit, sink);
            }
        }
        Some(Pull {
            peer: peer.clone(),
            start: frame.start,
            group,
            queue,
            namespace: own_namespace(header).map(|namespace| self.sink.name(&namespace)),
            lite: header.request_code() == RequestCode::LITE_PULL_MESSAGE,
        })
    }

    /// Whether a held answer without request is what this pull continues: the connection was joined, or the
    /// request lost, while the broker held it.
    pub(crate) fn continues(pull: &Header, answer: &Frame) -> bool {
        let Body::Messages(messages) = &answer.body else {
            return false;
        };
        let Some(first) = messages.first() else {
            return false;
        };
        pull.int("queueOffset") == answer.header.int("nextBeginOffset")
            && pull.int("queueId") == Some(first.queue_id.into())
            && pull.field("topic").is_some_and(|topic| *topic == *first.topic)
    }

    /// Takes in an answer whose own request was not seen, together with the pull that continues it.
    pub(crate) fn adopt(&mut self, peer: &Arc<Peer>, next: &Header, answer: Frame) {
        if self.passes_on(peer) {
            return;
        }
        let Some((group, queue)) = self.queue_of(peer, next) else {
            return;
        };
        self.sink.totals.adopted_answers += 1;
        self.groups
            .queue(&group, &queue, peer, answer.end, &mut self.sink);
        let namespace = own_namespace(next).map(|namespace| self.sink.name(&namespace));
        let pull = Pull {
            peer: peer.clone(),
            // it was written before anybody looked
            start: answer.start,
            group,
            queue,
            namespace,
            lite: next.request_code() == RequestCode::LITE_PULL_MESSAGE,
        };
        self.pull_answered(pull, answer);
    }

    /// Takes in the answer to a pull.
    pub(super) fn pull_answered(&mut self, pull: Pull, answer: Frame) {
        let code = answer.header.response_code();
        let Pull {
            peer,
            start,
            group: key,
            queue,
            namespace,
            lite,
        } = pull;
        let broadcasting = self.groups.known(&key).and_then(|group| group.broadcasting);
        if let Some(queue) = self.groups.known_queue(&key, &queue) {
            match code {
                ResponseCode::SUCCESS
                | ResponseCode::PULL_NOT_FOUND
                | ResponseCode::PULL_RETRY_IMMEDIATELY => {
                    queue.answered(answer.header.int("nextBeginOffset"), answer.end);
                }
                ResponseCode::PULL_OFFSET_MOVED => {
                    queue.unanswered();
                    queue.moved();
                }
                _ => queue.unanswered(),
            }
        }
        if code != ResponseCode::SUCCESS {
            return;
        }
        let Body::Messages(messages) = answer.body else {
            return;
        };
        let mut receive = Receive::begin(start, &mut self.sink);
        // of a static topic the request names a logical queue, and messages stand in physical ones (§2.3)
        let shift = answer.header.int("offsetDelta");
        let source = Arc::new(Source {
            group: Some(self.sink.name(Name::parse(&key.1).bare)),
            broker_name: match &queue.broker {
                Broker::Name(name) => Some(name.clone()),
                Broker::Address(_) | Broker::Unknown => None,
            },
            peer,
            namespace,
            requested: None,
            broadcasting,
            polled: lite || self.groups.known(&key).is_some_and(|group| group.polled),
            delivered: answer.end,
            unfinished: if answer.incomplete {
                answer.start
            } else {
                answer.end
            },
            incomplete: answer.incomplete,
            receive: receive.as_ref().map(|receive| receive.context),
        });
        for mut message in messages {
            self.sink.totals.messages_delivered += 1;
            let known = self.groups.known(&key);
            if known.is_some_and(|group| group.filters_out(&queue.topic, &message.properties)) {
                self.sink.totals.messages_filtered += 1;
                continue;
            }
            if let Some(shift) = shift {
                message.queue_offset = message.queue_offset.saturating_add(shift);
                message.queue_id = queue.id.try_into().unwrap_or(message.queue_id);
            }
            let failed = &mut self.groups.ends().failed;
            let delivery = Delivery::new(message, &source, &mut self.sink, failed);
            if let Some(receive) = &mut receive {
                receive.brought(&delivery);
            }
            if broadcasting == Some(true) {
                self.groups.end_untold(delivery, &mut self.sink);
            } else {
                self.groups.deliver(&key, &queue, delivery, &mut self.sink);
            }
        }
        if let Some(receive) = receive {
            receive.finish(&source, (&queue.topic, Some(queue.id)), &mut self.sink);
        }
    }

    /// Takes in an answer whose request never came and which no pull continues. Its messages were delivered,
    /// nobody knows to which group.
    pub(crate) fn orphaned(&mut self, peer: &Arc<Peer>, answer: Frame) {
        self.sink.totals.unpaired_answers += 1;
        let Body::Messages(messages) = answer.body else {
            return;
        };
        if answer.header.response_code() != ResponseCode::SUCCESS
            || !["nextBeginOffset", "popTime"]
                .iter()
                .any(|field| answer.header.int(field).is_some())
            || self.passes_on(peer)
        {
            return;
        }
        let source = Arc::new(Source {
            peer: peer.clone(),
            group: None,
            broker_name: None,
            namespace: None,
            requested: None,
            broadcasting: None,
            polled: true,
            delivered: answer.end,
            unfinished: answer.end,
            incomplete: true,
            receive: None,
        });
        for message in messages {
            if is_internal(Name::parse(&message.topic).bare) {
                continue;
            }
            self.sink.totals.messages_delivered += 1;
            let failed = &mut self.groups.ends().failed;
            let delivery = Delivery::new(message, &source, &mut self.sink, failed);
            self.groups.end_untold(delivery, &mut self.sink);
        }
    }

    /// Gives up waiting for the answer to a pull.
    pub(super) fn pull_unanswered(&mut self, pull: &Pull) {
        if let Some(queue) = self.groups.known_queue(&pull.group, &pull.queue) {
            queue.unanswered();
        }
    }

    /// Takes in RESET_CONSUMER_CLIENT_OFFSET, from the broker.
    pub(super) fn reset(&mut self, peer: &Peer, header: &Header) {
        if let (Some(group), Some(topic)) = (header.field("group"), header.field("topic")) {
            let key = (peer.process, self.sink.name(&group));
            self.sink.totals.offset_resets += 1;
            self.groups.reset(&key, &topic);
        }
    }

    /// Takes in QUERY_CONSUMER_OFFSET.
    pub(super) fn query_offset(&mut self, peer: &Peer, frame: &Frame) {
        if let Some((group, queue)) = self.queue_of(peer, &frame.header)
            && let Some(queue) = self.groups.find_queue(&group, &queue, peer.server)
        {
            queue.moved();
        }
    }

    /// Takes in UPDATE_CONSUMER_OFFSET.
    pub(super) fn update_offset(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let header = &frame.header;
        let (Some((group, queue)), Some(offset)) = (self.queue_of(peer, header), header.int("commitOffset"))
        else {
            self.sink.totals.malformed += 1;
            return Pending::Other;
        };
        let commit = Commit {
            carrier: Carrier::Update,
            connection: peer.connection,
            offset,
            start: frame.start,
            end: frame.end,
            counts_each: counts_each(peer),
        };
        let settled = self
            .groups
            .commit(&group, &queue, peer.server, commit, &mut self.sink);
        Settle::begin(Operation::Commit, peer, frame, settled).map_or(Pending::Other, Pending::Settle)
    }

    /// Takes in CONSUMER_SEND_MSG_BACK: processing failed, by the time the request was written.
    pub(super) fn send_back(&mut self, peer: &Arc<Peer>, frame: &Frame) -> Pending {
        let header = &frame.header;
        let (Some(group), Some(offset)) = (header.field("group"), header.int("offset")) else {
            self.sink.totals.malformed += 1;
            return Pending::Other;
        };
        let key = (peer.process, self.sink.name(&group));
        let id = header.field("originMsgId").filter(|id| !id.is_empty());
        // two brokers may have the same commit-log offset; the id or else the topic tells them apart
        let topic = header.field("originTopic");
        let fits = |delivery: &Delivery| {
            delivery.message.physical_offset == offset
                && match &id {
                    Some(id) => delivery.is_called(id),
                    None => topic
                        .as_ref()
                        .is_none_or(|topic| *delivery.message.topic == **topic),
                }
        };
        let settled = self.groups.send_back(&key, fits, frame.end, &mut self.sink);
        Settle::begin(Operation::Nack, peer, frame, settled).map_or(Pending::Other, Pending::Settle)
    }

    /// Takes in a client's own send to its retry topic, which it makes when CONSUMER_SEND_MSG_BACK failed
    /// (§6.2).
    pub(super) fn sent_to_retry(
        &mut self,
        peer: &Arc<Peer>,
        group: &str,
        properties: &Properties,
        frame: &Frame,
    ) -> Pending {
        let known = Known::read(properties);
        let Some(id) = known.origin_id.or(known.unique_key) else {
            return Pending::Other;
        };
        let key = (peer.process, self.sink.name(group));
        let fits = |delivery: &Delivery| delivery.is_called(id);
        let settled = self.groups.send_back(&key, fits, frame.end, &mut self.sink);
        Settle::begin(Operation::Nack, peer, frame, settled).map_or(Pending::Other, Pending::Settle)
    }

    /// The group and the queue that a request is about.
    fn queue_of(&mut self, peer: &Peer, header: &Header) -> Option<(GroupKey, QueueKey)> {
        let group = header.field("consumerGroup").filter(|group| !group.is_empty())?;
        let topic = header.field("topic").filter(|topic| !topic.is_empty())?;
        let id = header.int("queueId")?;
        let broker = match (header.field("bname").filter(|name| !name.is_empty()), peer.server) {
            (Some(name), _) => Broker::Name(self.sink.name(&name)),
            (None, Some(address)) => Broker::Address(address),
            (None, None) => Broker::Unknown,
        };
        let group = (peer.process, self.sink.name(&group));
        Some((
            group,
            QueueKey {
                topic: self.sink.name(&topic),
                id,
                broker,
            },
        ))
    }
}
