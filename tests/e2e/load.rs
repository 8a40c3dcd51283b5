//! As fast as the broker goes: nothing is lost, nothing is there twice.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Consume, Mode, Send, artifacts::FASTEST_SERVER, client::Library, ids, soak::soak, totals::no_loss,
};

use crate::{
    check,
    scene::{Scene, by_message},
    trial,
    world::{NEWEST, World},
};

const JAVA: Library = Library::Java(testbed::artifacts::CLIENT_VERSIONS[0]);

#[derive(Clone, Copy)]
struct Load {
    library: Library,
    mode: Mode,
    messages: usize,
    body: usize,
}

impl Load {
    fn name(self) -> String {
        let Load {
            library,
            mode,
            messages,
            body,
        } = self;
        format!(
            "{messages} {} messages of {body} bytes from {}",
            mode.name(),
            library.name()
        )
    }
}

const LOADS: [Load; 5] = [
    load(JAVA, Mode::Sync, 20_000, 1024),
    load(JAVA, Mode::Sync, 20_000, 200),
    load(JAVA, Mode::Sync, 2_000, 200 << 10),
    // Many requests under way on one connection.
    load(JAVA, Mode::Async, 20_000, 1024),
    load(Library::Go, Mode::Sync, 20_000, 1024),
];

const fn load(library: Library, mode: Mode, messages: usize, body: usize) -> Load {
    Load {
        library,
        mode,
        messages,
        body,
    }
}

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::from(LOADS.map(|load| {
        let world = Arc::clone(world);
        let name = format!("load: {}", load.name());
        trial(name, move || run(&world, load))
    }));
    let world = Arc::clone(world);
    trials.push(trial("load: as much as the broker takes", move || {
        saturated(&world)
    }));
    trials
}

/// `cargo xtask soak` does the same for minutes.
fn saturated(world: &World) -> Result<()> {
    let server = world.server(FASTEST_SERVER)?;
    let topic = world.fresh("soak");
    let found = soak(
        &world.artifacts,
        server,
        world.dir()?,
        &topic,
        Duration::from_secs(10),
    )?;
    println!("{found:?}");
    Ok(())
}

fn run(world: &World, load: Load) -> Result<()> {
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "load")?;
    let group = world.fresh("load-group");
    let scene = Scene::start(world, "load", &[])?;
    let consumer = world.client(load.library, server, "consumer")?;
    let producer = world.client(load.library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]).threads(8))?;
    producer.producer("load")?;

    let send = Send::new("load", &topic, load.mode, load.messages)
        .size(load.body)
        .threads(8);
    let ticket = producer.start_sending(send)?;
    let took = producer.wait(ticket, Duration::from_secs(180))?;
    let sent = producer.sent(ticket);
    ensure!(
        took.failed == 0 && sent.len() == load.messages,
        "{} sent, {} failed",
        sent.len(),
        took.failed
    );
    let consumed = consumer.wait_consumed(&group, load.messages, Duration::from_secs(60))?;
    ensure!(
        consumed.len() == load.messages,
        "the broker delivered {} of {}",
        consumed.len(),
        load.messages
    );
    consumer.finish()?;
    producer.finish()?;
    let (spans, log) = scene.finish(world)?;

    let of = |operation: &str| -> Vec<_> {
        spans
            .iter()
            .filter(|span| span.operation() == operation && span.topic() == topic)
            .cloned()
            .collect()
    };
    let (sends, processes) = (of("send"), of("process"));
    ensure!(
        sends.len() == load.messages && processes.len() == load.messages && spans.len() == 2 * load.messages,
        "{} send and {} process spans of {} in all\n{log}",
        sends.len(),
        processes.len(),
        spans.len()
    );
    ensure!(
        spans
            .iter()
            .map(|span| &span.span_id)
            .collect::<HashSet<_>>()
            .len()
            == spans.len(),
        "a span id occurs twice"
    );
    let (send_of, process_of) = (by_message(&sends)?, by_message(&processes)?);
    let mut pairs = Vec::with_capacity(sent.len());
    for message in &sent {
        let send = send_of
            .get(message.msg_id.as_str())
            .with_context(|| format!("no send span of {message:?}"))?;
        let process = process_of
            .get(message.msg_id.as_str())
            .with_context(|| format!("no process span of {message:?}"))?;
        ensure!(send.trace_id == ids::trace_id(&message.msg_id), "{send:#?}");
        ensure!(send.span_id == ids::send_span_id(&message.msg_id), "{send:#?}");
        ensure!(
            process.trace_id == send.trace_id && process.parent_span_id == send.span_id,
            "{process:#?}"
        );
        ensure!(
            send.number("messaging.message.body.size") == Some(i64::try_from(load.body)?),
            "{send:#?}"
        );
        pairs.push((*send, message));
    }
    no_loss(&log)?;
    let outside = check::outside(&pairs)?;
    let rate = sent.len() as f64 / Duration::from_nanos(took.took_ns).as_secs_f64();
    println!("{}: {rate:.0} messages/s", load.name());
    // An asynchronous call's callback waits for the client's own threads: that says nothing about the tracer.
    if load.mode == Mode::Sync {
        check::report(&load.name(), &outside);
    }
    Ok(())
}
