//! Every client with every server: each way of sending, a push consumer, a retry, a refused send.
//!
//! One run of a producer and a consumer program per pair makes all the traffic; each test then looks at its part of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, Span,
    artifacts::{CLIENT_VERSIONS, SERVER_VERSIONS},
    client::{Consumed, Library, Sent},
    ids,
    server::MAX_BODY,
};

use crate::{
    check,
    scene::{Scene, by_message},
    trial,
    world::World,
};

/// Messages sent each way.
const EACH: usize = 24;

/// Everything that one pair of client and server did, and its spans.
struct Run {
    library: Library,
    server: &'static str,
    producer_pid: u32,
    consumer_pid: u32,
    sent: Vec<Sent>,
    failed: Vec<Sent>,
    consumed: Vec<Consumed>,
    spans: Vec<Span>,
}

/// What the tests of a pair look at; made by the first of them.
type Shared = OnceLock<Result<Run, String>>;

/// All tests of the matrix.
pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let libraries = CLIENT_VERSIONS
        .map(Library::Java)
        .into_iter()
        .chain([Library::Go]);
    let scene: Arc<Mutex<Option<Scene>>> = Arc::default();
    let mut trials = Vec::new();
    for (library, server) in libraries.flat_map(|library| SERVER_VERSIONS.map(|server| (library, server))) {
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
        add("sync sends", |world, run| single_sends(world, run, Mode::Sync));
        add("async sends", |world, run| single_sends(world, run, Mode::Async));
        add("one-way sends", |world, run| {
            single_sends(world, run, Mode::OneWay)
        });
        add("batch sends", batch_sends);
        add("sync spans lie inside the calls", sync_inside);
        add("push consumer", push_consumer);
        add("a retry", retry);
        add("a refused send", refused_send);
        add("nothing else", nothing_else);
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
        *scene = Some(Scene::start(world, "matrix", &[])?);
    }
    let scene = scene.as_mut().context("no scene")?;

    let topic = world.topic(server, "matrix")?;
    let group = world.fresh("matrix-group");
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]).failing(1).failing_key("retry-0"))?;
    producer.producer("matrix-producer")?;
    for mode in Mode::ALL {
        producer.send(Send::new("matrix-producer", &topic, mode, EACH).key(mode.name()))?;
    }
    producer.send(Send::new("matrix-producer", &topic, Mode::Sync, 1).key("retry"))?;
    producer.send(
        Send::new("matrix-producer", &topic, Mode::Sync, 1)
            .key("refused")
            .size(MAX_BODY + 50_000),
    )?;

    // The retried message is delivered twice.
    let deliveries = 4 * EACH + 2;
    let consumed = consumer.wait_consumed(&group, deliveries, crate::scene::ARRIVAL)?;
    let (producer_pid, consumer_pid) = (producer.pid(), consumer.pid());
    let (sent, failed) = (producer.all_sent(), producer.all_failed());
    // The end of the consumer commits its last offsets.
    consumer.finish()?;
    producer.finish()?;

    scene.spans("process", &topic, deliveries)?;
    scene.spans("send", &topic, 3 * EACH + batches(&sent) + 2)?;
    scene.spans("create", &topic, EACH)?;
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
        failed,
        consumed,
        spans,
    })
}

fn batches(sent: &[Sent]) -> usize {
    let mut batches: Vec<i64> = sent.iter().filter_map(|sent| sent.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    batches.len()
}

impl Run {
    fn spans(&self, operation: &str) -> Vec<Span> {
        self.spans
            .iter()
            .filter(|span| span.operation() == operation)
            .cloned()
            .collect()
    }

    fn sent(&self, mode: Mode) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.mode == mode.name()).collect()
    }

    fn sender<'a>(&self, world: &'a World) -> Result<check::Sender<'a>> {
        Ok(check::Sender {
            library: self.library,
            pid: self.producer_pid,
            server: world.server(self.server)?,
        })
    }
}

fn single_sends(world: &World, run: &Run, mode: Mode) -> Result<()> {
    let sends: Vec<Span> = run
        .spans("send")
        .into_iter()
        .filter(|s| !s.attributes.contains_key("messaging.batch.message_count"))
        .collect();
    let spans = by_message(&sends)?;
    let sent = run.sent(mode);
    ensure!(sent.len() >= EACH, "the client says that it sent {}", sent.len());
    for message in sent {
        let span = spans
            .get(message.msg_id.as_str())
            .with_context(|| format!("no span for {message:?}"))?;
        check::send(span, message, mode, &run.sender(world)?)?;
    }
    Ok(())
}

