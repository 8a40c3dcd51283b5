//! Process ids that the kernel gives out again.

use std::fs;

use anyhow::{Context, Result, ensure};
use testbed::{Client, Mode, Send, client::Library};

use crate::{
    scene::Scene,
    world::{NEWEST, World},
};

/// The id that the next process gets is the one behind this.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";
/// Others start processes too.
const TRIES: usize = 40;

/// A client ends, and the next one has its id: each span belongs to the one that sent.
pub(super) fn process_again(world: &World) -> Result<()> {
    let server = world.server(NEWEST)?;
    // Go's message ids are made of process id and second: the second client's may be those of the first one
    let topics = [
        world.topic(server, "pid-again-first")?,
        world.topic(server, "pid-again-second")?,
    ];
    let mut scene = Scene::start(world, "pid-again", &[])?;
    let first = world.fresh("first");
    let client = start(world, &first)?;
    let pid = client.pid();
    let sent = send(&client, &topics[0])?;
    client.finish()?;
    let second = world.fresh("second");
    let mut client = None;
    for _ in 0..TRIES {
        fs::write(LAST, (pid - 1).to_string()).context(LAST)?;
        let next = start(world, &second)?;
        if next.pid() == pid {
            client = Some(next);
            break;
        }
        next.finish()?;
    }
    let client = client.with_context(|| format!("process id {pid} was not to be had in {TRIES} tries"))?;
    let more = send(&client, &topics[1])?;
    client.finish()?;
    for (topic, service, sent) in [(&topics[0], &first, sent), (&topics[1], &second, more)] {
        for span in scene.spans("send", topic, sent)? {
            ensure!(
                span.service() == service && span.pid() == Some(pid.into()),
                "not by {service}: {span:#?}"
            );
        }
    }
    Ok(())
}

fn start(world: &World, name: &str) -> Result<Client> {
    Client::start(
        &world.artifacts,
        Library::Go,
        world.server(NEWEST)?,
        world.dir()?,
        name,
    )
}

/// How many were sent.
fn send(client: &Client, topic: &str) -> Result<usize> {
    client.producer("pid-again")?;
    let sent = client.send(Send::new("pid-again", topic, Mode::Sync, 5))?;
    Ok(sent.len())
}
