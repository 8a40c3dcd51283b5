//! Topics of other kinds: the broker stores or numbers their messages differently.

use anyhow::Result;
use testbed::{
    Mode, Send,
    client::Feature::{InnerBatch, StaticTopic},
    compare::Rules,
};

use crate::{
    bench::PATIENCE,
    row::{Drive::Own, Row, Stage},
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "inner batches",
        needs: &[InnerBatch],
        rules: Rules::usual(),
        drive: Own(inner_batches),
    },
    Row {
        name: "a static topic",
        needs: &[StaticTopic],
        rules: Rules::usual(),
        drive: Own(static_topic),
    },
];

fn inner_batches(stage: &Stage<'_>) -> Result<()> {
    let topic = format!("{}-inner", stage.topic);
    stage.bench.server.create_batch_topic(&topic)?;
    through(stage, &topic, Mode::Batch)
}

fn static_topic(stage: &Stage<'_>) -> Result<()> {
    let topic = format!("{}-static", stage.topic);
    stage.bench.server.create_static_topic(&topic, 4)?;
    through(stage, &topic, Mode::Sync)
}

/// Twenty messages through a topic of the scenario's own.
fn through(stage: &Stage<'_>, topic: &str, mode: Mode) -> Result<()> {
    stage.owns(topic);
    stage.consume_in(0, &stage.group, topic, &[])?;
    let send = Send::new(&stage.shared_producer()?, topic, mode, 20).timeout(PATIENCE);
    let ticket = stage.bench.producer.start_sending(send)?;
    stage.bench.producer.wait(ticket, PATIENCE)?;
    stage.handled(20).map(drop)
}
