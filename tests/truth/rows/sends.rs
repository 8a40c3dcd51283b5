//! Every way of sending, to a push consumer.

use testbed::{
    Mode,
    client::{
        Feature::{Compress, DelayLevel, Send},
        Library,
    },
    compare::Rules,
    server::MAX_BODY,
};

use crate::{
    bench::{Flavour, PATIENCE},
    row::{
        Drive::{Own, Plain as P},
        Plain, Row, Stage,
    },
};

const RULES: Rules = Rules::usual();

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "sync sends",
        on: |_| true,
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)),
    },
    Row {
        name: "async sends",
        on: |pairing| pairing.can(Send(Mode::Async)),
        rules: RULES,
        drive: P(Plain::new(Mode::Async)),
    },
    Row {
        name: "one-way sends",
        on: |pairing| pairing.can(Send(Mode::OneWay)),
        rules: RULES,
        drive: P(Plain::new(Mode::OneWay)),
    },
    Row {
        name: "batch sends",
        on: |pairing| pairing.can(Send(Mode::Batch)) && pairing.library != Library::Cpp,
        rules: RULES,
        drive: P(Plain::new(Mode::Batch)),
    },
    Row {
        name: "ordered sends",
        on: |pairing| pairing.can(Send(Mode::Ordered)),
        rules: Rules {
            kind: "fifo",
            ..RULES
        },
        drive: P(Plain::new(Mode::Ordered).send(&[("shards", "3")])),
    },
    Row {
        name: "messages delayed by a level",
        on: |pairing| pairing.can(DelayLevel),
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync).send(&[("level", "2")])),
    },
    Row {
        name: "messages with a delivery time",
        on: |pairing| pairing.is_java() && pairing.server.starts_with('5'),
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync).send(&[("timer", "1500")])),
    },
    Row {
        name: "recalled messages",
        on: |pairing| pairing.is_5(),
        rules: Rules {
            kind: "delay",
            deferred: true,
            ..RULES
        },
        drive: P(Plain::new(Mode::Recall).send(&[("timer", "30000")]).count(5, 0)),
    },
    Row {
        name: "compressed bodies",
        on: |pairing| pairing.can(Compress),
        rules: RULES,
        drive: P(Plain::new(Mode::Sync)
            .producer(&[("compress", "1024")])
            .send(&[("size", "9000"), ("text", "1")])),
    },
    Row {
        name: "bodies of 300 KB",
        on: |_| true,
        rules: RULES,
        drive: P(Plain::new(Mode::Sync).send(&[("size", "300000")]).count(8, 8)),
    },
    Row {
        name: "empty tags and several keys' worth of properties",
        on: |pairing| pairing.is_java(),
        rules: RULES,
        drive: P(Plain::new(Mode::Sync).send(&[
            ("prop.city", "Zürich"),
            ("prop.empty-looking", " "),
            ("prop.equals", "a=b"),
        ])),
    },
    Row {
        name: "refused sends",
        // C++'s client sends again by itself and does not tell.
        on: |pairing| pairing.library != Library::Cpp && pairing.flavour != Flavour::Proxy,
        rules: RULES,
        drive: Own(refused),
    },
    Row {
        name: "requests and replies",
        on: |pairing| pairing.is_java(),
        rules: RULES,
        drive: Own(requests),
    },
    Row {
        name: "the clients' own message traces",
        on: |pairing| pairing.is_java(),
        rules: Rules {
            success: &["client_trace", "offset_commit"],
            ..RULES
        },
        drive: P(Plain::new(Mode::Sync)
            .producer(&[("trace", "1")])
            .consumer(&[("trace", "1")])),
    },
];

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
    let Library::Java(_) = stage.bench.pairing.library else {
        anyhow::bail!("only Java's client replies");
    };
    let group = format!("r-{}", stage.topic);
    let replier = stage.process(0)?;
    replier.producer(&group)?;
    stage.began(Some(0), &group);
    let consume = testbed::Consume::new(&stage.group, &[&stage.topic]).with("reply", &group);
    replier.consumer(consume)?;
    stage.began(Some(0), &stage.group);
    // The requester must be known to the broker, which passes the reply on to it.
    let requester = stage.producer(&[])?;
    stage.send_from(&requester, Mode::Sync, 1, &[("key", "first")])?;
    stage.handled(1)?;
    stage.send_from(&requester, Mode::Request, 10, &[])?;
    stage.handled(11).map(drop)
}
