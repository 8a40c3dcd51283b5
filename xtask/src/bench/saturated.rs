//! A saturated producer and consumer of Java's: with nothing, with rmqtrace, with the OpenTelemetry Java agent, and with
//! RocketMQ's own message trace, in turn. Needs root.
//!
//! The clients are `tests/testbed/java/Saturating.java`: they do nothing but send and consume. Spans go to a real collector on
//! the same machine, which counts them and keeps none; since it takes a good part of the machine, rmqtrace also runs without it.

use std::{process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use testbed::{
    Artifacts, Collector, Saturating, Server, Tracer,
    artifacts::{FASTEST_SERVER, require},
    saturating::{Role, Traced},
    totals::total,
    tracer::{Options, Transport},
};

use super::row::{Row, Target, median, thousands};
use crate::{
    build,
    setup::{self, Say},
};

/// All setups one after the other, so often.
const ROUNDS: usize = 3;
/// The virtual machines compile what is hot, which takes long on few cores.
const WARM_UP: Duration = Duration::from_secs(25);
/// How long is measured.
const WINDOW: Duration = Duration::from_secs(12);
const TOPIC: &str = "saturated";
/// Most of the throughput that may be lost, and the part of what the agent loses.
const LOSS: f64 = 0.02;
const PART_OF_AGENT: f64 = 0.2;

/// Who looks at the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Nothing,
    /// Without the collector, which takes more than rmqtrace does.
    RmqtraceAlone,
    Rmqtrace,
    Agent,
    MessageTrace,
}

impl By {
    const ALL: [By; 5] = [
        By::Nothing,
        By::RmqtraceAlone,
        By::Rmqtrace,
        By::Agent,
        By::MessageTrace,
    ];

    fn name(self) -> &'static str {
        match self {
            By::Nothing => "nothing",
            By::RmqtraceAlone => "rmqtrace-alone",
            By::Rmqtrace => "rmqtrace",
            By::Agent => "agent",
            By::MessageTrace => "msgTrace",
        }
    }
}

/// The figures of one setup: one of each round.
#[derive(Default)]
struct Figures {
    /// Messages sent and consumed a second.
    sent: Vec<f64>,
    consumed: Vec<f64>,
    /// Microseconds that one send in a hundred takes longer than.
    p99: Vec<f64>,
    /// Part of the spans that reached the collector.
    arrived: Vec<f64>,
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    setup::testbed(Say::Changes)?;
    build::build()?;
    let mut figures = By::ALL.map(|_| Figures::default());
    for round in 0..ROUNDS {
        // each round begins with another one: the first finds the machine cooler
        let mut turns: Vec<(By, &mut Figures)> = By::ALL.into_iter().zip(&mut figures).collect();
        turns.rotate_left(round);
        for (by, figures) in turns {
            run(artifacts, by, round, figures)?;
        }
    }
    let [nothing, alone, ours, agent, trace] = figures.map(Summary::of);
    let told = |name: &str, other: &Summary| {
        format!(
            "{name} {} ({:+.1} %{})",
            thousands(other.sent),
            (other.sent / nothing.sent - 1.0) * 100.0,
            if other.arrived < 0.999 {
                format!("; {:.0} % of its spans arrived", other.arrived * 100.0)
            } else {
                String::new()
            }
        )
    };
    let lost = |of: &Summary| 1.0 - of.sent / nothing.sent;
    let limit = LOSS.min(lost(&agent) * PART_OF_AGENT);
    let row = |measure: &str, ours, others, target, verdict| Row {
        measure: format!("Saturated Java producer and consumer, {measure}"),
        ours,
        others,
        target,
        verdict,
        command: "cargo xtask bench --only saturated".to_owned(),
    };
    let slower = ours.p99 - nothing.p99;
    Ok(vec![
        row(
            "messages a second",
            format!(
                "{} ({:+.1} %); with the collector {} ({:+.1} %{}), consumed {}",
                thousands(alone.sent),
                -lost(&alone) * 100.0,
                thousands(ours.sent),
                -lost(&ours) * 100.0,
                if ours.arrived < 1.0 {
                    format!("; {:.2} % of the spans arrived", ours.arrived * 100.0)
                } else {
                    "; all spans arrived".to_owned()
                },
                thousands(ours.consumed)
            ),
            format!(
                "nothing {} ± {:.1} %, consumed {}; {}; {}",
                thousands(nothing.sent),
                nothing.spread / nothing.sent * 100.0,
                thousands(nothing.consumed),
                told("agent", &agent),
                told("msgTrace", &trace)
            ),
            "≤ 2 % less, and ≤ 1/5 of what the agent takes".to_owned(),
            if limit > 0.0 {
                Target::AtMost(limit).verdict(lost(&ours))
            } else {
                "not told: the agent took nothing".to_owned()
            },
        ),
        row(
            "a send's 99th percentile",
            format!("{}; with the collector {}", millis(alone.p99), millis(ours.p99)),
            format!(
                "nothing {} ± {}, agent {}, msgTrace {}",
                millis(nothing.p99),
                millis(nothing.p99_spread),
                millis(agent.p99),
                millis(trace.p99)
            ),
            "within noise of nothing".to_owned(),
            if slower <= nothing.p99_spread {
                "met".to_owned()
            } else {
                format!("missed: {:.0} % more", slower / nothing.p99 * 100.0)
            },
        ),
    ])
}

