//! The clients beside Java and Go, with every server that they work with: the C++ engine, ali-ons and rocketmq-client-rust. Each sends in every way
//! that it has and consumes what it sent; one message is retried.
//!
//! Their messages are told apart by key, for not all of them have an id: `ali-ons` makes none. A 5.x broker then makes one,
//! with 4.9 the place in the store is all there is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, Span,
    artifacts::SERVER_VERSIONS,
    client::{Consumed, Feature, Library, Sent},
    ids,
};

use crate::{
    check,
    scene::{ARRIVAL, Scene},
    trial,
    world::World,
};

/// Messages sent each way.
const EACH: usize = 12;
/// Messages in a batch.
const BATCH: usize = 4;

/// Everything that one pair of client and server did, and its spans.
struct Run {
    library: Library,
    server: &'static str,
    producer_pid: u32,
    consumer_pid: u32,
    sent: Vec<Sent>,
    consumed: Vec<Consumed>,
    spans: Vec<Span>,
}

type Shared = OnceLock<Result<Run, String>>;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let scene: Arc<Mutex<Option<Scene>>> = Arc::default();
    let mut trials = Vec::new();
    for (library, server) in [Library::Cpp, Library::Node, Library::Rust]
        .into_iter()
        .flat_map(|library| SERVER_VERSIONS.map(|server| (library, server)))
        .filter(|(library, server)| library.works_with(server))
    {
        let run: Arc<Shared> = Arc::default();
        let mut add = |what: &str, test: fn(&World, &Run) -> Result<()>| {
            let (world, run, scene) = (Arc::clone(world), Arc::clone(&run), Arc::clone(&scene));
            trials.push(trial(
                format!("{} with server {server}: {what}", library.name()),
                move || {
                    let run = run.get_or_init(|| {
                        traffic(&world, &scene, library, server).map_err(|e| format!("{e:#}"))
                    });
                    test(&world, run.as_ref().map_err(|error| anyhow!("{error}"))?)
                },
            ));
        };
        add("sends", sends);
        add("message ids", message_ids);
        add("push consumer", push_consumer);
        add("a retry", retry);
        add("nothing else", nothing_else);
        if library.can(Feature::Send(Mode::Batch)) {
            add("batches", batches);
        }
        let world = Arc::clone(world);
        trials.push(trial(
            format!(
                "{} with server {server}: in order, delayed and compressed",
                library.name()
            ),
            move || further(&world, library, server),
        ));
    }
    trials
}

fn traffic(
    world: &World,
    scene: &Mutex<Option<Scene>>,
    library: Library,
    version: &'static str,
) -> Result<Run> {
    let server = world.server(version)?;
    let mut scene = scene.lock().unwrap_or_else(PoisonError::into_inner);
    if scene.is_none() {
        *scene = Some(Scene::start(world, "clients", &[])?);
    }
    let scene = scene.as_mut().context("no scene")?;

    let topic = world.topic(server, "clients")?;
    let (group, senders) = (world.fresh("clients-group"), world.fresh("clients-producer"));
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]).failing(1).failing_key("retry-0"))?;
    producer.producer(&senders)?;
    for mode in [Mode::Sync, Mode::Async, Mode::OneWay, Mode::Ordered, Mode::Batch] {
        if library.can(Feature::Send(mode)) {
            let send = Send::new(&senders, &topic, mode, EACH).key(mode.name());
            producer.send(send.with("shards", 3).with("batch", BATCH))?;
        }
    }
    producer.send(Send::new(&senders, &topic, Mode::Sync, 1).key("retry"))?;

    let (sent, failed) = (producer.all_sent(), producer.all_failed());
    ensure!(
        failed.is_empty(),
        "{} sends failed, the first: {:?}",
        failed.len(),
        failed.first()
    );
    // The retried message is delivered twice.
    let deliveries = sent.len() + 1;
    let consumed = consumer.wait_consumed(&group, deliveries, ARRIVAL)?;
    let (producer_pid, consumer_pid) = (producer.pid(), consumer.pid());
    // The end of the consumer commits its last offsets.
    consumer.finish()?;
    producer.finish()?;

    scene.spans("process", &topic, deliveries)?;
    scene.spans("send", &topic, requests(library, &sent))?;
    let spans = scene
        .collector
        .spans()?
        .iter()
        .filter(|span| span.topic() == topic)
        .cloned()
        .collect();
    Ok(Run {
        library,
        server: version,
        producer_pid,
        consumer_pid,
        sent,
        consumed,
        spans,
    })
}

