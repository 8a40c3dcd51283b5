//! A producer and its ways of sending: sync, async, oneway, batch, ordered, transaction, recall, request.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rocketmq_client_rust::{
    ClientError, ClientRuntime, DefaultMQProducer, MessageUtil, SendResult, TransactionMQProducer,
};
use rocketmq_model::common::message::{
    MessageTrait, message_client_id_setter::MessageClientIDSetter, message_ext::MessageExt,
    message_queue::MessageQueue, message_single::Message,
};
use serde_json::{Value, json};
use tokio::{
    sync::{RwLock, Semaphore},
    task::JoinSet,
};

use crate::{
    command::Command,
    consuming::settings,
    log::{Log, now},
    transactions::Transactions,
};

/// The property with a message's id.
const UNIQ_KEY: &str = "UNIQ_KEY";
/// Asynchronous sends in flight at once.
const IN_FLIGHT: u32 = 256;

/// A producer of one group.
#[derive(Clone)]
pub struct Producing {
    log: Log,
    group: String,
    producer: Producer,
}

/// The library has a producer of its own for transactions.
#[derive(Clone)]
enum Producer {
    Plain(Arc<RwLock<DefaultMQProducer>>),
    Transactional(Arc<RwLock<TransactionMQProducer>>),
}

impl Producer {
    /// The one for everything but transactions.
    fn plain(&self) -> Result<&RwLock<DefaultMQProducer>> {
        match self {
            Producer::Plain(producer) => Ok(producer),
            Producer::Transactional(_) => bail!("this producer is for transactions"),
        }
    }
}

impl Producing {
    /// Starts it.
    pub async fn start(runtime: Arc<ClientRuntime>, log: Log, command: &Command) -> Result<Producing> {
        let group = command.text("group")?;
        if command.number("transactions", 0)? == 1 {
            let mut producer = TransactionMQProducer::builder(runtime)
                .client_config(settings(command, group)?)
                .producer_group(group)
                .transaction_listener(Transactions(log.clone()))
                .build();
            producer.start().await?;
            let producer = Producer::Transactional(Arc::new(RwLock::new(producer)));
            let group = group.to_owned();
            return Ok(Producing { log, group, producer });
        }
        let retries = u32::try_from(command.number("retries", 0)?)?;
        let mut producer = DefaultMQProducer::builder(runtime)
            .client_config(settings(command, group)?)
            .producer_group(group)
            .retry_times_when_send_failed(retries)
            .retry_times_when_send_async_failed(retries)
            .max_message_size(u32::try_from(command.number("maxSize", 4 << 20)?)?)
            // Unless asked for otherwise, bodies travel as they are, so that a test knows how many bytes are on the wire.
            .compress_msg_body_over_howmuch(u32::try_from(
                command.number("compress", u64::from(u32::MAX >> 1))?,
            )?)
            .build();
        producer.start().await?;
        Ok(Producing {
            log,
            group: group.to_owned(),
            producer: Producer::Plain(Arc::new(RwLock::new(producer))),
        })
    }

    /// Closes the connections.
    pub async fn stop(self) {
        match self.producer {
            Producer::Plain(producer) => producer.write().await.shutdown().await,
            Producer::Transactional(producer) => producer.write().await.shutdown().await,
        }
    }

    /// Answers a message, if it is a request, and logs it.
    pub async fn reply(&self, request: &MessageExt) {
        let request = request.message_inner();
        // Only a request says where its reply goes.
        if MessageUtil::get_reply_to_client(request).is_none() {
            return;
        }
        let start = now();
        let Ok(mut reply) = MessageUtil::create_reply_message(request, b"BODY-CANARY") else {
            return;
        };
        MessageClientIDSetter::set_uniq_id(&mut reply);
        let (id, topic) = (
            MessageClientIDSetter::get_uniq_id(&reply),
            reply.topic().to_string(),
        );
        let sent = match self.producer.plain() {
            Ok(producer) => producer
                .read()
                .await
                .send_with_timeout(reply, 3000)
                .await
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        self.log.write(json!({
            "event": "replied", "group": self.group, "msgId": id, "topic": topic,
            "requestId": MessageClientIDSetter::get_uniq_id(request), "error": sent.err().map(|error| error.to_string()),
            "startNs": start, "endNs": now(),
        }));
    }

    /// One `send` command, spread over its threads.
    pub async fn send(self, command: Command) -> Result<()> {
        let threads = command.number("threads", 1)?;
        let work = Arc::new(Work {
            log: self.log,
            producer: self.producer,
            cmd: command.number("cmd", 0)?,
            mode: command.optional("mode").unwrap_or("sync").to_owned(),
            count: command.number("count", 1)?,
            timeout: command.number("timeout", 3000)?,
            started: Instant::now(),
            next: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(IN_FLIGHT as usize)),
            command,
        });
        let mut running = JoinSet::new();
        for _ in 0..threads {
            running.spawn(Arc::clone(&work).run());
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        // Every answer is in before the command is done.
        let _all = work.slots.acquire_many(IN_FLIGHT).await?;
        work.log.write(json!({
            "event": "done", "cmd": work.cmd, "count": work.count, "failed": work.failed.load(Ordering::Relaxed),
            "tookNs": work.started.elapsed().as_nanos() as u64,
        }));
        Ok(())
    }
}

/// A `send` command under way.
struct Work {
    log: Log,
    producer: Producer,
    command: Command,
    cmd: u64,
    mode: String,
    count: u64,
    timeout: u64,
    started: Instant,
    next: AtomicU64,
    failed: AtomicU64,
    slots: Arc<Semaphore>,
}

/// What is said of a message, whatever becomes of it.
#[derive(Clone)]
struct Account {
    id: String,
    key: String,
    tag: String,
    start: u64,
}

impl Work {
    async fn run(self: Arc<Self>) -> Result<()> {
        let step = if self.mode == "batch" {
            self.command.number("batch", 4)?
        } else {
            1
        };
        let rate = self.command.number("rate", 0)?;
        loop {
            let i = self.next.fetch_add(step, Ordering::Relaxed);
            if i >= self.count {
                return Ok(());
            }
            if rate > 0 {
                let due = self.started + Duration::from_nanos(i * 1_000_000_000 / rate);
                tokio::time::sleep_until(due.into()).await;
            }
            match self.mode.as_str() {
                "sync" => self.sync(i).await?,
                "async" => self.asynchronous(i).await?,
                "oneway" => self.oneway(i).await?,
                "ordered" => self.ordered(i).await?,
                "transaction" => self.transaction(i).await?,
                "recall" => self.recall(i).await?,
                "request" => self.request(i).await?,
                "batch" => self.batch(i, step.min(self.count - i)).await?,
                mode => bail!("unknown mode {mode}"),
            }
        }
    }

