//! Consumers that tell more than others: those that trace themselves, and those that pop.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, Span,
    artifacts::CLIENT_VERSIONS,
    client::{self, Consumed, Library},
    spans::{STATUS_ERROR, kind},
    totals::total,
};

use crate::{
    Case,
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

/// Messages of one test.
const MESSAGES: usize = 30;
/// Times in records are whole milliseconds.
const RESOLUTION_NS: u64 = 1_000_000;
/// Two clocks of one machine, and two readings of how they stand to one another.
const CLOCK_TOLERANCE_NS: u64 = 200_000;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let cases: &[Case] = &[
        ("a 5.x client that traces itself", |world| {
            traces(world, CLIENT_VERSIONS[0])
        }),
        ("a 4.9 client that traces itself", |world| {
            traces(world, CLIENT_VERSIONS[1])
        }),
        ("pop with receive and settle spans", pops),
    ];
    crate::cases(world, "consuming", cases)
}

/// The handler's own times, to the millisecond.
fn traces(world: &World, version: &'static str) -> Result<()> {
    let server = world.server(NEWEST)?;
    let mut scene = Scene::start(world, "traces", &[])?;
    let topic = world.topic(server, "traces")?;
    let group = world.fresh("traces-group");
    // its clock is read when it is read, and not when there is a core again
    let options = client::Options {
        real_time: true,
        ..client::Options::default()
    };
    let consumer = world.client_with(Library::Java(version), server, "consumer", options)?;
    let producer = world.client(Library::Java(version), server, "producer")?;
    let delay = std::time::Duration::from_millis(15);
    let consume = Consume::new(&group, &[&topic]).with("trace", 1).delay(delay);
    consumer.consumer(consume.failing(1).failing_key("traces-3"))?;
    producer.producer("traces-producer")?;
    // Before the first record of its own trace a consumer is not known to trace.
    producer.send(Send::new("traces-producer", &topic, Mode::Sync, 1).key("first"))?;
    consumer.wait_consumed(&group, 1, ARRIVAL)?;
    scene.collector.wait_for(1, ARRIVAL, |span| {
        span.operation() == "process" && span.topic() == topic
    })?;
    producer.send(Send::new("traces-producer", &topic, Mode::Sync, MESSAGES).key("traces"))?;
    let consumed = consumer.wait_consumed(&group, MESSAGES + 2, ARRIVAL)?;
    consumer.finish()?;
    producer.finish()?;
    let spans = scene.spans("process", &topic, MESSAGES + 2)?;
    let (_, log) = scene.finish(world)?;

    let mut traced = 0;
    for consumed in consumed
        .iter()
        .filter(|consumed| consumed.key.starts_with("traces"))
    {
        let span = find(&spans, consumed)?;
        same_call(span, consumed).with_context(|| format!("{consumed:?} and {span:#?}"))?;
        traced += 1;
    }
    ensure!(traced == MESSAGES + 1, "{traced} deliveries");
    ensure!(total(&log, "ended_by_client_trace")? >= traced as u64, "{log}");
    ensure!(total(&log, "traces_unread").unwrap_or(0) == 0, "{log}");
    Ok(())
}

fn find<'a>(spans: &'a [Span], consumed: &Consumed) -> Result<&'a Span> {
    let times = |span: &Span| span.number("messaging.rocketmq.reconsume_times").unwrap_or(0);
    let mut found = spans
        .iter()
        .filter(|span| span.message_id() == consumed.msg_id && times(span) == consumed.reconsume_times);
    let first = found.next().with_context(|| format!("no span of {consumed:?}"))?;
    ensure!(found.next().is_none(), "two spans of {consumed:?}");
    Ok(first)
}

