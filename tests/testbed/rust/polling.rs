//! A lite pull consumer: a task that polls and handles, with queues subscribed or assigned, committed automatically or by
//! hand.

use std::process;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use rocketmq_client_rust::{ClientRuntime, DefaultLitePullConsumer};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant},
};

use crate::{command::Command, handler::Handler};

/// A lite pull consumer and the task that polls it.
pub struct Polling {
    running: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Polling {
    pub async fn start(runtime: Arc<ClientRuntime>, handler: Handler, command: &Command) -> Result<Polling> {
        let (group, topic) = (command.text("group")?, command.text("topic")?);
        let manual = command.number("manual", 0)? == 1;
        let consumer = DefaultLitePullConsumer::builder(runtime)
            .name_server_addr(command.text("ns")?)
            .instance_name(format!("{group}-{}", process::id()))
            .consumer_group(group)
            .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
            .auto_commit(!manual)
            .auto_commit_interval_millis(1000)
            .pull_batch_size(i32::try_from(command.number("batch", 10)?)?)
            .build()?;
        let assigned = command.number("assign", 0)? == 1;
        if !assigned {
            let tag = command.optional("tag").unwrap_or("*");
            consumer.subscribe_with_expression(topic, tag).await?;
        }
        consumer.start().await?;
        if assigned {
            let queues = consumer.fetch_message_queues(topic).await?;
            consumer.assign(queues).await?;
        }
        let running = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(poll(consumer, handler, manual, Arc::clone(&running)));
        Ok(Polling { running, task })
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        let _ = self.task.await;
    }
}

async fn poll(consumer: DefaultLitePullConsumer, handler: Handler, manual: bool, running: Arc<AtomicBool>) {
    // An application that ends in order lets what it has handled be committed: that is done in a later poll.
    let mut handled = Instant::now();
    while running.load(Ordering::Relaxed) || !manual && handled.elapsed() < Duration::from_secs(2) {
        let messages = consumer.poll_with_timeout(200).await;
        // One after the other, as an application would.
        for message in &messages {
            handler.handle(&[message]);
        }
        if messages.is_empty() {
            continue;
        }
        handled = Instant::now();
        if manual {
            consumer.commit_sync().await;
        }
    }
    consumer.shutdown().await;
}
