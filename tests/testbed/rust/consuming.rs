//! A push consumer that fails a message's first attempts where the command says so.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Result;
use rocketmq_client_rust::{
    ClientConfig, ClientResult, ClientRuntime, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus,
    ConsumeOrderlyContext, ConsumeOrderlyStatus, DefaultMQPushConsumer, MQPushConsumer,
    MessageListenerConcurrently, MessageListenerOrderly,
};
use rocketmq_model::common::{
    consumer::consume_from_where::ConsumeFromWhere,
    message::message_ext::MessageExt,
};
use serde_json::json;

use crate::{
    command::Command,
    log::{Log, now},
};

/// A consumer of one group.
pub struct Consuming(DefaultMQPushConsumer);

impl Consuming {
    /// Starts it.
    pub async fn start(runtime: Arc<ClientRuntime>, log: Log, command: &Command) -> Result<Consuming> {
        let group = command.text("group")?;
        let handler = Handler {
            log,
            group: group.to_owned(),
            fail_attempts: command.number("fail", 0)?,
            fail_key: command.optional("failKey").map(str::to_owned),
            delay: Duration::from_millis(command.number("delay", 0)?),
        };
        let threads = u32::try_from(command.number("threads", 4)?)?;
        let mut consumer = DefaultMQPushConsumer::builder(runtime)
            .client_config(settings(command, group)?)
            .consumer_group(group)
            .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
            .consume_thread_min(threads)
            .consume_thread_max(threads)
            .consume_message_batch_max_size(1)
            // What the handler has finished is committed before the end.
            .await_termination_millis_when_shutdown(2000)
            .build();
        for topic in command.text("topic")?.split(',') {
            consumer
                .subscribe(topic, command.optional("tag").unwrap_or("*"))
                .await?;
        }
        if command.number("orderly", 0)? == 1 {
            consumer.register_message_listener_orderly(handler);
        } else {
            consumer.register_message_listener_concurrently(handler);
        }
        consumer.start().await?;
        Ok(Consuming(consumer))
    }

    /// Stops it in order.
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// What producers and consumers have in common.
pub fn settings(command: &Command, instance: &str) -> Result<ClientConfig> {
    Ok(ClientConfig {
        namesrv_addr: Some(command.text("ns")?.into()),
        instance_name: instance.into(),
        vip_channel_enabled: false,
        // The shortest that the library takes: when a retry topic is known, and the newest subscription to the broker.
        poll_name_server_interval: 10_000,
        heartbeat_broker_interval: 10_000,
        ..ClientConfig::default()
    })
}

struct Handler {
    log: Log,
    group: String,
    fail_attempts: u64,
    fail_key: Option<String>,
    delay: Duration,
}

impl Handler {
    /// Whether the message is consumed.
    fn handle(&self, message: &MessageExt) -> bool {
        let start = now();
        thread::sleep(self.delay);
        let key = message.message_inner().keys().unwrap_or_default().join(" ");
        let attempt = message.reconsume_times();
        let fails = u64::try_from(attempt).is_ok_and(|attempt| attempt < self.fail_attempts)
            && self.fail_key.as_ref().is_none_or(|wanted| *wanted == key);
        self.log.write(json!({
            "event": "consumed", "group": self.group, "msgId": message.msg_id().as_str(), "topic": message.topic().as_str(),
            "tag": message.get_tags().as_deref(), "key": key, "queue": message.queue_id(),
            "offset": message.queue_offset(), "reconsumeTimes": attempt, "bornTs": message.born_timestamp(),
            "startNs": start, "endNs": now(), "result": if fails { "RECONSUME_LATER" } else { "CONSUME_SUCCESS" },
        }));
        !fails
    }
}

impl MessageListenerConcurrently for Handler {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        Ok(if messages.iter().all(|message| self.handle(message)) {
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
        Ok(if messages.iter().all(|message| self.handle(message)) {
            ConsumeOrderlyStatus::Success
        } else {
            ConsumeOrderlyStatus::SuspendCurrentQueueAMoment
        })
    }
}
