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

// A decision may get lost: then the broker asks (a proxy loses those of remoting clients, it knows none but its own).
const COMMITTED: Arguments = &[("prop.local", "commit"), ("prop.check", "commit")];
const ROLLED_BACK: Arguments = &[("prop.local", "rollback"), ("prop.check", "rollback")];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "transactions that are committed",
        needs: &[Send(Mode::Transaction)],
        rules: RULES,
        drive: Own(|stage| transactions(stage, COMMITTED, 0, COUNT)),
    },
    Row {
        name: "transactions that are rolled back",
        needs: &[Send(Mode::Transaction)],
        rules: RULES,
        drive: Own(|stage| transactions(stage, ROLLED_BACK, 0, 0)),
    },
    Row {
        name: "transactions that a check commits",
        needs: &[Send(Mode::Transaction)],
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.check", "commit")], COUNT, COUNT)),
    },
    Row {
        name: "transactions that a check rolls back",
        needs: &[Send(Mode::Transaction)],
        rules: RULES,
        drive: Own(|stage| transactions(stage, &[("prop.check", "rollback")], COUNT, 0)),
    },
];

fn transactions(stage: &Stage<'_>, send: Arguments, checks: usize, handled: usize) -> anyhow::Result<()> {
    stage.consume(&[])?;
    let producer = stage.producer(&[("transactions", "1")])?;
    // A proxy tells the broker of a producer's group when it passes on a half message, and forgets the group if it has not
    // heard from the client by then: its first heartbeat comes a second after its first message.
    let paced: Vec<_> = send.iter().copied().chain([("rate", "2")]).collect();
    stage.send_from(&producer, Mode::Transaction, COUNT, &paced)?;
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
