//! Consumers, by their kind.

use std::{process, sync::Arc};

use anyhow::{Result, bail};
use chrono::{Local, TimeDelta};
use rocketmq_client_rust::{
    ClientConfig, ClientRuntime, DefaultMQPushConsumer, MQPushConsumer, MessageSelector,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_protocol::protocol::heartbeat::message_model::MessageModel;

use crate::{command::Command, handler::Handler, log::Log, polling::Polling, producing::Producing};

/// A consumer of one group.
pub enum Consuming {
    Push(Box<DefaultMQPushConsumer>),
    Lite(Polling),
}

impl Consuming {
    /// Starts it. `replies` sends the replies to requests, where the command says so.
    pub async fn start(
        runtime: Arc<ClientRuntime>,
        log: Log,
        command: &Command,
        replies: Option<Producing>,
    ) -> Result<Consuming> {
        let handler = Handler::new(log, command, replies)?;
        match command.optional("kind").unwrap_or("push") {
            "push" => push(runtime, handler, command).await,
            "lite" => Polling::start(runtime, handler, command)
                .await
                .map(Consuming::Lite),
            kind => bail!("unknown kind of consumer {kind}"),
        }
    }

    /// Pauses it, or lets it go on.
    pub async fn pause(&self, paused: bool) -> Result<()> {
        match self {
            Consuming::Push(consumer) if paused => consumer.suspend().await,
            Consuming::Push(consumer) => consumer.resume().await,
            Consuming::Lite(_) => bail!("only a push consumer can be paused"),
        }
        Ok(())
    }

    /// Stops it in order.
    pub async fn stop(self) {
        match self {
            Consuming::Push(mut consumer) => consumer.shutdown().await,
            Consuming::Lite(polling) => polling.stop().await,
        }
    }
}

async fn push(runtime: Arc<ClientRuntime>, handler: Handler, command: &Command) -> Result<Consuming> {
    let group = command.text("group")?;
    let threads = u32::try_from(command.number("threads", 4)?)?;
    let mut builder = DefaultMQPushConsumer::builder(runtime)
        .client_config(settings(command, group)?)
        .consumer_group(group)
        .consume_thread_min(threads)
        .consume_thread_max(threads)
        .consume_message_batch_max_size(u32::try_from(command.number("batch", 1)?)?)
        .suspend_current_queue_time_millis(500)
        // What the handler has finished is committed before the end.
        .await_termination_millis_when_shutdown(2000);
    builder = match command.optional("from").unwrap_or("first") {
        "first" => builder.consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset),
        "last" => builder.consume_from_where(ConsumeFromWhere::ConsumeFromLastOffset),
        from => {
            let ago = TimeDelta::milliseconds(from.trim_start_matches("ago:").parse()?);
            builder
                .consume_from_where(ConsumeFromWhere::ConsumeFromTimestamp)
                .consume_timestamp((Local::now() - ago).format("%Y%m%d%H%M%S").to_string())
        }
    };
    if command.number("broadcast", 0)? == 1 {
        builder = builder.message_model(MessageModel::Broadcasting);
    }
    if let Some(retries) = command.optional("maxRetries") {
        builder = builder.max_reconsume_times(retries.parse()?);
    }
    if command.number("serverRebalance", 0)? == 1 {
        builder = builder
            .client_rebalance(false)
            .pop_invisible_time(command.number("invisible", 60_000)?);
    }
    let mut consumer = builder.build();
    for topic in command.text("topic")?.split(',') {
        match command.optional("sql") {
            Some(sql) => {
                let selector = Some(MessageSelector::by_sql(sql));
                consumer.subscribe_with_selector(topic, selector).await?;
            }
            None => {
                let tag = command.optional("tag").unwrap_or("*");
                consumer.subscribe(topic, tag).await?;
            }
        }
    }
    if command.number("orderly", 0)? == 1 {
        consumer.register_message_listener_orderly(handler);
    } else {
        consumer.register_message_listener_concurrently(handler);
    }
    consumer.start().await?;
    Ok(Consuming::Push(Box::new(consumer)))
}

/// What producers and consumers have in common.
pub fn settings(command: &Command, instance: &str) -> Result<ClientConfig> {
    Ok(ClientConfig {
        namesrv_addr: Some(command.text("ns")?.into()),
        // Processes of one group are told apart by it.
        instance_name: format!("{instance}-{}", process::id()).into(),
        vip_channel_enabled: false,
        enable_trace: command.number("trace", 0)? == 1,
        // The shortest that the library takes: when a retry topic is known, and the newest subscription to the broker.
        poll_name_server_interval: 10_000,
        heartbeat_broker_interval: 10_000,
        ..ClientConfig::default()
    })
}
