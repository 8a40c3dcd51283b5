//! Handlers that fail, take long, end out of order, stop, or are killed.

use testbed::{
    Consume, Mode,
    client::{
        Feature::{Begins, MaxRetries, Pause},
        Said,
    },
    compare::Rules,
};

use crate::{
    bench::PATIENCE,
    row::{
        Drive::{Own, Plain as P},
        Plain, Row, Stage,
    },
};

const RULES: Rules = Rules::usual();

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "a retry",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .consumer(&[("fail", "1"), ("failKey", "k-3")])
            .count(10, 11)),
    },
    Row {
        name: "retries up to the dead-letter queue",
        needs: &[MaxRetries],
        rules: RULES,
        drive: Own(dead_letter),
    },
    Row {
        name: "handlers slower than the commit interval",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .consumer(&[("delay", "6500"), ("threads", "4")])
            .count(6, 6)),
    },
    Row {
        name: "handlers that end out of order",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .consumer(&[("delay", "4000"), ("delayKey", "k-1"), ("threads", "8")])
            .count(40, 40)),
    },
    Row {
        name: "a paused consumer",
        needs: &[Pause],
        rules: RULES,
        drive: Own(paused),
    },
    Row {
        name: "a consumer killed in mid-handler",
        needs: &[Begins],
        rules: Rules {
            unhandled: true,
            ..RULES
        },
        drive: Own(killed),
    },
];

fn dead_letter(stage: &Stage<'_>) -> anyhow::Result<()> {
    let (letters, group) = (
        format!("%DLQ%{}", stage.group),
        format!("{}-letters", stage.group),
    );
    stage.owns(&letters);
    stage.consume(&[("maxRetries", "2"), ("fail", "10"), ("failKey", "k-3")])?;
    stage.send(Mode::Sync, 5, &[])?;
    stage.handled(7)?;
    // The dead-letter topic comes into being with its first message, and only then can it be consumed.
    testbed::wait::until(PATIENCE, "the dead-letter topic can be consumed", || {
        let consumed = stage.consume_in(0, &group, &letters, &[]);
        Ok(consumed.map_err(|error| format!("{error:#}")))
    })?;
    stage.process(0)?.wait_consumed(&group, 1, PATIENCE).map(drop)
}

fn paused(stage: &Stage<'_>) -> anyhow::Result<()> {
    let process = stage.process(0)?;
    stage.consume(&[])?;
    stage.send(Mode::Sync, 10, &[("key", "before")])?;
    stage.handled(10)?;
    process.pause_group(&stage.group, true)?;
    stage.send(Mode::Sync, 10, &[("key", "paused")])?;
    process.pause_group(&stage.group, false)?;
    stage.handled(20).map(drop)
}

fn killed(stage: &Stage<'_>) -> anyhow::Result<()> {
    let client = stage.bench.client("killed")?;
    client.consumer(
        Consume::new(&stage.group, &[&stage.topic])
            .with("begins", 1)
            .with("delay", 120_000),
    )?;
    stage.send(Mode::Sync, 10, &[])?;
    let begun = |said: &Said| (!said.handling.is_empty()).then_some(());
    client.watch(PATIENCE, "a handler begins", begun)?;
    stage.bench.departs(&client);
    client.kill()?;
    stage.consume(&[])?;
    stage.handled(10).map(drop)
}
