//! What must never come out: bodies, properties that nobody asked for, credentials.

use std::{fs, sync::Arc};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{Consume, Mode, Send, artifacts::CLIENT_VERSIONS, client::Library};

use crate::{
    scene::{ARRIVAL, Scene},
    trial,
    world::{NEWEST, World},
};

/// Parts of bodies, of a property and of credentials that the test clients put on the wire.
const CANARIES: [&str; 7] = [
    "BODY-CANARY",
    "PROPERTY-CANARY",
    "ACCESS-hush",
    "SECRET-hush",
    "SIGNATURE-hush",
    "TOKEN-hush",
    "Signature",
];

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let libraries = CLIENT_VERSIONS
        .map(Library::Java)
        .into_iter()
        .chain([Library::Go]);
    libraries
        .map(|library| {
            let world = Arc::clone(world);
            trial(
                format!("privacy: nothing secret of {} comes out", library.name()),
                move || run(&world, library),
            )
        })
        .collect()
}

fn run(world: &World, library: Library) -> Result<()> {
    const EACH: usize = 8;
    let server = world.server(NEWEST)?;
    let topic = world.topic(server, "privacy")?;
    let group = world.fresh("privacy-group");
    let file = world.dir()?.join(world.fresh("privacy-file"));
    let file_text = file.to_str().context("the path is not text")?;
    let mut scene = Scene::start(
        world,
        "privacy",
        &[
            "--print",
            "json",
            "--otlp-file",
            file_text,
            "--log-level",
            "trace",
        ],
    )?;
    let consumer = world.client(library, server, "consumer")?;
    let producer = world.client(library, server, "producer")?;
    consumer.consumer(Consume::new(&group, &[&topic]).auth("hush"))?;
    producer.producer_with("privacy", &[("auth", "hush")])?;
    for mode in Mode::ALL {
        // Bodies of every size class, the last one in several pieces.
        for size in [16, 1000, 100_000] {
            producer.send(
                Send::new("privacy", &topic, mode, EACH).size(if mode == Mode::Batch { 1000 } else { size }),
            )?;
        }
    }
    let all = Mode::ALL.len() * 3 * EACH;
    consumer.wait_consumed(&group, all, ARRIVAL)?;
    consumer.finish()?;
    scene.spans("process", &topic, all)?;
    let collected = fs::read_to_string(scene.collector.file())?;
    let (_, log) = scene.finish(world)?;
    let written = fs::read_to_string(&file)?;
    for (output, text) in [
        ("the collector's file", &collected),
        ("--otlp-file", &written),
        ("standard output and log", &log),
    ] {
        ensure!(text.contains(&topic), "{output} has no span of {topic}");
        for canary in CANARIES {
            ensure!(!text.contains(canary), "{canary} is in {output}");
        }
    }
    Ok(())
}