/// Whether it went to the broker as part of a batch. What the C++ client calls a batch is one message to the broker.
fn in_batch(library: Library, sent: &Sent) -> bool {
    sent.batch.is_some() && library != Library::Cpp
}

/// Whether it is such a message. It has no key, tag or id.
fn is_nameless(library: Library, sent: &Sent) -> bool {
    sent.batch.is_some() && library == Library::Cpp
}

/// How many send requests there were.
fn requests(library: Library, sent: &[Sent]) -> usize {
    let batched = sent.iter().filter(|sent| in_batch(library, sent)).count();
    sent.len() - batched + batched / BATCH
}

impl Run {
    fn spans(&self, operation: &str) -> impl Iterator<Item = &Span> {
        self.spans
            .iter()
            .filter(move |span| span.operation() == operation)
    }

    fn by_key(&self, operation: &str, key: &str) -> Vec<&Span> {
        let keys = serde_json::json!([key]);
        self.spans(operation)
            .filter(|span| span.attributes.get("messaging.rocketmq.message.keys") == Some(&keys))
            .collect()
    }

    /// All messages that have a key.
    fn named(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| !is_nameless(self.library, sent))
    }

    /// Spans of messages without a key.
    fn nameless(&self, operation: &str) -> Vec<&Span> {
        self.spans(operation)
            .filter(|span| !span.attributes.contains_key("messaging.rocketmq.message.keys"))
            .filter(|span| !span.attributes.contains_key("messaging.batch.message_count"))
            .collect()
    }

    /// The span that created a message.
    fn creation(&self, sent: &Sent) -> Result<&Span> {
        let operation = if in_batch(self.library, sent) {
            "create"
        } else {
            "send"
        };
        match self.by_key(operation, &sent.key).as_slice() {
            [span] => Ok(span),
            found => Err(anyhow!("{} {operation} spans of {sent:?}", found.len())),
        }
    }

    /// What the client logged, with what it was not told: the id as the tracer has it (checked by a test of its own), the
    /// place in the store, and of queue and offset what the consumer saw of the same message.
    fn complete(&self, sent: &Sent, span: &Span) -> Result<Sent> {
        let delivery = self
            .consumed
            .iter()
            .find(|consumed| consumed.key == sent.key && consumed.reconsume_times == 0)
            .with_context(|| format!("never delivered: {sent:?}"))?;
        let mut sent = sent.clone();
        sent.msg_id = span.message_id().to_owned();
        sent.queue.get_or_insert(delivery.queue);
        sent.offset.get_or_insert(delivery.offset);
        let place = span.text("messaging.rocketmq.offset_message_id");
        sent.offset_msg_id.get_or_insert(place.to_owned());
        ensure!(
            (sent.queue, sent.offset) == (Some(delivery.queue), Some(delivery.offset)),
            "{sent:?} was delivered as {delivery:?}"
        );
        Ok(sent)
    }

    fn sender<'a>(&self, world: &'a World) -> Result<check::Sender<'a>> {
        Ok(check::Sender {
            library: self.library,
            pid: self.producer_pid,
            server: world.server(self.server)?,
        })
    }
}

fn sends(world: &World, run: &Run) -> Result<()> {
    let sender = run.sender(world)?;
    let mut pairs = Vec::new();
    for sent in run.named().filter(|sent| !in_batch(run.library, sent)) {
        let span = run.creation(sent)?;
        let mode = if sent.mode == "oneway" {
            Mode::OneWay
        } else {
            Mode::Sync
        };
        check::send(span, &run.complete(sent, span)?, mode, &sender)?;
        if sent.mode == "sync" {
            pairs.push((span, sent));
        }
    }
    ensure!(pairs.len() == EACH + 1, "{} sync sends", pairs.len());
    let outside = check::outside(&pairs)?;
    check::report(
        &format!("{} with server {}", run.library.name(), run.server),
        &outside,
    );
    Ok(())
}

/// The key that the client made, else the one that the broker made, else the place in the store.
fn message_ids(_: &World, run: &Run) -> Result<()> {
    for sent in run.named() {
        let span = run.creation(sent)?;
        let id = span.message_id();
        if run.library.makes_keys() {
            ensure!(id == sent.msg_id, "{id:?} of {sent:?}");
        } else {
            made_by_broker(run.server, span)?;
        }
        for delivery in run.by_key("process", &sent.key) {
            ensure!(
                delivery.message_id() == id && delivery.trace_id == span.trace_id,
                "sent as {id}, delivered as {delivery:#?}"
            );
        }
    }
    Ok(())
}