fn millis(micros: f64) -> String {
    format!("{:.1} ms", micros / 1000.0)
}

/// Medians of the rounds, and how far apart the rounds are.
struct Summary {
    sent: f64,
    spread: f64,
    consumed: f64,
    p99: f64,
    p99_spread: f64,
    arrived: f64,
}

impl Summary {
    fn of(mut figures: Figures) -> Summary {
        Summary {
            spread: spread(&figures.sent),
            sent: median(&mut figures.sent),
            consumed: median(&mut figures.consumed),
            p99_spread: spread(&figures.p99),
            p99: median(&mut figures.p99),
            arrived: figures.arrived.iter().fold(1.0, |least, part| part.min(least)),
        }
    }
}

/// Half the distance of the least from the most.
fn spread(values: &[f64]) -> f64 {
    let most = values.iter().fold(f64::MIN, |most, value| value.max(most));
    let least = values.iter().fold(f64::MAX, |least, value| value.min(least));
    (most - least).max(0.0) / 2.0
}

/// One setup, with a broker of its own.
fn run(artifacts: &Artifacts, by: By, round: usize, figures: &mut Figures) -> Result<()> {
    let dir = artifacts.run_directory(&format!("bench-saturated-{}-{round}", by.name()))?;
    let server = Server::start(artifacts, FASTEST_SERVER, &dir)?;
    server.create_topics(&[TOPIC], 8)?;
    let collector = Collector::counting(artifacts, &dir, "collector")?;
    let tracer = match by {
        By::Rmqtrace => {
            let options = Options {
                transport: Transport::Http,
                ..Options::default()
            };
            Some(Tracer::start(artifacts, &dir, "rmqtrace", &collector, options)?)
        }
        By::RmqtraceAlone => {
            let mut command = Command::new(require(artifacts.rmqtrace(), "the rmqtrace binary")?);
            command.args(["run", "--print", "none"]);
            Some(Tracer::launch(command, &dir.join("log"))?)
        }
        By::Nothing | By::Agent | By::MessageTrace => None,
    };
    let traced = match by {
        By::Nothing | By::RmqtraceAlone | By::Rmqtrace => Traced::No,
        By::Agent => Traced::Agent(collector.http),
        By::MessageTrace => Traced::MessageTrace,
    };
    let start = |name, role| Saturating::start(artifacts, &server, &dir, name, (role, traced), TOPIC);
    let mut consumer = start("consumer", Role::Consume)?;
    let mut producer = start("producer", Role::Produce { rate: None })?;
    thread::sleep(WARM_UP);
    producer.mark()?;
    consumer.mark()?;
    thread::sleep(WINDOW);
    let (sent, consumed) = (producer.tell()?, consumer.tell()?);
    let (all, _) = producer.finish_with(consumer, Duration::from_secs(120))?;
    figures.sent.push(sent.rate());
    figures.consumed.push(consumed.rate());
    figures.p99.push(sent.p99 as f64);
    if let Some(tracer) = tracer {
        let (status, log) = tracer.stop()?;
        ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
        ensure!(total(&log, "messages_delivered")? == all.all, "{log}");
    }
    if matches!(by, By::Rmqtrace | By::Agent) {
        // one of the send, one of the delivery
        figures
            .arrived
            .push(collector.counted()? as f64 / (2 * all.all) as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_half_of_what_the_rounds_differ_by() {
        assert_eq!(spread(&[5.0, 1.0, 2.0]), 2.0);
        assert_eq!(spread(&[]), 0.0);
    }
}
