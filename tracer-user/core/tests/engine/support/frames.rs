//! Frames as clients and brokers make them, with what a test says about them.

/// Request codes (§2).
pub(crate) const SEND: i32 = 10;
pub(crate) const SEND_V2: i32 = 310;
pub(crate) const SEND_BATCH: i32 = 320;
pub(crate) const PULL: i32 = 11;
pub(crate) const LITE_PULL: i32 = 361;
pub(crate) const UPDATE_OFFSET: i32 = 15;
pub(crate) const SEND_BACK: i32 = 36;
pub(crate) const HEART_BEAT: i32 = 34;
pub(crate) const REPLY: i32 = 325;
pub(crate) const POP: i32 = 200_050;
pub(crate) const POP_LITE: i32 = 200_070;
pub(crate) const ACK: i32 = 200_051;
pub(crate) const CHANGE_INVISIBLE: i32 = 200_053;
pub(crate) const BATCH_ACK: i32 = 200_151;

/// A frame in the making.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    code: i32,
    opaque: i32,
    flag: i32,
    version: i32,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    binary: bool,
    /// The header instead of all that.
    header: Option<String>,
    language: &'static str,
}

/// A frame with this JSON header, byte for byte.
pub(crate) fn raw(header: &str) -> Frame {
    Frame {
        header: Some(header.to_owned()),
        ..request(0, 0)
    }
}

pub(crate) fn request(code: i32, opaque: i32) -> Frame {
    Frame {
        code,
        opaque,
        flag: 0,
        version: 479,
        fields: Vec::new(),
        body: Vec::new(),
        binary: false,
        header: None,
        language: "JAVA",
    }
}

pub(crate) fn response(code: i32, opaque: i32) -> Frame {
    Frame {
        flag: 1,
        ..request(code, opaque)
    }
}

impl Frame {
    pub(crate) fn field(mut self, name: &str, value: impl ToString) -> Frame {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn set_code(&mut self, code: i32) {
        self.code = code;
    }

    /// Another value for a field.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.fields.retain(|(other, _)| other != name);
        self.fields.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Frame {
        self.body = body.into();
        self
    }

    pub(crate) fn one_way(mut self) -> Frame {
        self.flag = 2;
        self
    }

    pub(crate) fn two_way(mut self) -> Frame {
        self.flag = 0;
        self
    }

    pub(crate) fn version(mut self, version: i32) -> Frame {
        self.version = version;
        self
    }

    pub(crate) fn language(mut self, language: &'static str) -> Frame {
        self.language = language;
        self
    }

    pub(crate) fn binary(mut self) -> Frame {
        self.binary = true;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = if self.binary {
            self.binary_header()
        } else {
            self.json_header()
        };
        let mut out = ((4 + header.len() + self.body.len()) as u32)
            .to_be_bytes()
            .to_vec();
        out.extend((u32::from(self.binary) << 24 | header.len() as u32).to_be_bytes());
        out.extend(header);
        out.extend(&self.body);
        out
    }

    fn json_header(&self) -> Vec<u8> {
        if let Some(header) = &self.header {
            return header.clone().into_bytes();
        }
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()));
        let header = serde_json::json!({
            "code": self.code,
            "extFields": serde_json::Value::Object(fields.collect()),
            "flag": self.flag,
            "language": self.language,
            "opaque": self.opaque,
            "version": self.version,
        });
        header.to_string().into_bytes()
    }

    fn binary_header(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (name, value) in &self.fields {
            fields.extend((name.len() as u16).to_be_bytes());
            fields.extend(name.as_bytes());
            fields.extend((value.len() as u32).to_be_bytes());
            fields.extend(value.as_bytes());
        }
        // POP codes lose their upper bits
        let mut out = (self.code as u16).to_be_bytes().to_vec();
        out.push(0);
        out.extend((self.version as u16).to_be_bytes());
        out.extend(self.opaque.to_be_bytes());
        out.extend(self.flag.to_be_bytes());
        out.extend([0; 4]);
        out.extend((fields.len() as u32).to_be_bytes());
        out.extend(fields);
        out
    }
}

/// `name=value;name=value` as message properties.
pub(crate) fn properties(text: &str) -> String {
    let entries = text.split(';').filter(|entry| !entry.is_empty());
    entries
        .map(|entry| format!("{}\u{2}", entry.replacen('=', "\u{1}", 1)))
        .collect()
}

/// A send request of Java's; `with` are the message's properties.
pub(crate) fn send(opaque: i32, topic: &str, with: &str) -> Frame {
    request(SEND_V2, opaque)
        .field("a", "pg")
        .field("b", topic)
        .field("e", 2)
        .field("f", 0)
        .field("g", 1_758_272_400_123i64)
        .field("i", properties(with))
        .field("m", false)
        .field("n", "broker-a")
        .body("hello")
}

