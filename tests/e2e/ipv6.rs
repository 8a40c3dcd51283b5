//! The same over IPv6: other socket addresses, other stored messages, longer offset ids.

use std::{net::Ipv6Addr, sync::Arc};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{Consume, Mode, Send, Server, artifacts::CLIENT_VERSIONS, client::Library};

use crate::{
    check,
    scene::{ARRIVAL, Scene, by_message},
    world::{NEWEST, World},
};

const MESSAGES: usize = 12;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    crate::cases(world, "IPv6", &[("sync sends and a push consumer", run)])
}

fn run(world: &World) -> Result<()> {
    let server = Server::start_on(&world.artifacts, NEWEST, world.dir()?, Ipv6Addr::LOCALHOST.into())?;
    let topic = world.topic(&server, "ipv6")?;
    let library = Library::Java(CLIENT_VERSIONS[0]);
    let scene = Scene::start(world, "ipv6", &[])?;
    let consumer = world.client(library, &server, "consumer")?;
    let producer = world.client(library, &server, "producer")?;
    consumer.consumer(Consume::new("ipv6", &[&topic]))?;
    producer.producer("ipv6")?;
    let sent = producer.send(Send::new("ipv6", &topic, Mode::Sync, MESSAGES))?;
    let consumed = consumer.wait_consumed("ipv6", MESSAGES, ARRIVAL)?;
    let (sender, consumer_pid) = (
        check::Sender {
            library,
            pid: producer.pid(),
            server: &server,
        },
        consumer.pid(),
    );
    consumer.finish()?;

    let (spans, _) = scene.finish(world)?;
    let (sends, processes): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.operation() == "send");
    let (send_of, process_of) = (by_message(&sends)?, by_message(&processes)?);
    ensure!(
        send_of.len() == MESSAGES && process_of.len() == MESSAGES,
        "{} and {}",
        send_of.len(),
        process_of.len()
    );
    for message in &sent {
        let span = send_of
            .get(message.msg_id.as_str())
            .with_context(|| format!("no send span of {message:?}"))?;
        check::send(span, message, Mode::Sync, &sender)?;
        ensure!(
            span.text("messaging.rocketmq.offset_message_id").len() == 56,
            "not an IPv6 offset id: {span:#?}"
        );
    }
    for message in &consumed {
        let span = process_of
            .get(message.msg_id.as_str())
            .with_context(|| format!("no span of {message:?}"))?;
        check::process(span, message, &message.msg_id, library, consumer_pid)?;
    }
    Ok(())
}
