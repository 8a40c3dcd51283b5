//! Half messages and what becomes of them.

use testbed::{Mode, client::Feature::Send, compare::Rules};

use crate::{
    bench::PATIENCE,
    row::{Arguments, Drive::Own, Row, Stage},
};

const RULES: Rules = Rules {
    kind: "transaction",
    deferred: true,
    ..Rules::usual()
};

const COUNT: usize = 8;

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "transactions that are committed",
        on: |pairing| pairing.can(Send(Mode::Transaction)),
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.local", "commit")], 0, COUNT)),
    },
    Row {
        name: "transactions that are rolled back",
        on: |pairing| pairing.can(Send(Mode::Transaction)),
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.local", "rollback")], 0, 0)),
    },
    Row {
        name: "transactions that a check commits",
        on: |pairing| pairing.can(Send(Mode::Transaction)),
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.check", "commit")], COUNT, COUNT)),
    },
    Row {
        name: "transactions that a check rolls back",
        on: |pairing| pairing.can(Send(Mode::Transaction)),
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.check", "rollback")], COUNT, 0)),
    },
];

fn transactions(stage: &Stage<'_>, send: Arguments, checks: usize, handled: usize) -> anyhow::Result<()> {
    stage.consume(&[])?;
    let producer = stage.producer(&[("transactions", "1")])?;
    stage.send_from(&producer, Mode::Transaction, COUNT, send)?;
    let checked = |said: &testbed::client::Said| {
        let checked = said
            .decided
            .iter()
            .filter(|decided| decided.when == "check" && decided.topic == stage.topic);
        (checked.count() >= checks).then_some(())
    };
    stage
        .bench
        .producer
        .watch(PATIENCE, "the broker checks", checked)?;
    stage.handled(handled).map(drop)
}