/// What the id of a message is whose client made none: a broker of 5.x makes a key, of one of 4.9 the place in the store is all
/// that there is.
fn made_by_broker(server: &str, span: &Span) -> Result<()> {
    let (id, place) = (
        span.message_id(),
        span.text("messaging.rocketmq.offset_message_id"),
    );
    let is_hex = id.len() >= 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    ensure!(
        is_hex && (id == place) == server.starts_with('4'),
        "{id:?} of a message at {place:?}: {span:#?}"
    );
    ensure!(
        span.trace_id == ids::trace_id(id) && span.span_id == ids::send_span_id(id),
        "{span:#?}"
    );
    Ok(())
}

fn push_consumer(_: &World, run: &Run) -> Result<()> {
    for consumed in run.consumed.iter().filter(|consumed| !consumed.key.is_empty()) {
        let sent = run
            .sent
            .iter()
            .find(|sent| sent.key == consumed.key)
            .context("consumed, but not sent")?;
        let attempts = run.by_key("process", &consumed.key);
        let mine: Vec<&&Span> = attempts
            .iter()
            .filter(|span| {
                span.number("messaging.rocketmq.reconsume_times").unwrap_or(0) == consumed.reconsume_times
            })
            .collect();
        let [span] = mine.as_slice() else {
            anyhow::bail!("{} spans for {consumed:?}: {attempts:#?}", mine.len())
        };
        let id = run.creation(sent)?.message_id();
        check::process(span, consumed, id, run.library, run.consumer_pid)?;
        if consumed.reconsume_times == 0 {
            let queue = span.text("messaging.destination.partition.id");
            ensure!(queue == consumed.queue.to_string(), "queue {queue}: {consumed:?}");
            let offset = span.number("messaging.rocketmq.queue_offset");
            ensure!(offset == Some(consumed.offset), "offset {offset:?}: {consumed:?}");
        }
    }
    Ok(())
}

fn retry(_: &World, run: &Run) -> Result<()> {
    let mut attempts = run.by_key("process", "retry-0");
    attempts.sort_by_key(|span| span.number("messaging.rocketmq.reconsume_times").unwrap_or(0));
    let [first, second] = attempts.as_slice() else {
        anyhow::bail!("{} attempts: {attempts:#?}", attempts.len())
    };
    ensure!(first.trace_id == second.trace_id, "two traces");
    ensure!(
        first.text("rmqtrace.process.evidence") == "send_back",
        "{first:#?}"
    );
    ensure!(
        second.links_to(&first.trace_id, &first.span_id),
        "no link to the first attempt: {second:#?}"
    );
    Ok(())
}

fn batches(world: &World, run: &Run) -> Result<()> {
    let creates: Vec<&Span> = run.spans("create").collect();
    let sent: Vec<&Sent> = run.sent.iter().filter(|sent| sent.mode == "batch").collect();
    if run.library == Library::Cpp {
        ensure!(creates.is_empty(), "{creates:#?}");
        return stored_as_one(run, &sent);
    }
    ensure!(
        sent.len() == EACH && creates.len() == EACH,
        "{} sent, {} create spans",
        sent.len(),
        creates.len()
    );
    for batch in sent.chunks(BATCH) {
        let first = run.creation(batch.first().context("an empty batch")?)?;
        let span = run
            .spans("send")
            .find(|span| span.links_to(&first.trace_id, &first.span_id))
            .with_context(|| format!("no span links to {first:#?}"))?;
        check::batch(span, &creates, batch, &run.sender(world)?)?;
    }
    Ok(())
}

