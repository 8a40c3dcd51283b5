//! Settings that decide which spans leave and what they are called, with real traffic.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Client, Consume, Mode, Send, Span,
    artifacts::CLIENT_VERSIONS,
    client::{self, Library},
    ids,
    spans::kind,
    totals::total,
    tracer::Options,
};

use crate::{
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

const JAVA: Library = Library::Java(CLIENT_VERSIONS[0]);

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(
        world,
        "settings",
        &[
            ("a ratio keeps all spans of a message or none", ratio),
            ("a rate is kept to, message by message", rate),
            ("old names, properties, short values", names),
            ("a process with the Java agent has no spans", instrumented),
        ],
    )
}

/// Sends and consumes so many messages on a new topic. Gives the topic, the ids, all spans and the log.
fn traffic(
    world: &World,
    count: usize,
    options: Options<'_>,
) -> Result<(String, BTreeSet<String>, Vec<Span>, String)> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "settings")?;
    let group = world.fresh("settings-group");
    let scene = Scene::start_with(world, "settings", options)?;
    let consumer = world.client(JAVA, server, "consumer")?;
    let producer = world.client(JAVA, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("settings")?;
    let sent = producer.send(Send::new("settings", &topic, Mode::Sync, count))?;
    consumer.wait_consumed(&group, count, ARRIVAL)?;
    consumer.finish()?;
    producer.finish()?;
    let ids = sent.iter().map(|message| message.msg_id.clone()).collect();
    let (spans, log) = scene.finish(world)?;
    Ok((topic, ids, spans, log))
}

fn of<'a>(spans: &'a [Span], topic: &str, operation: &str) -> BTreeSet<&'a str> {
    let wanted = |span: &&Span| span.topic() == topic && span.operation() == operation;
    spans.iter().filter(wanted).map(Span::message_id).collect()
}

/// The rule of OpenTelemetry's Java SDK, computed a second time.
fn sampled(id: &str, ratio: f64) -> Result<bool> {
    let low = u64::from_str_radix(&ids::trace_id(id)[16..], 16)? as i64;
    Ok(low.wrapping_abs() < (ratio * i64::MAX as f64) as i64)
}

fn ratio(world: &World) -> Result<()> {
    const COUNT: usize = 60;
    let options = Options {
        env: &[
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ],
        ..Options::default()
    };
    let (topic, ids, spans, log) = traffic(world, COUNT, options)?;
    let mut kept = BTreeSet::new();
    for id in &ids {
        if sampled(id, 0.5)? {
            kept.insert(id.as_str());
        }
    }
    ensure!(!kept.is_empty() && kept.len() < COUNT, "{} kept", kept.len());
    for operation in ["send", "process"] {
        let got = of(&spans, &topic, operation);
        ensure!(got == kept, "{operation}: {got:?}, not {kept:?}\n{log}");
    }
    // The machine may have other clients.
    let left_out = 2 * (COUNT - kept.len()) as u64;
    ensure!(total(&log, "spans_unsampled")? >= left_out, "{log}");
    Ok(())
}

fn rate(world: &World) -> Result<()> {
    const COUNT: usize = 200;
    let options = Options {
        args: &["--set", "sampling.max_messages_per_second=*=5"],
        ..Options::default()
    };
    let (topic, _, spans, log) = traffic(world, COUNT, options)?;
    let (sends, processes) = (of(&spans, &topic, "send"), of(&spans, &topic, "process"));
    ensure!(sends == processes, "{sends:?}, not {processes:?}\n{log}");
    ensure!((5..COUNT).contains(&sends.len()), "{} kept\n{log}", sends.len());
    ensure!(
        total(&log, "spans_rate_limited")? >= 2 * (COUNT - sends.len()) as u64,
        "{log}"
    );
    ensure!(log.contains("more messages than the limit allows"), "{log}");
    Ok(())
}

fn names(world: &World) -> Result<()> {
    let options = Options {
        args: &[
            "--set",
            "semconv=old",
            "--set",
            "attributes.properties=note",
            "--set",
            "attributes.max_value_length=40",
        ],
        ..Options::default()
    };
    let (topic, ids, spans, log) = traffic(world, 4, options)?;
    for (operation, span_kind) in [("send", kind::PRODUCER), ("process", kind::CONSUMER)] {
        let name = format!("{topic} {operation}");
        let of_operation: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        ensure!(
            of_operation.len() == ids.len(),
            "{} of {name}",
            of_operation.len()
        );
        for span in of_operation {
            ensure!(span.kind == span_kind, "{span:#?}");
            let long = |text: &str| text.chars().take(40).collect::<String>();
            for (key, value) in [
                ("messaging.destination", long(&topic)),
                ("messaging.operation", operation.to_owned()),
                ("messaging.rocketmq.property.note", "PROPERTY-CANARY".to_owned()),
            ] {
                ensure!(span.text(key) == value, "{key}: {span:#?}");
            }
            ensure!(
                !span.text("messaging.rocketmq.client_group").is_empty(),
                "{span:#?}"
            );
            let new = [
                "messaging.destination.name",
                "messaging.operation.name",
                "messaging.client.id",
            ];
            ensure!(new.iter().all(|key| span.text(key).is_empty()), "{span:#?}");
            ensure!(
                span.text("messaging.message.id").len() <= 40,
                "an id of 56 digits is cut: {span:#?}"
            );
        }
    }
    ensure!(!log.contains("attributes_dropped="), "{log}");
    Ok(())
}

fn instrumented(world: &World) -> Result<()> {
    const COUNT: usize = 8;
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "agent")?;
    let group = world.fresh("agent-group");
    let mut scene = Scene::start(world, "agent", &[])?;
    let options = client::Options {
        agent: Some(scene.collector.http),
        ..client::Options::default()
    };
    let name = world.fresh("producer-agent");
    let producer = Client::start_with(
        &world.artifacts,
        JAVA,
        server.name_server,
        world.dir()?,
        &name,
        options,
    )?;
    let consumer = world.client(JAVA, server, "consumer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("agent")?;
    producer.send(Send::new("agent", &topic, Mode::Sync, COUNT))?;
    consumer.wait_consumed(&group, COUNT, ARRIVAL)?;
    let processed = scene.spans("process", &topic, COUNT)?;
    let agents = scene.collector.wait_for(COUNT, ARRIVAL, |span| {
        span.topic() == topic && span.text("messaging.operation") == "publish"
    })?;
    let pid = producer.pid();
    consumer.finish()?;
    producer.finish()?;
    let (spans, log) = scene.finish(world)?;
    let ours = of(&spans, &topic, "send");
    ensure!(ours.is_empty(), "{ours:?}\n{log}");
    for span in &processed {
        let parent = |agent: &&Span| agent.trace_id == span.trace_id && agent.span_id == span.parent_span_id;
        ensure!(agents.iter().filter(parent).count() == 1, "{span:#?}");
        ensure!(span.text("rmqtrace.trace.origin") == "propagated", "{span:#?}");
    }
    ensure!(total(&log, "spans_of_instrumented")? >= COUNT as u64, "{log}");
    let said = log
        .lines()
        .filter(|line| line.contains("makes RocketMQ spans itself") && line.contains(&format!("pid={pid} ")));
    ensure!(said.count() == 1, "{log}");
    Ok(())
}
