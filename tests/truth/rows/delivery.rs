//! Where a consumer starts, and what sets it somewhere else: offsets, resets, assignments, administrators.

use testbed::{
    Mode,
    client::{
        Feature::{DirectConsumption, Rebalance, ResetOffset, Send, StartingPoint},
        Said,
    },
    compare::Rules,
};

use crate::{
    bench::PATIENCE,
    row::{Arguments, Drive::Own, Row, Stage},
};

const RULES: Rules = Rules::usual();
/// A client drops what it has when a queue goes or its offset is set: nothing tells of what it had.
const INTERRUPTED: Rules = Rules {
    success: &["offset_commit", "none"],
    unhandled: true,
    ..RULES
};

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "consuming from the last message",
        needs: &[StartingPoint],
        rules: RULES,
        drive: Own(|stage| late(stage, &[("from", "last")])),
    },
    Row {
        name: "consuming from a point in time",
        needs: &[StartingPoint],
        rules: RULES,
        drive: Own(|stage| late(stage, &[("from", "ago:1000")])),
    },
    Row {
        name: "offsets set back while consuming",
        needs: &[ResetOffset],
        rules: INTERRUPTED,
        drive: Own(reset),
    },
    Row {
        name: "direct consumption",
        needs: &[DirectConsumption],
        rules: Rules {
            success: &["offset_commit", "direct"],
            ..RULES
        },
        drive: Own(direct),
    },
    Row {
        name: "a queue that goes to another process",
        needs: &[Rebalance],
        rules: INTERRUPTED,
        drive: Own(rebalance),
    },
];

/// Messages from before the consumer and after.
fn late(stage: &Stage<'_>, consumer: Arguments) -> anyhow::Result<()> {
    stage.send(Mode::Sync, 10, &[("key", "early")])?;
    stage.consume(consumer)?;
    stage.send(Mode::Sync, 10, &[("key", "late")])?;
    let late = |said: &Said| {
        let late = said
            .consumed
            .iter()
            .filter(|c| c.group == stage.group && c.key.starts_with("late"));
        (late.count() >= 10).then_some(())
    };
    stage.process(0)?.watch(PATIENCE, "the late messages", late)
}

fn reset(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.consume(&[("delay", "20")])?;
    stage.send(Mode::Sync, 20, &[])?;
    stage.handled(20)?;
    let (server, library) = (&stage.bench.server, stage.bench.pairing.library);
    server.reset_offset(&stage.topic, &stage.group, library)?;
    stage.handled(40).map(drop)
}

fn direct(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.consume(&[("delay", "5")])?;
    stage.send(Mode::Sync, 5, &[])?;
    stage.handled(5)?;
    let sent = stage.bench.producer.said().sent;
    for sent in sent.iter().filter(|sent| sent.topic == stage.topic) {
        let id = sent.offset_msg_id.as_deref().unwrap_or_default();
        stage
            .bench
            .server
            .consume_directly(&stage.topic, &stage.group, id)?;
    }
    stage.handled(10).map(drop)
}

/// A second process joins while the first has much to do.
fn rebalance(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.consume(&[("delay", "100"), ("threads", "2")])?;
    let asynchronous = stage.bench.pairing.lacks(Send(Mode::Async)).is_none();
    let mode = if asynchronous { Mode::Async } else { Mode::Sync };
    let send = testbed::Send::new(&stage.shared_producer()?, &stage.topic, mode, 120);
    stage.bench.producer.send(send)?;
    stage.handled(20)?;
    stage.consume_in(1, &stage.group, &stage.topic, &[("delay", "20")])?;
    // By now the first process may be done.
    stage.send(Mode::Sync, 60, &[("key", "more"), ("rate", "20")])?;
    let all = |said: &Said, other: &Said| {
        let mut keys: Vec<&str> = [said, other]
            .into_iter()
            .flat_map(|said| &said.consumed)
            .filter(|c| c.group == stage.group)
            .map(|c| c.key.as_str())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len() >= 180
    };
    testbed::wait::until(PATIENCE, "both processes together handle all", || {
        let (first, second) = (stage.process(0)?.said(), stage.process(1)?.said());
        let joined = second.consumed.iter().any(|c| c.group == stage.group);
        Ok(if joined && all(&first, &second) {
            Ok(())
        } else {
            Err(format!("the second process joined: {joined}"))
        })
    })
}