    async fn sync(&self, i: u64) -> Result<()> {
        let (message, account) = self.message(i)?;
        let result = self
            .producer
            .plain()?
            .read()
            .await
            .send_with_timeout(message, self.timeout)
            .await;
        self.outcome(&account, result.as_ref().map(Option::as_ref), now());
        Ok(())
    }

    async fn transaction(&self, i: u64) -> Result<()> {
        let Producer::Transactional(producer) = &self.producer else {
            bail!("this producer is not for transactions");
        };
        let (message, account) = self.message(i)?;
        let producer = producer.write().await;
        let result = producer.send_message_in_transaction::<(), _>(message, None).await;
        let end = now();
        let result = result.as_ref().map(|half| half.send_result.as_ref());
        self.outcome(&account, result, end);
        Ok(())
    }

    /// Sends and takes back.
    async fn recall(&self, i: u64) -> Result<()> {
        let (message, account) = self.message(i)?;
        let producer = self.producer.plain()?.read().await;
        let result = producer.send_with_timeout(message, self.timeout).await;
        self.outcome(&account, result.as_ref().map(Option::as_ref), now());
        let handle = result.ok().flatten().and_then(|sent| sent.recall_handle);
        let (topic, start) = (self.command.text("topic")?, now());
        let recalled = producer.recall_message(topic, handle.unwrap_or_default()).await?;
        let mut line = self.line("recalled", &account, now());
        line["startNs"] = json!(start);
        line["recalledId"] = json!(recalled);
        self.log.write(line);
        Ok(())
    }

    /// Sends and waits for the reply. Where none comes, the request was sent all the same.
    async fn request(&self, i: u64) -> Result<()> {
        let (message, account) = self.message(i)?;
        let producer = self.producer.plain()?.read().await;
        let reply = producer.request(message, self.timeout).await;
        let mut line = self.line("sent", &account, now());
        line["replyId"] = json!(
            reply
                .ok()
                .and_then(|reply| reply.property(&UNIQ_KEY.into()).map(|id| id.to_string()))
        );
        self.log.write(line);
        Ok(())
    }

    async fn asynchronous(self: &Arc<Self>, i: u64) -> Result<()> {
        let slot = Arc::clone(&self.slots).acquire_owned().await?;
        let (message, account) = self.message(i)?;
        let (work, told) = (Arc::clone(self), account.clone());
        // The callback may be called again: the slot goes with the first call.
        let slot = std::sync::Mutex::new(Some(slot));
        let callback = move |result: Option<&SendResult>, error: Option<&ClientError>| {
            let outcome = error.map_or(Ok(result), Err);
            work.outcome(&told, outcome, now());
            drop(slot.lock().ok().and_then(|mut slot| slot.take()));
        };
        let producer = self.producer.plain()?.read().await;
        if let Err(error) = producer
            .send_with_callback_timeout(message, callback, self.timeout)
            .await
        {
            self.outcome(&account, Err(&error), now());
        }
        Ok(())
    }

    async fn oneway(&self, i: u64) -> Result<()> {
        let (message, account) = self.message(i)?;
        let result = self.producer.plain()?.read().await.send_oneway(message).await;
        self.outcome(&account, result.as_ref().map(|()| None), now());
        Ok(())
    }

