//! Every way of consuming.

use testbed::{
    Mode,
    client::Feature::{
        self, Broadcast, BrokerAssignment, LitePull, LitePullByHand, Pop, Pull, PushOrderly, PushSeveral,
        SchedulePull, SqlFilter,
    },
    compare::Rules,
};

use crate::{
    bench::PATIENCE,
    row::{
        Arguments,
        Drive::{Own, Plain as P},
        Plain, Row, Stage,
    },
};

const RULES: Rules = Rules::usual();
const PULLED: Rules = Rules {
    unannounced: true,
    ..RULES
};
const POPPED: Rules = Rules {
    success: &["ack"],
    failure: &["nack"],
    ..RULES
};

const fn pulled(name: &'static str, needs: &'static [Feature], consumer: Arguments) -> Row {
    Row {
        name,
        needs,
        rules: PULLED,
        drive: P(Plain::new(Mode::Sync).consumer(consumer)),
    }
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "push, orderly",
        needs: &[PushOrderly],
        rules: Rules {
            orderly: true,
            kind: "fifo",
            ..RULES
        },
        drive: P(Plain::new(Mode::Ordered)
            .send(&[("shards", "3")])
            .consumer(&[("orderly", "1")])),
    },
    Row {
        name: "push, orderly, with a suspended queue",
        needs: &[PushOrderly],
        rules: Rules {
            orderly: true,
            kind: "fifo",
            ..RULES
        },
        drive: P(Plain::new(Mode::Ordered)
            .send(&[("shards", "2")])
            .consumer(&[("orderly", "1"), ("fail", "2"), ("failKey", "k-3")])
            .count(20, 22)),
    },
    Row {
        name: "push, a handler for several messages at once",
        needs: &[PushSeveral],
        rules: RULES,
        drive: P(Plain::new(Mode::Async).consumer(&[("batch", "8")]).count(60, 60)),
    },
    pulled(
        "lite pull, subscribed, automatic commits",
        &[LitePull],
        &[("kind", "lite")],
    ),
    pulled(
        "lite pull, subscribed, commits by hand",
        &[LitePull, LitePullByHand],
        &[("kind", "lite"), ("manual", "1")],
    ),
    pulled(
        "lite pull, assigned, automatic commits",
        &[LitePull, LitePullByHand],
        &[("kind", "lite"), ("assign", "1")],
    ),
    pulled(
        "lite pull, assigned, commits by hand",
        &[LitePull, LitePullByHand],
        &[("kind", "lite"), ("assign", "1"), ("manual", "1")],
    ),
    pulled("assigned pull", &[Pull], &[("kind", "pull")]),
    pulled("scheduled pull", &[SchedulePull], &[("kind", "schedule")]),
    Row {
        name: "pop",
        needs: &[Pop],
        rules: POPPED,
        drive: Own(|stage| {
            by_broker(
                stage,
                "POP",
                &[("serverRebalance", "1"), ("invisible", "60000")],
                20,
            )
        }),
    },
    Row {
        name: "pop, with failures",
        needs: &[Pop],
        rules: POPPED,
        drive: Own(|stage| {
            let consumer: Arguments = &[
                ("serverRebalance", "1"),
                ("invisible", "10000"),
                ("fail", "1"),
                ("failKey", "k-3"),
            ];
            by_broker(stage, "POP", consumer, 21)
        }),
    },
    Row {
        name: "push by pull, queues assigned by the broker",
        needs: &[BrokerAssignment],
        rules: RULES,
        drive: Own(|stage| by_broker(stage, "PULL", &[("serverRebalance", "1")], 20)),
    },
    Row {
        name: "broadcasting to two processes",
        needs: &[Broadcast],
        rules: Rules {
            success: &["none"],
            failure: &["none"],
            model: "broadcasting",
            ..RULES
        },
        drive: Own(broadcasting),
    },
    Row {
        name: "two groups on one topic",
        needs: &[],
        rules: RULES,
        drive: Own(two_groups),
    },
    Row {
        name: "two topics in one group",
        needs: &[],
        rules: RULES,
        drive: Own(two_topics),
    },
    Row {
        name: "a tag filter",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .send(&[("tag", "TagA,TagB")])
            .consumer(&[("tag", "TagB")])
            .count(20, 10)),
    },
    Row {
        name: "an SQL filter",
        needs: &[SqlFilter],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .consumer(&[("sql", "number >= 15 AND TAGS = 'TagA'")])
            .count(20, 5)),
    },
];

/// The broker says how a topic is consumed.
fn by_broker(stage: &Stage<'_>, mode: &str, consumer: Arguments, handled: usize) -> anyhow::Result<()> {
    stage
        .bench
        .server
        .set_request_mode(&stage.topic, &stage.group, mode)?;
    stage.consume(consumer)?;
    stage.send(Mode::Sync, 20, &[])?;
    stage.handled(handled).map(drop)
}

fn broadcasting(stage: &Stage<'_>) -> anyhow::Result<()> {
    for process in 0..2 {
        stage.consume_in(process, &stage.group, &stage.topic, &[("broadcast", "1")])?;
    }
    stage.send(Mode::Sync, 20, &[])?;
    for process in 0..2 {
        stage
            .process(process)?
            .wait_consumed(&stage.group, 20, PATIENCE)?;
    }
    Ok(())
}

fn two_groups(stage: &Stage<'_>) -> anyhow::Result<()> {
    let other = format!("{}-other", stage.group);
    stage.consume(&[])?;
    stage.consume_in(0, &other, &stage.topic, &[])?;
    stage.send(Mode::Sync, 20, &[])?;
    stage.handled(20)?;
    stage.process(0)?.wait_consumed(&other, 20, PATIENCE).map(drop)
}

fn two_topics(stage: &Stage<'_>) -> anyhow::Result<()> {
    let other = format!("{}-other", stage.topic);
    stage.owns(&other);
    stage.create_topics(&[&other])?;
    stage.consume_in(0, &stage.group, &format!("{},{other}", stage.topic), &[])?;
    stage.send(Mode::Sync, 20, &[])?;
    let send = testbed::Send::new(&stage.shared_producer()?, &other, Mode::Sync, 20).key("other");
    stage.bench.producer.send(send)?;
    stage.handled(40).map(drop)
}
