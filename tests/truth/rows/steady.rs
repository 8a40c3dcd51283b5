//! The main scenario: a steady rate for minutes, half of it to a consumer whose client traces its own calls.

use std::{env, thread, time::Duration};

use anyhow::{Context, Result};
use testbed::{Mode, Send, compare::Rules};

use crate::{
    bench::PRODUCER,
    row::{Drive::Own, Row, Stage},
};

/// Messages a second, both topics together.
const RATE: usize = 2000;

/// The main scenario. It has its bench for itself.
pub(crate) static STEADY: Row = Row {
    name: "2,000 messages a second",
    needs: &[],
    rules: Rules {
        success: &["offset_commit", "client_trace"],
        ..Rules::usual()
    },
    drive: Own(steady),
};

/// How long it lasts: `TRUTH_SECONDS`, or half a minute.
pub(crate) fn duration() -> Duration {
    let seconds = env::var("TRUTH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

fn steady(stage: &Stage<'_>) -> Result<()> {
    let (traced, group) = (
        format!("{}-traced", stage.topic),
        format!("{}-traced", stage.group),
    );
    stage.owns(&traced);
    stage.create_topics(&[&traced])?;
    stage.consume(&[("threads", "8")])?;
    stage.consume_in(1, &group, &traced, &[("threads", "8"), ("trace", "1")])?;
    let producer = &stage.bench.producer;
    // What a virtual machine does the first time takes long: a second of warming up is not measured.
    // Keys name messages, so the topics' are apart.
    let topics = [("plain", &stage.topic), ("traced", &traced)];
    let mut sent = Vec::new();
    for (key, topic) in topics {
        let send = Send::new(PRODUCER, topic, Mode::Sync, 2000).threads(4);
        sent.push(producer.send(send.key(&format!("warm-{key}")))?.len());
    }
    let count = RATE / 2 * usize::try_from(duration().as_secs())?;
    let mut tickets = Vec::new();
    for (key, topic) in topics {
        let send = Send::new(PRODUCER, topic, Mode::Sync, count).key(key);
        tickets.push(producer.start_sending(send.rate(RATE / 2).threads(4).size(1024))?);
    }
    let limit = duration() * 2 + Duration::from_secs(60);
    for (ticket, sent) in tickets.into_iter().zip(&mut sent) {
        producer.wait(ticket, limit)?;
        *sent += producer.sent(ticket).len();
    }
    // a busy broker refuses a message now and then, which is a failed send and no delivery
    let consumers = [(0, &stage.group), (1, &group)];
    for ((process, group), sent) in consumers.into_iter().zip(sent) {
        let process = stage.process(process)?;
        testbed::wait::until(limit, "all is handled", || {
            let handled = process.count_consumed(group);
            thread::sleep(Duration::from_millis(200));
            Ok(if handled >= sent {
                Ok(())
            } else {
                Err(format!("{handled} of {sent}"))
            })
        })
        .context("steady load")?;
    }
    Ok(())
}