/// The broker stored each of these batches as one message, so they are sends of one message each.
fn stored_as_one(run: &Run, sent: &[&Sent]) -> Result<()> {
    let (sends, deliveries) = (run.nameless("send"), run.nameless("process"));
    let consumed: Vec<&Consumed> = run
        .consumed
        .iter()
        .filter(|consumed| consumed.key.is_empty())
        .collect();
    ensure!(
        [sent.len(), sends.len(), deliveries.len(), consumed.len()] == [EACH / BATCH; 4],
        "{} sent, {sends:#?} {deliveries:#?} {consumed:#?}",
        sent.len()
    );
    for send in sends {
        made_by_broker(run.server, send)?;
        let same_message = |span: &&&Span| span.message_id() == send.message_id();
        let delivery = deliveries
            .iter()
            .find(same_message)
            .with_context(|| format!("never delivered: {send:#?}"))?;
        let consumed = consumed
            .iter()
            .find(|consumed| {
                delivery.text("messaging.destination.partition.id") == consumed.queue.to_string()
                    && delivery.number("messaging.rocketmq.queue_offset") == Some(consumed.offset)
            })
            .with_context(|| format!("the client knows nothing of {delivery:#?}"))?;
        check::process(
            delivery,
            consumed,
            send.message_id(),
            run.library,
            run.consumer_pid,
        )?;
    }
    Ok(())
}

/// No span but those of the other tests.
fn nothing_else(_: &World, run: &Run) -> Result<()> {
    let mut counts = BTreeMap::new();
    for span in &run.spans {
        *counts.entry(span.operation()).or_insert(0usize) += 1;
    }
    let creates = run.sent.iter().filter(|sent| in_batch(run.library, sent)).count();
    let wanted = [
        ("create", creates),
        ("process", run.consumed.len()),
        ("send", requests(run.library, &run.sent)),
    ];
    ensure!(
        counts == wanted.into_iter().filter(|(_, count)| *count > 0).collect(),
        "{counts:?}, wanted {wanted:?}"
    );
    Ok(())
}

/// The ways that not all of them have; with a consumer that keeps the order where there is one.
fn further(world: &World, library: Library, version: &'static str) -> Result<()> {
    let server = world.server(version)?;
    let mut scene = Scene::start(world, "further", &[])?;
    let topic = world.topic(server, "further")?;
    let (group, senders) = (world.fresh("further-group"), world.fresh("further-producer"));
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    let mut consume = Consume::new(&group, &[&topic]);
    if library.can(Feature::PushOrderly) {
        consume = consume.with("orderly", 1);
    }
    consumer.consumer(consume)?;
    producer.producer_with(&senders, &[("compress", "1000")])?;
    let send = |mode, count, key: &str| Send::new(&senders, &topic, mode, count).key(key);
    producer.send(send(Mode::Ordered, 2 * EACH, "ordered").with("shards", 2))?;
    producer.send(send(Mode::Sync, 2, "delayed").with("level", 1))?;
    producer.send(send(Mode::Sync, 2, "compressed").with("text", 1).size(8000))?;
    let (sent, failed) = (producer.all_sent(), producer.all_failed());
    ensure!(failed.is_empty(), "sends failed: {:?}", failed.first());
    let mut consumed = consumer.wait_consumed(&group, sent.len(), ARRIVAL)?;
    let consumer_pid = consumer.pid();
    consumer.finish()?;
    producer.finish()?;
    scene.spans("process", &topic, sent.len())?;
    let (spans, _) = scene.finish(world)?;

    for consumed in &consumed {
        let keys = serde_json::json!([consumed.key]);
        let [send, process] = ["send", "process"].map(|operation| {
            let mine = |span: &&Span| {
                span.operation() == operation
                    && span.attributes.get("messaging.rocketmq.message.keys") == Some(&keys)
            };
            let mut found = spans.iter().filter(mine);
            found.next().filter(|_| found.next().is_none())
        });
        let (send, process) = send
            .zip(process)
            .with_context(|| format!("not one send and one process span of {consumed:?}"))?;
        // A message is stored anew after its delay: nothing joins one that has no key.
        if library.makes_keys() || !consumed.key.starts_with("delayed") {
            check::process(process, consumed, send.message_id(), library, consumer_pid)?;
        }
        let size = send.number("messaging.message.body.size").unwrap_or(0);
        let is_small = if consumed.key.starts_with("compressed") {
            size > 0 && size < 1000
        } else {
            size == 100
        };
        ensure!(is_small, "{size} bytes on the wire: {send:#?}");
    }
    if library.can(Feature::PushOrderly) {
        consumed.sort_by_key(|consumed| consumed.start_ns);
        for shard in 0..2 {
            let numbers: Vec<usize> = consumed
                .iter()
                .filter_map(|consumed| consumed.key.strip_prefix("ordered-")?.parse().ok())
                .filter(|number| number % 2 == shard)
                .collect();
            ensure!(
                numbers.len() == EACH && numbers.is_sorted(),
                "shard {shard} came as {numbers:?}"
            );
        }
    }
    Ok(())
}