/// A send request of Go's.
pub(crate) fn send_v1(opaque: i32, topic: &str, with: &str) -> Frame {
    request(SEND, opaque)
        .field("producerGroup", "pg")
        .field("topic", topic)
        .field("queueId", 1)
        .field("sysFlag", 0)
        .field("bornTimestamp", 1_758_272_400_123i64)
        .field("properties", properties(with))
        .field("batch", false)
        .field("bname", "broker-a")
        .body("hello")
}

/// What the consumers of `group` say about themselves.
pub(crate) fn traced(opaque: i32, group: &str, records: &[String]) -> Frame {
    let mut frame = send(opaque, "RMQ_SYS_TRACE_TOPIC", "UNIQ_KEY=trace").body(records.concat());
    frame.set("a", format!("_INNER_TRACE_PRODUCER-{group}-CONSUME-1"));
    frame
}

/// A reply of Java's; `with` are its properties.
pub(crate) fn reply(opaque: i32, with: &str) -> Frame {
    let mut frame = send(opaque, "DefaultCluster_REPLY_TOPIC", with);
    frame.code = REPLY;
    frame
}

/// A batch of messages with these properties; `outer` are those around them.
pub(crate) fn send_batch(opaque: i32, topic: &str, outer: &str, messages: &[&str]) -> Frame {
    let mut frame = send(opaque, topic, outer).body(batch_records(messages));
    frame.code = SEND_BATCH;
    frame.fields.retain(|(name, _)| name != "m");
    frame.field("m", true)
}

/// A broker's answer to a send.
pub(crate) fn sent(opaque: i32, code: i32) -> Frame {
    response(code, opaque)
        .field("msgId", "C0A8000A00002A9F000000000001F4A0")
        .field("queueId", 2)
        .field("queueOffset", 1234)
}

/// A pull request; with a committed offset where there is one.
pub(crate) fn pull(
    opaque: i32,
    group: &str,
    topic: &str,
    queue: i32,
    offset: i64,
    commit: Option<i64>,
) -> Frame {
    request(PULL, opaque)
        .field("consumerGroup", group)
        .field("topic", topic)
        .field("queueId", queue)
        .field("queueOffset", offset)
        .field("sysFlag", if commit.is_some() { 3 } else { 2 })
        .field("commitOffset", commit.unwrap_or(0))
        .field("suspendTimeoutMillis", 15000)
        .field("bname", "broker-a")
}

/// An answer with messages, after which pulling goes on at `next`.
pub(crate) fn found(opaque: i32, next: i64, messages: &[Message]) -> Frame {
    empty(opaque, 0, next).body(messages.iter().flat_map(Message::bytes).collect::<Vec<u8>>())
}

/// An answer without messages.
pub(crate) fn empty(opaque: i32, code: i32, next: i64) -> Frame {
    response(code, opaque)
        .field("nextBeginOffset", next)
        .field("minOffset", 0)
        .field("maxOffset", next)
}

pub(crate) fn update_offset(opaque: i32, group: &str, topic: &str, queue: i32, offset: i64) -> Frame {
    request(UPDATE_OFFSET, opaque)
        .field("consumerGroup", group)
        .field("topic", topic)
        .field("queueId", queue)
        .field("commitOffset", offset)
        .field("bname", "broker-a")
        .one_way()
}

pub(crate) fn send_back(opaque: i32, group: &str, message: &Message) -> Frame {
    request(SEND_BACK, opaque)
        .field("offset", message.physical_offset())
        .field("group", group)
        .field("delayLevel", 0)
        .field("originMsgId", message.key())
        .field("originTopic", &message.topic)
}

/// A pop request for all queues of `topic`.
pub(crate) fn pop(opaque: i32, group: &str, topic: &str) -> Frame {
    request(POP, opaque)
        .field("consumerGroup", group)
        .field("topic", topic)
        .field("queueId", -1)
        .field("maxMsgNums", 32)
        .field("invisibleTime", INVISIBLE)
        .field("pollTime", 15000)
        .field("bname", "broker-a")
}

/// How long a popped message is the client's, in milliseconds.
pub(crate) const INVISIBLE: u64 = 60_000;

/// An answer to a pop at `pop_time`, the broker's clock.
pub(crate) fn popped(opaque: i32, pop_time: u64, messages: &[Message]) -> Frame {
    response(0, opaque)
        .field("popTime", pop_time)
        .field("invisibleTime", INVISIBLE)
        .field("reviveQid", 4)
        .body(messages.iter().flat_map(Message::bytes).collect::<Vec<u8>>())
}

/// The handle of a message, of a kind of topic.
pub(crate) fn handle(message: &Message, kind: u8, pop_time: u64) -> String {
    let Message { queue, offset, .. } = message;
    format!("{offset} {pop_time} {INVISIBLE} 4 {kind} broker-a {queue} {offset}")
}