fn same_call(span: &Span, consumed: &Consumed) -> Result<()> {
    for key in ["rmqtrace.process.evidence", "rmqtrace.process.start"] {
        ensure!(span.text(key) == "client_trace", "{key}");
    }
    let fails = consumed.result == "RECONSUME_LATER";
    ensure!((span.status == STATUS_ERROR) == fails, "status");
    ensure!(!fails || span.text("error.type") == "FAILURE", "error type");
    // The record is made around the handler, which includes its own first and last words.
    let slack = 20 * RESOLUTION_NS;
    // Of the record's whole milliseconds the span has the middle.
    let half = RESOLUTION_NS / 2 + CLOCK_TOLERANCE_NS;
    ensure!(span.start_ns <= consumed.start_ns + half, "it starts late");
    ensure!(
        consumed.start_ns - span.start_ns.min(consumed.start_ns) <= slack,
        "it starts early"
    );
    ensure!(span.end_ns + half >= consumed.end_ns, "it ends early");
    ensure!(span.end_ns <= consumed.end_ns + slack, "it ends late");
    Ok(())
}

/// `receive` is the parent of `process`, and `process` that of `ack` or `nack`.
fn pops(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let mut scene = Scene::start_with(
        world,
        "pops",
        testbed::tracer::Options {
            env: &[
                (
                    "OTEL_INSTRUMENTATION_MESSAGING_EXPERIMENTAL_RECEIVE_TELEMETRY_ENABLED",
                    "true",
                ),
                ("RMQTRACE_SPANS_SETTLE", "true"),
            ],
            ..testbed::tracer::Options::default()
        },
    )?;
    let topic = world.topic(server, "pops")?;
    let group = world.fresh("pops-group");
    server.create_group(&group)?;
    server.set_request_mode(&topic, &group, "POP")?;
    let library = Library::Java(CLIENT_VERSIONS[0]);
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    let consume = Consume::new(&group, &[&topic]).with("serverRebalance", 1);
    consumer.consumer(consume.failing(1).failing_key("pops-3"))?;
    producer.producer("pops-producer")?;
    producer.send(Send::new("pops-producer", &topic, Mode::Sync, MESSAGES).key("pops"))?;
    let consumed = consumer.wait_consumed(&group, MESSAGES + 1, ARRIVAL)?;
    let processes = scene.spans("process", &topic, MESSAGES + 1)?;
    let acks = scene.spans("ack", &topic, MESSAGES)?;
    let nacks = scene.spans("nack", &topic, 1)?;
    consumer.finish()?;
    producer.finish()?;
    let (spans, _) = scene.finish(world)?;

    for consumed in &consumed {
        let process = find(&processes, consumed)?;
        let check = || -> Result<()> {
            let receive = spans
                .iter()
                .find(|span| span.span_id == process.parent_span_id)
                .context("no parent")?;
            ensure!(
                receive.operation() == "receive" && receive.kind == kind::CLIENT,
                "{receive:#?}"
            );
            ensure!(
                receive.trace_id == process.trace_id && receive.parent_span_id.is_empty(),
                "{receive:#?}"
            );
            ensure!(
                receive.end_ns.abs_diff(process.start_ns) <= CLOCK_TOLERANCE_NS,
                "{receive:#?}"
            );
            let creation = process.links.first().context("no link")?;
            ensure!(
                receive.links_to(&creation.trace_id, &creation.span_id),
                "{receive:#?}"
            );
            let count = receive.number("messaging.batch.message_count");
            ensure!(count == Some(receive.links.len() as i64), "{receive:#?}");

            let fails = consumed.result == "RECONSUME_LATER";
            let settles = if fails { &nacks } else { &acks };
            let settle = settles
                .iter()
                .find(|span| span.parent_span_id == process.span_id)
                .context("no settle span")?;
            ensure!(
                settle.trace_id == process.trace_id && settle.kind == kind::CLIENT,
                "{settle:#?}"
            );
            ensure!(
                settle.start_ns <= process.end_ns + CLOCK_TOLERANCE_NS
                    && process.end_ns <= settle.end_ns + CLOCK_TOLERANCE_NS,
                "{settle:#?}"
            );
            ensure!(
                settle.message_id() == consumed.msg_id && settle.status == 0,
                "{settle:#?}"
            );
            ensure!(process.text("rmqtrace.process.evidence") == if fails { "nack" } else { "ack" });
            ensure!(
                consumed.end_ns <= process.end_ns + CLOCK_TOLERANCE_NS,
                "it ends early"
            );
            Ok(())
        };
        check().with_context(|| format!("{consumed:?} and {process:#?}"))?;
    }
    Ok(())
}
