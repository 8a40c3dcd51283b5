//! rocketmq-client-rust under the control of a test. It understands the same commands on standard input and writes the same
//! JSON lines on standard output as the Java program beside it (`../java/TestClient.java` has the list).

#![recursion_limit = "512"]

mod command;
mod consuming;
mod handler;
mod log;
mod polling;
mod producing;
mod transactions;

use std::{collections::HashMap, io::BufRead, process, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use rocketmq_client_rust::{ClientRuntime, ClientRuntimeConfig};
use rocketmq_observability::TelemetryBootstrapConfig;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{command::Command, consuming::Consuming, log::Log, producing::Producing};

#[tokio::main]
async fn main() -> Result<()> {
    let (log, writer) = Log::start();
    // Handlers take blocking threads, and one that gets none within five seconds is not called: its message is sent back.
    let mut config = RuntimeConfig {
        max_blocking_threads: 512,
        ..RuntimeConfig::default()
    };
    let policies = &mut config.blocking_lane_policies;
    for lane in [
        &mut policies.storage_io,
        &mut policies.metadata_io,
        &mut policies.cpu_crypto,
    ] {
        lane.max_concurrency = 160;
        lane.queue_timeout = Duration::from_secs(60);
    }
    let owner = RuntimeOwner::plan(config)
        .map_err(|error| anyhow!("{error:?}"))?
        .build()
        .map_err(|error| anyhow!("{error:?}"))?;
    let telemetry = rocketmq_observability::install_global(&TelemetryBootstrapConfig::default())
        .map_err(|error| anyhow!("{error:?}"))?;
    let context = owner.root_context().component("client");
    let runtime = ClientRuntime::try_new(context, ClientRuntimeConfig::default(), telemetry.handle())?;

    log.write(json!({ "event": "started", "pid": process::id() }));
    let mut client = Client {
        log: log.clone(),
        runtime,
        producers: HashMap::new(),
        consumers: HashMap::new(),
    };
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let command = Command::parse(&line);
        let cmd = command
            .as_ref()
            .map_or(0, |command| command.number("cmd", 0).unwrap_or(0));
        if let Err(error) = Box::pin(client.run(command)).await {
            failed(&client.log, cmd, &error);
        }
    }
    Box::pin(client.stop()).await;
    log.close();
    let _ = writer.join();
    // The library's runtime does not end by itself.
    process::exit(0);
}

/// Standard input, read by a thread: a read of it cannot be given up.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn failed(log: &Log, cmd: u64, error: &anyhow::Error) {
    log.write(json!({ "event": "command_failed", "cmd": cmd, "error": format!("{error:#}") }));
}

/// Everything that the commands so far have started.
struct Client {
    log: Log,
    runtime: Arc<ClientRuntime>,
    producers: HashMap<String, Producing>,
    consumers: HashMap<String, Consuming>,
}

impl Client {
    async fn run(&mut self, command: Result<Command>) -> Result<()> {
        let command = command?;
        let group = command.text("group")?.to_owned();
        let (runtime, log) = (Arc::clone(&self.runtime), self.log.clone());
        let cmd = command.number("cmd", 0)?;
        match command.verb.as_str() {
            "producer" => {
                let producer = Box::pin(Producing::start(runtime, log, &command)).await?;
                self.producers.insert(group, producer);
            }
            "send" => {
                let producer = self
                    .producers
                    .get(&group)
                    .with_context(|| format!("no producer of group {group}"))?
                    .clone();
                // In the background: a test gives the next command while this one is under way.
                tokio::spawn(async move {
                    if let Err(error) = Box::pin(producer.send(command)).await {
                        failed(&log, cmd, &error);
                    }
                });
                return Ok(());
            }
            "consumer" => {
                let replies = command
                    .optional("reply")
                    .and_then(|group| self.producers.get(group));
                let consumer = Consuming::start(runtime, log, &command, replies.cloned());
                let consumer = Box::pin(consumer).await?;
                self.consumers.insert(group, consumer);
            }
            verb @ ("pause" | "resume") => {
                let consumer = self.consumers.get(&group);
                let consumer = consumer.with_context(|| format!("no consumer of group {group}"))?;
                consumer.pause(verb == "pause").await?;
            }
            "stop" => {
                if let Some(consumer) = self.consumers.remove(&group) {
                    consumer.stop().await;
                }
                if let Some(producer) = self.producers.remove(&group) {
                    producer.stop().await;
                }
            }
            verb => bail!("unknown command {verb}"),
        }
        self.log.write(json!({ "event": "done", "cmd": cmd }));
        Ok(())
    }

    /// Stops everything in order.
    async fn stop(self) {
        for (_, consumer) in self.consumers {
            consumer.stop().await;
        }
        for (_, producer) in self.producers {
            producer.stop().await;
        }
    }
}