/// A request about one popped message of `topic`.
pub(crate) fn settle(code: i32, opaque: i32, topic: &str, message: &Message, handle: &str) -> Frame {
    request(code, opaque)
        .field("consumerGroup", "cg")
        .field("topic", topic)
        .field("queueId", message.queue)
        .field("offset", message.offset)
        .field("extraInfo", handle)
}

/// A heartbeat of a client that consumes `topic` with `tags`.
pub(crate) fn heartbeat(opaque: i32, group: &str, model: &str, topic: &str, tags: &[&str]) -> Frame {
    let body = serde_json::json!({
        "clientID": "10.1.2.3@6699",
        "producerDataSet": [{"groupName": "CLIENT_INNER_PRODUCER"}],
        "consumerDataSet": [{
            "groupName": group,
            "consumeType": "CONSUME_PASSIVELY",
            "messageModel": model,
            "subscriptionDataSet": [{
                "topic": topic,
                "subString": if tags.is_empty() { "*".to_owned() } else { tags.join(" || ") },
                "expressionType": "TAG",
                "tagsSet": tags,
            }],
        }],
    });
    request(HEART_BEAT, opaque).body(body.to_string())
}

/// A stored message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) queue: i32,
    pub(crate) offset: i64,
    pub(crate) properties: String,
    pub(crate) reconsume_times: i32,
    pub(crate) sys_flag: i32,
    pub(crate) body: Vec<u8>,
}

/// A message of `topic` at `offset` of queue 0, with the given id.
pub(crate) fn message(topic: &str, offset: i64, key: &str) -> Message {
    let properties = format!("UNIQ_KEY={key}");
    Message {
        topic: topic.to_owned(),
        queue: 0,
        offset,
        properties,
        reconsume_times: 0,
        sys_flag: 0,
        body: b"hello".to_vec(),
    }
}

/// Batch records (§4.5) of messages with these properties.
pub(crate) fn batch_records(messages: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for with in messages {
        let properties = properties(with);
        body.extend((22 + 5 + properties.len() as u32).to_be_bytes());
        body.extend([0; 12]);
        body.extend(5u32.to_be_bytes());
        body.extend(b"hello");
        body.extend((properties.len() as u16).to_be_bytes());
        body.extend(properties.as_bytes());
    }
    body
}

impl Message {
    pub(crate) fn queue(self, queue: i32) -> Message {
        Message { queue, ..self }
    }

    /// More properties.
    pub(crate) fn with(self, more: &str) -> Message {
        Message {
            properties: format!("{};{more}", self.properties),
            ..self
        }
    }

    /// The properties alone.
    pub(crate) fn only(self, properties: &str) -> Message {
        Message {
            properties: properties.to_owned(),
            ..self
        }
    }

    /// The copy in the group's retry topic, delivered for the n-th time again.
    pub(crate) fn retried(self, group: &str, offset: i64, times: i32) -> Message {
        let properties = format!("{};RETRY_TOPIC={}", self.properties, self.topic);
        Message {
            topic: format!("%RETRY%{group}"),
            offset,
            properties,
            reconsume_times: times,
            ..self
        }
    }

    pub(crate) fn key(&self) -> &str {
        let entry = self
            .properties
            .split(';')
            .find_map(|entry| entry.strip_prefix("UNIQ_KEY="));
        entry.unwrap_or_default()
    }

    /// In another place.
    pub(crate) fn at(self, offset: i64) -> Message {
        Message { offset, ..self }
    }

    pub(crate) fn physical_offset(&self) -> i64 {
        10_000 + 1_000 * self.offset + i64::from(self.queue)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (body, properties) = (&self.body, properties(&self.properties));
        let total = 91 + body.len() + self.topic.len() + properties.len();
        let mut out = (total as u32).to_be_bytes().to_vec();
        out.extend(0xdaa3_20a7u32.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.queue.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.offset.to_be_bytes());
        out.extend(self.physical_offset().to_be_bytes());
        out.extend(self.sys_flag.to_be_bytes());
        for (time, host) in [
            (1_758_272_400_123i64, [10, 1, 2, 3]),
            (1_758_272_400_125, [192, 168, 0, 10]),
        ] {
            out.extend(time.to_be_bytes());
            out.extend(host);
            out.extend(10911u32.to_be_bytes());
        }
        out.extend(self.reconsume_times.to_be_bytes());
        out.extend([0; 8]);
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(body);
        out.push(self.topic.len() as u8);
        out.extend(self.topic.as_bytes());
        out.extend((properties.len() as u16).to_be_bytes());
        out.extend(properties.as_bytes());
        assert_eq!(out.len(), total);
        out
    }
}