    /// The same queue for all messages of a shard.
    async fn ordered(&self, i: u64) -> Result<()> {
        let (message, account) = self.message(i)?;
        let shard = usize::try_from(i % self.command.number("shards", 1)?)?;
        let select =
            |queues: &[MessageQueue], _: &Message, shard: &usize| queues.get(shard % queues.len()).cloned();
        let result = self
            .producer
            .plain()?
            .read()
            .await
            .send_with_selector_timeout(message, select, shard, self.timeout)
            .await;
        self.outcome(&account, result.as_ref().map(Option::as_ref), now());
        Ok(())
    }

    async fn batch(&self, first: u64, size: u64) -> Result<()> {
        let (messages, accounts): (Vec<_>, Vec<_>) = (first..first + size)
            .map(|i| self.message(i))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let start = now();
        let result = self
            .producer
            .plain()?
            .read()
            .await
            .send_batch_with_timeout(messages, self.timeout)
            .await;
        let end = now();
        for (index, mut account) in (0u64..).zip(accounts) {
            account.start = start;
            match &result {
                Ok(result) => {
                    let mut line = self.sent(&account, Some(result), end);
                    line["offset"] = json!(result.queue_offset + index);
                    line["offsetMsgId"] = Value::Null;
                    line["batch"] = json!(first);
                    line["batchSize"] = json!(size);
                    self.log.write(line);
                }
                Err(error) => self.outcome(&account, Err(error), end),
            }
        }
        Ok(())
    }

    fn message(&self, i: u64) -> Result<(Message, Account)> {
        let size = usize::try_from(self.command.number("size", 100)?)?;
        let body = if self.command.number("text", 0)? == 1 {
            text(size)
        } else {
            body(size)
        };
        let key = format!("{}-{i}", self.command.optional("key").unwrap_or("k"));
        // Several tags, separated by commas, take turns.
        let tags: Vec<&str> = self
            .command
            .optional("tag")
            .unwrap_or("TagA")
            .split(',')
            .collect();
        let tag = tags[usize::try_from(i)? % tags.len()].to_owned();
        let mut message = Message::builder()
            .topic(self.command.text("topic")?)
            .tags(tag.as_str())
            .key(key.as_str())
            .body(body)
            .build()?;
        let number = i.to_string();
        let properties = [("note", "PROPERTY-CANARY"), ("number", number.as_str())];
        for (name, value) in properties.into_iter().chain(self.command.with_prefix("prop.")) {
            message.put_property(name.into(), value.into());
        }
        let timer = self.command.number("timer", 0)?;
        if timer > 0 {
            message.set_deliver_time_ms(now() / 1_000_000 + timer);
        }
        let level = self.command.number("level", 0)?;
        if level > 0 {
            message.put_property("DELAY".into(), level.to_string().into());
        }
        if let Some(shards) = self.command.optional("shards") {
            let shard = i % shards.parse::<u64>()?;
            message.put_property("__SHARDINGKEY".into(), format!("shard-{shard}").into());
        }
        // What the producer would do itself; a one-way send does not give the id back.
        MessageClientIDSetter::set_uniq_id(&mut message);
        let id = MessageClientIDSetter::get_uniq_id(&message).unwrap_or_default();
        let account = Account {
            id: id.to_string(),
            key,
            tag,
            start: now(),
        };
        Ok((message, account))
    }

    fn outcome(&self, account: &Account, result: Result<Option<&SendResult>, &ClientError>, end: u64) {
        match result {
            Ok(result) => self.log.write(self.sent(account, result, end)),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let mut line = self.line("send_failed", account, end);
                line["error"] = json!(error.to_string());
                line["code"] = json!(error.broker_response_code().unwrap_or(0));
                self.log.write(line);
            }
        }
    }

    fn sent(&self, account: &Account, result: Option<&SendResult>, end: u64) -> Value {
        let mut line = self.line("sent", account, end);
        if let Some(result) = result {
            line["queue"] = json!(result.message_queue.as_ref().map(MessageQueue::queue_id));
            line["offset"] = json!(result.queue_offset);
            line["offsetMsgId"] = json!(result.offset_msg_id);
            line["status"] = json!(result.send_status.to_string());
        }
        line
    }

    fn line(&self, event: &str, account: &Account, end: u64) -> Value {
        json!({
            "event": event, "cmd": self.cmd, "mode": self.mode, "msgId": account.id,
            "topic": self.command.optional("topic"), "tag": account.tag,
            "key": account.key, "startNs": account.start, "endNs": end,
        })
    }
}

/// Does not compress, and a test can search the tracer's output for what stands in it.
fn body(size: usize) -> Vec<u8> {
    let random = RandomState::new();
    let mut bytes: Vec<u8> = (0..size.div_ceil(8))
        .flat_map(|i| random.hash_one(i).to_be_bytes())
        .take(size)
        .collect();
    let canary = b"BODY-CANARY";
    for part in bytes.chunks_mut(4096) {
        let length = part.len().min(canary.len());
        part[..length].copy_from_slice(&canary[..length]);
    }
    bytes
}

/// Compresses well.
fn text(size: usize) -> Vec<u8> {
    b"BODY-CANARY ".iter().copied().cycle().take(size).collect()
}
