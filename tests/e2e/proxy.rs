//! Clients behind a proxy, and clients whose bytes nobody outside can read: TLS and gRPC.
//!
//! A proxy repeats what its clients say to the broker, over connections of its own: it is between the two, not a client.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Client, Consume, Mode, Proxy, Send, Span,
    artifacts::CLIENT_VERSIONS,
    client::{Library, Options},
    ids,
    spans::kind,
    totals::total,
};

use crate::{
    check,
    scene::{ARRIVAL, Scene, by_message},
    world::{NEWEST, World},
};

const MESSAGES: usize = 12;

const JAVA: Library = Library::Java(CLIENT_VERSIONS[0]);

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(
        world,
        "proxy",
        &[
            ("remoting clients", remoting),
            ("gRPC clients have no spans", grpc),
            ("lite topics", lite),
            ("TLS clients have no spans", tls),
        ],
    )
}

fn of_process(spans: &[Span], pid: u32) -> Vec<Span> {
    let mine = |span: &&Span| span.pid() == Some(i64::from(pid));
    spans.iter().filter(mine).cloned().collect()
}

/// The client's own spans are those of a client of a broker; what the proxy passes on is below them, and its pulls are none
/// of anybody's.
fn remoting(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let proxy = Proxy::start(&world.artifacts, server, world.dir()?)?;
    let topic = world.topic(server, "proxy")?;
    let group = world.fresh("proxy-group");
    let mut scene = Scene::start(world, "proxy", &[])?;
    let start = |purpose: &str| {
        let name = world.fresh(purpose);
        let options = Options::default();
        Client::start_with(
            &world.artifacts,
            JAVA,
            proxy.remoting,
            world.dir()?,
            &name,
            options,
        )
    };
    let (consumer, producer) = (start("consumer-proxy")?, start("producer-proxy")?);
    consumer.consumer(Consume::new(&group, &[&topic]))?;
    producer.producer("proxy")?;
    let sent = producer.send(Send::new("proxy", &topic, Mode::Sync, MESSAGES))?;
    let consumed = consumer.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    let (producer_pid, consumer_pid) = (producer.pid(), consumer.pid());
    consumer.finish()?;
    producer.finish()?;
    scene.spans("process", &topic, MESSAGES)?;
    scene.spans("send", &topic, 2 * MESSAGES)?;
    let (spans, _) = scene.finish(world)?;
    let spans: Vec<Span> = spans.into_iter().filter(|span| span.topic() == topic).collect();

    let theirs = of_process(&spans, producer_pid);
    let passed_on = of_process(&spans, proxy.pid());
    let (sends, passed) = (by_message(&theirs)?, by_message(&passed_on)?);
    ensure!(
        sent.len() == MESSAGES && sends.len() == MESSAGES && passed.len() == MESSAGES,
        "{} sent, {} send spans, {} passed on",
        sent.len(),
        sends.len(),
        passed.len()
    );
    for message in &sent {
        let id = message.msg_id.as_str();
        let (trace, creation) = (ids::trace_id(id), ids::send_span_id(id));
        let span = sends.get(id).with_context(|| format!("no span of {message:?}"))?;
        ensure!(span.kind == kind::PRODUCER, "{span:#?}");
        ensure!(
            span.trace_id == trace && span.span_id == creation && span.parent_span_id.is_empty(),
            "{span:#?}"
        );
        ensure!(
            span.number("server.port") == Some(i64::from(proxy.remoting.port())),
            "not sent to the proxy: {span:#?}"
        );
        ensure!(
            span.number("messaging.rocketmq.queue_offset") == message.offset,
            "{message:?}: {span:#?}"
        );
        let below = passed
            .get(id)
            .with_context(|| format!("not passed on: {message:?}"))?;
        ensure!(
            below.operation() == "send" && below.kind == kind::CLIENT,
            "{below:#?}"
        );
        ensure!(
            below.trace_id == trace && below.parent_span_id == creation && below.span_id != creation,
            "{below:#?}"
        );
        ensure!(
            below.number("server.port") == Some(i64::from(server.broker.port())),
            "not passed on to the broker: {below:#?}"
        );
        ensure!(
            span.start_ns <= below.start_ns && below.end_ns <= span.end_ns,
            "what is passed on lies outside: {span:#?} {below:#?}"
        );
    }

    let processed: Vec<Span> = spans
        .iter()
        .filter(|span| span.operation() == "process")
        .cloned()
        .collect();
    let process = by_message(&processed)?;
    for delivery in &consumed {
        let id = delivery.msg_id.as_str();
        let span = process
            .get(id)
            .with_context(|| format!("no span of {delivery:?}"))?;
        check::process(span, delivery, id, JAVA, consumer_pid)?;
    }
    ensure!(
        spans.len() == 3 * MESSAGES,
        "{} spans, not three for each message",
        spans.len()
    );
    Ok(())
}

