//! The ways out: OTLP over gRPC, OTLP over HTTP and the file all get the same spans, and two tracers that know nothing of each
//! other agree on the ids.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, Span,
    artifacts::CLIENT_VERSIONS,
    client::Library,
    spans::SpanFile,
    tracer::{Options, Transport},
};

use crate::{
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

const MESSAGES: usize = 20;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(
        world,
        "exports",
        &[("gRPC, HTTP and file agree, and so do two tracers", run)],
    )
}

fn run(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "exports")?;
    let group = world.fresh("exports-group");
    let file = world.dir()?.join(world.fresh("exports-file"));
    let file_flag = format!("--otlp-file={}", file.display());
    let grpc = Scene::start(world, "exports-grpc", &[&file_flag])?;
    let http = Scene::start_with(
        world,
        "exports-http",
        Options {
            transport: Transport::Http,
            ..Options::default()
        },
    )?;

    let consumer = world.client(Library::Java(CLIENT_VERSIONS[0]), server, "consumer")?;
    let producer = world.client(Library::Go, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("exports")?;
    producer.send(Send::new("exports", &topic, Mode::Sync, MESSAGES))?;
    consumer.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    consumer.finish()?;

    let (by_grpc, _) = grpc.finish(world)?;
    let (by_http, _) = http.finish(world)?;
    let mut by_file = SpanFile::new(&file).refresh()?.to_vec();
    by_file.retain(|span| world.owns(span.topic()));
    ensure!(by_grpc.len() == 2 * MESSAGES, "{} spans by gRPC", by_grpc.len());
    ensure!(
        contents(&by_grpc) == contents(&by_file),
        "the file differs from what was sent by gRPC"
    );
    ensure!(
        derived(&by_grpc) == derived(&by_http),
        "the second tracer, which exports by HTTP, differs"
    );
    Ok(())
}

/// Everything of every span.
fn contents(spans: &[Span]) -> BTreeSet<String> {
    spans.iter().map(|span| format!("{span:?}")).collect()
}

/// What two tracers must agree on: the traces, the sends' own ids and the process spans' parents.
fn derived(spans: &[Span]) -> BTreeSet<(&str, &str, &str)> {
    spans
        .iter()
        .map(|span| {
            let id = if span.operation() == "send" {
                &span.span_id
            } else {
                &span.parent_span_id
            };
            (span.operation(), span.trace_id.as_str(), id.as_str())
        })
        .collect()
}
