//! What is done with a delivered message, and what is said about it.

use std::{thread, time::Duration};

use anyhow::Result;
use rocketmq_client_rust::{
    ClientResult, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus, ConsumeOrderlyContext,
    ConsumeOrderlyStatus, MessageListenerConcurrently, MessageListenerOrderly,
};
use rocketmq_model::common::message::message_ext::MessageExt;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    command::Command,
    log::{Log, now},
    producing::Producing,
};

/// A handler that fails a message's first attempts, or takes long, where the command says so.
pub struct Handler {
    log: Log,
    group: String,
    fail_attempts: u64,
    fail_key: Option<String>,
    delay: Duration,
    delay_key: Option<String>,
    begins: bool,
    /// Sends the replies to requests, in this runtime.
    replies: Option<(Producing, Handle)>,
}

impl Handler {
    pub fn new(log: Log, command: &Command, replies: Option<Producing>) -> Result<Handler> {
        Ok(Handler {
            log,
            group: command.text("group")?.to_owned(),
            fail_attempts: command.number("fail", 0)?,
            fail_key: command.optional("failKey").map(str::to_owned),
            delay: Duration::from_millis(command.number("delay", 0)?),
            delay_key: command.optional("delayKey").map(str::to_owned),
            begins: command.number("begins", 0)? == 1,
            replies: replies.map(|replies| (replies, Handle::current())),
        })
    }

    /// Whether all went well. The messages of one call share its times and its result.
    pub fn handle(&self, messages: &[&MessageExt]) -> bool {
        let start = now();
        let (mut slow, mut fails) = (false, false);
        for message in messages {
            let key = key(message);
            if self.begins {
                self.log.write(self.line("handling", message, start));
            }
            slow |= self.delay_key.as_ref().is_none_or(|wanted| *wanted == key);
            let attempt = u64::try_from(message.reconsume_times()).unwrap_or(0);
            fails |=
                attempt < self.fail_attempts && self.fail_key.as_ref().is_none_or(|wanted| *wanted == key);
            if let Some((replies, runtime)) = &self.replies {
                runtime.block_on(replies.reply(message));
            }
        }
        if slow {
            thread::sleep(self.delay);
        }
        let end = now();
        for message in messages {
            let mut line = self.line("consumed", message, start);
            line["endNs"] = json!(end);
            line["result"] = json!(if fails {
                "RECONSUME_LATER"
            } else {
                "CONSUME_SUCCESS"
            });
            self.log.write(line);
        }
        !fails
    }

    fn line(&self, event: &str, message: &MessageExt, start: u64) -> Value {
        json!({
            "event": event, "group": self.group, "msgId": message.msg_id().as_str(), "topic": message.topic().as_str(),
            "tag": message.get_tags().as_deref(), "key": key(message), "queue": message.queue_id(),
            "offset": message.queue_offset(), "reconsumeTimes": message.reconsume_times(),
            "bornTs": message.born_timestamp(), "startNs": start,
        })
    }
}

fn key(message: &MessageExt) -> String {
    message.message_inner().keys().unwrap_or_default().join(" ")
}

impl MessageListenerConcurrently for Handler {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        Ok(if self.handle(messages) {
            ConsumeConcurrentlyStatus::ConsumeSuccess
        } else {
            ConsumeConcurrentlyStatus::ReconsumeLater
        })
    }
}

impl MessageListenerOrderly for Handler {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &mut ConsumeOrderlyContext,
    ) -> ClientResult<ConsumeOrderlyStatus> {
        Ok(if self.handle(messages) {
            ConsumeOrderlyStatus::Success
        } else {
            ConsumeOrderlyStatus::SuspendCurrentQueueAMoment
        })
    }
}