/// What a proxy does for gRPC clients can be seen; the clients themselves speak HTTP/2.
fn grpc(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let proxy = Proxy::start(&world.artifacts, server, world.dir()?)?;
    let topic = world.topic(server, "grpc")?;
    let group = world.fresh("grpc-group");
    server.create_group(&group)?;
    let scene = Scene::start(world, "grpc", &[])?;
    let client = grpc_client(world, &proxy)?;
    client.consumer(Consume::new(&group, &[&topic]))?;
    client.producer("grpc")?;
    let sent = client.send(Send::new("grpc", &topic, Mode::Sync, MESSAGES))?;
    ensure!(sent.len() == MESSAGES, "{} sent", sent.len());
    client.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    let pid = client.pid();
    client.finish()?;
    let (spans, log) = scene.finish(world)?;
    ensure!(
        total(&log, "grpc_connections")? > 0,
        "gRPC was not recognised:\n{log}"
    );
    let invented = of_process(&spans, pid);
    ensure!(invented.is_empty(), "spans of a gRPC client: {invented:#?}");
    // Each message was sent once, by the proxy, on behalf of somebody whom nobody sees.
    let sends: Vec<Span> = spans
        .iter()
        .filter(|span| span.topic() == topic && span.operation() == "send")
        .cloned()
        .collect();
    let sends = by_message(&sends)?;
    ensure!(
        sends.len() == MESSAGES && sent.iter().all(|sent| sends.contains_key(sent.msg_id.as_str())),
        "{} sends by the proxy: {sends:#?}",
        sends.len()
    );
    Ok(())
}

/// Lite topics are for gRPC clients: between proxy and broker their messages go by POP_LITE_MESSAGE.
fn lite(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let proxy = Proxy::start(&world.artifacts, server, world.dir()?)?;
    let (topic, group) = (world.fresh("lite"), world.fresh("lite-group"));
    server.create_lite_topic(&topic, &group)?;
    let scene = Scene::start(world, "lite", &[])?;
    let client = grpc_client(world, &proxy)?;
    client.consumer(Consume::new(&group, &[&topic]).with("lite", "orders"))?;
    client.producer("lite")?;
    let sent = client.send(Send::new("lite", &topic, Mode::Sync, MESSAGES).with("lite", "orders"))?;
    ensure!(
        sent.len() == MESSAGES,
        "{} sent: {:?}",
        sent.len(),
        client.all_failed()
    );
    let consumed = client.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    client.finish()?;
    let (spans, _) = scene.finish(world)?;
    let of = |operation: &str| -> Vec<Span> {
        let mine = |span: &&Span| span.topic() == topic && span.operation() == operation;
        spans.iter().filter(mine).cloned().collect()
    };
    let (sends, processes) = (of("send"), of("process"));
    let (sends, processes) = (by_message(&sends)?, by_message(&processes)?);
    ensure!(
        sends.len() == MESSAGES && processes.len() == MESSAGES,
        "{} sends and {} deliveries",
        sends.len(),
        processes.len()
    );
    for handled in &consumed {
        let id = handled.msg_id.as_str();
        let (send, process) = (sends.get(id), processes.get(id));
        let (send, process) = send
            .zip(process)
            .with_context(|| format!("no spans of {handled:?}"))?;
        ensure!(
            [send, process].map(|span| span.text("messaging.rocketmq.message.type")) == ["lite"; 2],
            "{send:#?} {process:#?}"
        );
        ensure!(
            process.parent_span_id == send.span_id && process.trace_id == ids::trace_id(id),
            "{send:#?} {process:#?}"
        );
        ensure!(
            process.text("messaging.consumer.group.name") == group
                && process.text("rmqtrace.process.evidence") == "ack"
                && process.end_ns >= handled.end_ns,
            "{handled:?}: {process:#?}"
        );
    }
    Ok(())
}

/// A client of the proxy's gRPC port.
fn grpc_client(world: &World, proxy: &Proxy) -> Result<Client> {
    let name = world.fresh("grpc");
    Client::start_with(
        &world.artifacts,
        Library::Grpc,
        proxy.grpc,
        world.dir()?,
        &name,
        Options::default(),
    )
}

/// A Java client encrypts inside its virtual machine: the sockets carry TLS records.
fn tls(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "tls")?;
    let group = world.fresh("tls-group");
    let scene = Scene::start(world, "tls", &[])?;
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let client = world.client_with(JAVA, server, "tls", options)?;
    client.consumer(Consume::new(&group, &[&topic]))?;
    client.producer("tls")?;
    let sent = client.send(Send::new("tls", &topic, Mode::Sync, MESSAGES))?;
    ensure!(sent.len() == MESSAGES, "{} sent", sent.len());
    client.wait_consumed(&group, MESSAGES, ARRIVAL)?;
    client.finish()?;
    let (spans, log) = scene.finish(world)?;
    ensure!(
        total(&log, "tls_connections")? > 0,
        "TLS was not recognised:\n{log}"
    );
    let invented: Vec<&Span> = spans.iter().filter(|span| span.topic() == topic).collect();
    ensure!(invented.is_empty(), "spans of encrypted traffic: {invented:#?}");
    Ok(())
}
