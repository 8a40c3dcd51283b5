//! Every way of sending, to a push consumer.

use testbed::{
    Mode,
    client::Feature::{Batch, Compress, DelayLevel, DeliveryTime, LumpedBatch, MessageTrace, Send},
    compare::Rules,
    server::MAX_BODY,
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
        name: "sync sends",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)),
    },
    Row {
        name: "async sends",
        needs: &[Send(Mode::Async)],
        rules: RULES,
        drive: P(Plain::new(Mode::Async)),
    },
    Row {
        name: "one-way sends",
        needs: &[Send(Mode::OneWay)],
        rules: RULES,
        drive: Own(one_way),
    },
    Row {
        name: "batch sends",
        needs: &[Batch],
        rules: RULES,
        drive: P(Plain::new(Mode::Batch)),
    },
    Row {
        name: "batches that the broker takes for one message",
        needs: &[LumpedBatch],
        rules: RULES,
        drive: P(Plain::new(Mode::Batch).count(20, 5)),
    },
    Row {
        name: "ordered sends",
        needs: &[Send(Mode::Ordered)],
        rules: Rules {
            kind: "fifo",
            ..RULES
        },
        drive: P(Plain::new(Mode::Ordered).send(&[("shards", "3")])),
    },
    Row {
        name: "messages delayed by a level",
        needs: &[DelayLevel],
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync).send(&[("level", "2")])),
    },
    Row {
        name: "messages with a delivery time",
        needs: &[DeliveryTime],
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync).send(&[("timer", "1500")])),
    },
    Row {
        name: "recalled messages",
        needs: &[Send(Mode::Recall)],
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Recall).send(&[("timer", "30000")]).count(5, 0)),
    },
    Row {
        name: "compressed bodies",
        needs: &[Compress],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .producer(&[("compress", "1024")])
            .send(&[("size", "9000"), ("text", "1")])),
    },
    Row {
        name: "bodies of 300 KB",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync).send(&[("size", "300000")]).count(8, 8)),
    },
    Row {
        name: "empty tags and several keys' worth of properties",
        needs: &[],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync).send(&[
            ("prop.city", "Zürich"),
            ("prop.empty-looking", " "),
            ("prop.equals", "a=b"),
        ])),
    },
    Row {
        name: "refused sends",
        needs: &[],
        rules: RULES,
        drive: Own(refused),
    },
    Row {
        name: "requests and replies",
        needs: &[Send(Mode::Request)],
        rules: RULES,
        drive: Own(requests),
    },
    Row {
        name: "the clients' own message traces",
        needs: &[MessageTrace],
        rules: Rules {
            success: &["client_trace", "offset_commit"],
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync)
            .producer(&[("trace", "1")])
            .consumer(&[("trace", "1")])),
    },
];

/// A busy broker drops a one-way message now and then, and nobody is told: others take its place.
fn one_way(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.consume(&[])?;
    stage.send(Mode::OneWay, 20, &[])?;
    let producer = stage.shared_producer()?;
    let mut further = (0..4)
        .map(|n| testbed::Send::new(&producer, &stage.topic, Mode::OneWay, 20).key(&format!("further-{n}")));
    loop {
        let handled = stage.process(0)?.wait_consumed(&stage.group, 20, PATIENCE / 5);
        match (handled, further.next()) {
            (Ok(_), _) => return Ok(()),
            (Err(_), Some(send)) => stage.bench.producer.send(send).map(drop)?,
            (Err(error), None) => return Err(error),
        }
    }
}

fn refused(stage: &Stage<'_>) -> anyhow::Result<()> {
    let size = (MAX_BODY + 50_000).to_string();
    let send = testbed::Send::new(&stage.shared_producer()?, &stage.topic, Mode::Sync, 3).with("size", size);
    let done = stage.bench.producer.start_sending(send)?;
    let done = stage.bench.producer.wait(done, PATIENCE)?;
    anyhow::ensure!(done.failed == 3, "{} of 3 sends failed", done.failed);
    Ok(())
}

/// A requester in the producer's process, a replier in the consumer's.
fn requests(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.owns("TestCluster_REPLY_TOPIC");
    let group = format!("r-{}", stage.topic);
    let replier = stage.process(0)?;
    replier.producer(&group)?;
    stage.began(Some(0), &group);
    let consume = testbed::Consume::new(&stage.group, &[&stage.topic]).with("reply", &group);
    replier.consumer(consume)?;
    stage.began(Some(0), &stage.group);
    // The broker passes the reply on to a requester that it knows: a client makes itself known before its first request.
    let requester = stage.producer(&[])?;
    stage.send_from(&requester, Mode::Request, 1, &[("key", "first")])?;
    stage.handled(1)?;
    stage.send_from(&requester, Mode::Request, 10, &[])?;
    stage.handled(11).map(drop)
}