fn batch_sends(world: &World, run: &Run) -> Result<()> {
    let (sends, creates) = (run.spans("send"), run.spans("create"));
    let sent = run.sent(Mode::Batch);
    ensure!(
        sent.len() == EACH && creates.len() == EACH,
        "{} sent, {} create spans",
        sent.len(),
        creates.len()
    );
    let creates: Vec<&Span> = creates.iter().collect();
    for first in sent
        .iter()
        .filter(|sent| sent.batch == sent.key.rsplit('-').next().and_then(|n| n.parse().ok()))
    {
        let messages: Vec<&Sent> = sent
            .iter()
            .copied()
            .filter(|sent| sent.batch == first.batch)
            .collect();
        let (trace, id) = (ids::trace_id(&first.msg_id), ids::send_span_id(&first.msg_id));
        let span = sends
            .iter()
            .find(|span| span.links_to(&trace, &id))
            .with_context(|| format!("no span links to {first:?}"))?;
        check::batch(span, &creates, &messages, &run.sender(world)?)?;
    }
    Ok(())
}

fn sync_inside(_: &World, run: &Run) -> Result<()> {
    let sends = run.spans("send");
    let pairs: Vec<(&Span, &Sent)> = run
        .sent(Mode::Sync)
        .into_iter()
        .filter_map(|sent| Some((sends.iter().find(|span| span.message_id() == sent.msg_id)?, sent)))
        .collect();
    ensure!(pairs.len() > EACH, "{} sync spans", pairs.len());
    let outside = check::outside(&pairs)?;
    check::report(
        &format!("{} with server {}", run.library.name(), run.server),
        &outside,
    );
    Ok(())
}

fn push_consumer(_: &World, run: &Run) -> Result<()> {
    let spans = run.spans("process");
    ensure!(
        run.consumed.len() == spans.len(),
        "{} deliveries, {} spans",
        run.consumed.len(),
        spans.len()
    );
    for consumed in &run.consumed {
        // By the message's key: a broker of 4.9 stores the messages of a 5.x client's batch with the batch's own UNIQ_KEY
        // beside theirs, and consumers then show that one as the id of all of them.
        let sent = run
            .sent
            .iter()
            .find(|sent| sent.key == consumed.key)
            .context("consumed, but not sent")?;
        let mine: Vec<&Span> = spans
            .iter()
            .filter(|span| span.message_id() == sent.msg_id)
            .filter(|span| {
                span.number("messaging.rocketmq.reconsume_times").unwrap_or(0) == consumed.reconsume_times
            })
            .collect();
        ensure!(
            mine.len() == 1,
            "{} spans for {consumed:?}: {mine:#?}",
            mine.len()
        );
        check::process(mine[0], consumed, &sent.msg_id, run.library, run.consumer_pid)?;
        if consumed.reconsume_times == 0 {
            let queue = mine[0].text("messaging.destination.partition.id");
            ensure!(queue == consumed.queue.to_string(), "queue {queue}: {consumed:?}");
            let offset = mine[0].number("messaging.rocketmq.queue_offset");
            ensure!(offset == Some(consumed.offset), "offset {offset:?}: {consumed:?}");
        }
    }
    Ok(())
}

fn retry(_: &World, run: &Run) -> Result<()> {
    let sent = run
        .sent
        .iter()
        .find(|sent| sent.key == "retry-0")
        .context("the message was not sent")?;
    let mut attempts: Vec<Span> = run
        .spans("process")
        .into_iter()
        .filter(|span| span.message_id() == sent.msg_id)
        .collect();
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
        second.text("rmqtrace.process.evidence") == "offset_commit",
        "{second:#?}"
    );
    ensure!(
        second.links_to(&first.trace_id, &first.span_id),
        "no link to the first attempt: {second:#?}"
    );
    ensure!(
        first.end_ns <= second.start_ns,
        "the second attempt began before the first had ended"
    );
    Ok(())
}

fn refused_send(_: &World, run: &Run) -> Result<()> {
    let [failed] = run.failed.as_slice() else {
        anyhow::bail!("{} sends failed", run.failed.len())
    };
    ensure!(
        failed.code != 0,
        "the broker did not answer with a code: {failed:?}"
    );
    let spans: Vec<Span> = run
        .spans("send")
        .into_iter()
        .filter(|span| span.message_id() == failed.msg_id)
        .collect();
    let [span] = spans.as_slice() else {
        anyhow::bail!("{} spans of {failed:?}", spans.len())
    };
    check::failed_send(span, failed, "MESSAGE_ILLEGAL")
}

/// Exactly the spans of the other tests: none for pulls without messages, retries' way through the broker, heartbeats.
fn nothing_else(_: &World, run: &Run) -> Result<()> {
    let mut counts = std::collections::BTreeMap::new();
    for span in &run.spans {
        *counts.entry(span.operation().to_owned()).or_insert(0usize) += 1;
    }
    let sends = 3 * EACH + batches(&run.sent) + 2;
    let wanted = [("create", EACH), ("process", run.consumed.len()), ("send", sends)]
        .map(|(operation, count)| (operation.to_owned(), count));
    ensure!(counts == wanted.into_iter().collect(), "{counts:?}");
    Ok(())
}
