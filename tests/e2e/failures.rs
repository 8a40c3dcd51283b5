//! Sends that nobody answers.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{Mode, Send, Span, artifacts::CLIENT_VERSIONS, client::Library, tracer::Options};

use crate::{
    Case, check,
    scene::{ARRIVAL, Scene},
    world::{NEWEST, World},
};

/// Shorter than the 30 s of the default, so that a test does not take as long.
const CORRELATE_TIMEOUT: (&str, &str) = ("RMQTRACE_CORRELATE_TIMEOUT", "2s");

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let cases: &[Case] = &[
        ("a send that the broker never answers", unanswered),
        ("a send whose client closes the connection", client_gives_up),
        ("a send whose client dies before the answer", connection_closed),
    ];
    crate::cases(world, "failures", cases)
}

fn unanswered(world: &World) -> Result<()> {
    // This client keeps the connection when it gives up.
    give_up(world, Library::Go, "timeout")
}

fn client_gives_up(world: &World) -> Result<()> {
    // This one closes it.
    give_up(world, Library::Java(CLIENT_VERSIONS[0]), "connection_closed")
}

fn give_up(world: &World, library: Library, error_type: &str) -> Result<()> {
    let server = world.server(NEWEST)?;
    let mut scene = Scene::start_with(
        world,
        "unanswered",
        Options {
            env: &[CORRELATE_TIMEOUT],
            ..Options::default()
        },
    )?;
    let topic = world.topic(server, "unanswered")?;
    let client = world.client(library, server, "producer")?;
    client.producer("unanswered")?;
    client.send(Send::new("unanswered", &topic, Mode::Sync, 1))?;
    {
        let _frozen = server.freeze()?;
        let ticket = client.start_sending(
            Send::new("unanswered", &topic, Mode::Sync, 1)
                .key("unanswered")
                .timeout(Duration::from_secs(1)),
        )?;
        client.wait(ticket, ARRIVAL)?;
        scene.spans("send", &topic, 2)?;
    }
    let failed = client.all_failed();
    ensure!(failed.len() == 1, "{} sends failed", failed.len());
    let spans: Vec<Span> = scene
        .spans("send", &topic, 2)?
        .into_iter()
        .filter(|span| span.message_id() == failed[0].msg_id)
        .collect();
    ensure!(spans.len() == 1, "{spans:#?}");
    check::failed_send(&spans[0], &failed[0], error_type)
}

fn connection_closed(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    let mut scene = Scene::start(world, "closed", &[])?;
    let topic = world.topic(server, "closed")?;
    let client = world.client(Library::Go, server, "producer")?;
    client.producer("closed")?;
    let answered = client.send(Send::new("closed", &topic, Mode::Sync, 1))?;
    let frozen = server.freeze()?;
    client.start_sending(Send::new("closed", &topic, Mode::Sync, 1).key("closed"))?;
    // Nothing that the client says tells when the request is written; the broker's socket does.
    frozen.wait_for_bytes(ARRIVAL)?;
    client.kill()?;
    drop(frozen);
    let spans = scene.spans("send", &topic, 2)?;
    let lost: Vec<&Span> = spans
        .iter()
        .filter(|span| span.message_id() != answered[0].msg_id)
        .collect();
    ensure!(lost.len() == 1, "{spans:#?}");
    ensure!(
        lost[0].text("error.type") == "connection_closed",
        "{:#?}",
        lost[0]
    );
    ensure!(lost[0].status == testbed::spans::STATUS_ERROR, "{:#?}", lost[0]);
    Ok(())
}
