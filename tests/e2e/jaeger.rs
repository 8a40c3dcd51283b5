//! What arrives in a real back-end: kinds, parents, links and the graph of who calls whom, as Jaeger shows them.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use testbed::{Consume, Jaeger, Mode, Send, Tracer, artifacts::CLIENT_VERSIONS, client::Library, ids, wait};

use crate::{
    scene::ARRIVAL,
    world::{NEWEST, World},
};

const MESSAGES: usize = 20;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(world, "Jaeger", &[("traces and the dependency graph", run)])
}

fn run(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "jaeger")?;
    let group = world.fresh("jaeger-group");
    let jaeger = Jaeger::start(&world.artifacts, world.dir()?, &world.fresh("jaeger"))?;
    let mut command = Command::new(world.artifacts.rmqtrace());
    command
        .arg("run")
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://127.0.0.1:{}", jaeger.grpc),
        )
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let log = world.dir()?.join(world.fresh("jaeger-tracer"));
    let tracer = Tracer::launch(command, &log)?;

    let (sender, receiver) = (world.fresh("shop"), world.fresh("billing"));
    let start =
        |library, name: &str| testbed::Client::start(&world.artifacts, library, server, world.dir()?, name);
    let consumer = start(Library::Java(CLIENT_VERSIONS[0]), &receiver)?;
    let producer = start(Library::Go, &sender)?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("jaeger")?;
    let sent = producer.send(Send::new("jaeger", &topic, Mode::Sync, MESSAGES))?;
    consumer.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    consumer.finish()?;
    producer.finish()?;
    let (status, log) = tracer.stop()?;
    ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");

    let services = jaeger.services()?;
    for name in [&sender, &receiver] {
        ensure!(services.contains(name), "no {name} among {services:?}");
    }
    for message in &sent {
        let id = ids::trace_id(&message.msg_id);
        let trace = jaeger.trace(&id)?;
        let [send, process] =
            ["send", "process"].map(|operation| span(&trace, &format!("{operation} {topic}")));
        let (send, process) = (
            send.with_context(|| format!("no send span: {trace:#}"))?,
            process.with_context(|| format!("no process span: {trace:#}"))?,
        );
        let creation = ids::send_span_id(&message.msg_id);
        ensure!(send["spanID"] == creation.as_str(), "{send:#}");
        ensure!(send["references"] == serde_json::json!([]), "{send:#}");
        // Parent and link are the same span, which Jaeger shows once.
        let references = process["references"].as_array().context("no references")?;
        ensure!(
            !references.is_empty()
                && references
                    .iter()
                    .all(|reference| reference["spanID"] == creation.as_str()
                        && reference["traceID"] == id.as_str()),
            "{process:#}"
        );
        for (span, kind, service) in [(send, "producer", &sender), (process, "consumer", &receiver)] {
            ensure!(tag(span, "span.kind") == Some(kind), "{span:#}");
            let process = span["processID"].as_str().context("no processID")?;
            let name = &trace["processes"][process]["serviceName"];
            ensure!(name == service.as_str(), "{name} made {span:#}");
        }
    }
    let calls = u64::try_from(MESSAGES)?;
    wait::until(Duration::from_secs(10), "the graph has its edge", || {
        let graph = jaeger.dependencies()?;
        Ok(if graph.contains(&(sender.clone(), receiver.clone(), calls)) {
            Ok(())
        } else {
            Err(format!("{graph:?}"))
        })
    })
}

/// The span of this name, if there is exactly one.
fn span<'a>(trace: &'a Value, name: &str) -> Option<&'a Value> {
    let mut found = trace["spans"]
        .as_array()?
        .iter()
        .filter(|span| span["operationName"] == name);
    found.next().filter(|_| found.next().is_none())
}

fn tag<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    span["tags"].as_array()?.iter().find(|tag| tag["key"] == key)?["value"].as_str()
}
