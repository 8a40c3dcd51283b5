//! A saturated producer and consumer of Java's: with nothing, with rmqtrace, with the OpenTelemetry Java agent, and with
//! RocketMQ's own message trace. Needs root.
//!
//! The clients are `tests/testbed/java/Saturating.java`: they do nothing but send and consume. Spans go to a real collector on
//! the same machine, which counts them and keeps none; since it takes a good part of the machine, rmqtrace also runs without it.
//!
//! rmqtrace comes and goes while the same clients run, so that each window with it has two without it beside it. The agent and
//! the message trace are in the client from its start: they have clients of their own, in turn with the others.

use std::{process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use testbed::{
    Artifacts, Collector, Saturating, Server, Tracer,
    artifacts::{FASTEST_SERVER, require},
    saturating::{Account, Role, Traced},
    totals::total,
    tracer::{Options, Transport},
};

use super::{
    paired::{AGREEMENT, Estimate},
    row::{Row, median, thousands},
};
use crate::{
    build,
    setup::{self, Say},
};

/// All kinds of clients one after the other, so often.
const ROUNDS: usize = 2;
/// Windows with each kind of tracer, while the same clients run.
const WINDOWS: usize = 3;
/// The virtual machines compile what is hot, which takes long on few cores.
const WARM_UP: Duration = Duration::from_secs(25);
/// How long is measured at a time.
const WINDOW: Duration = Duration::from_secs(6);
const TOPIC: &str = "saturated";
/// Most of the throughput that may be lost, and the part of what the agent loses.
const LOSS: f64 = 0.02;
const PART_OF_AGENT: f64 = 0.2;

/// The figures of some windows.
#[derive(Default)]
struct Figures {
    /// Messages sent a second.
    sent: Vec<f64>,
    /// Messages consumed a second.
    consumed: Vec<f64>,
    /// Milliseconds that one send in a hundred takes longer than.
    p99: Vec<f64>,
}

/// Windows with a tracer, beside those around them.
#[derive(Default)]
struct Compared {
    figures: Figures,
    /// What it changes: parts of the throughput, milliseconds of the percentile.
    sent: Vec<f64>,
    p99: Vec<f64>,
}

#[derive(Default)]
struct Found {
    nothing: Figures,
    alone: Compared,
    collector: Compared,
    agent: Figures,
    trace: Figures,
    /// Spans that the agent made, and those of them that arrived.
    agents_spans: [u64; 2],
    /// Sends that failed with the agent: the machine is so busy that an answer takes more than three seconds.
    agents_failed: u64,
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    setup::testbed(Say::Changes)?;
    build::build()?;
    let mut found = Found::default();
    for round in 0..ROUNDS {
        beside(artifacts, round, &mut found)?;
        inside(artifacts, Inside::Agent, round, &mut found)?;
        inside(artifacts, Inside::MessageTrace, round, &mut found)?;
    }
    let nothing = Estimate::median(found.nothing.sent.iter().copied());
    // those inside the client are compared with the median of all windows without anything
    let beside_nothing = |figures: &Figures| {
        let changes = figures.sent.iter().map(|sent| sent / nothing.value - 1.0);
        format!(
            "{} ({})",
            thousands(median(&figures.sent)),
            per_cent(Estimate::median(changes))
        )
    };
    let agent = Estimate::median(found.agent.sent.iter().map(|sent| 1.0 - sent / nothing.value));
    let [made, arrived] = found.agents_spans;
    // the agent's loss is known the less well, so what it surely loses counts
    let limit = LOSS.min((agent.value - AGREEMENT * agent.error) * PART_OF_AGENT);
    let (alone, ours) = (found.alone.sent(), found.collector.sent());
    // what windows without anything differ by: most of them by less than twice that
    let noise = Estimate::median(found.nothing.p99.iter().copied()).deviation(found.nothing.p99.len());
    let (alone_p99, ours_p99) = (found.alone.p99(), found.collector.p99());
    let row = |measure: &str, ours, others, target, verdict| Row {
        measure: format!("Saturated Java producer and consumer, {measure}"),
        ours,
        others,
        target,
        verdict,
        command: "cargo xtask bench --only saturated".to_owned(),
    };
    Ok(vec![
        row(
            "messages a second",
            format!(
                "{} ({}); with the collector {} ({}; all spans arrived)",
                thousands(median(&found.alone.figures.sent)),
                per_cent(alone),
                thousands(median(&found.collector.figures.sent)),
                per_cent(ours),
            ),
            format!(
                "nothing {} ± {}, consumed {}; agent {}, {:.0} % of its spans arrived, {} sends failed; msgTrace {}",
                thousands(nothing.value),
                thousands(nothing.error),
                thousands(median(&found.nothing.consumed)),
                beside_nothing(&found.agent),
                100.0 * arrived as f64 / made as f64,
                found.agents_failed,
                beside_nothing(&found.trace),
            ),
            "≤ 2 % less, and ≤ 1/5 of what the agent takes".to_owned(),
            if limit > 0.0 {
                let lost = Estimate {
                    value: -ours.value,
                    ..ours
                };
                lost.at_most(limit)
            } else {
                "not told: the agent's loss is within noise".to_owned()
            },
        ),
        row(
            "a send's 99th percentile",
            format!(
                "{:+.1} ms ± {:.1}; with the collector {:+.1} ms ± {:.1}",
                alone_p99.value, alone_p99.error, ours_p99.value, ours_p99.error
            ),
            format!(
                "nothing {:.1} ms, agent {:.1} ms, msgTrace {:.1} ms",
                median(&found.nothing.p99),
                median(&found.agent.p99),
                median(&found.trace.p99)
            ),
            format!("within noise of nothing ({noise:.1} ms)"),
            ours_p99.at_most(noise),
        ),
    ])
}

fn per_cent(part: Estimate) -> String {
    format!("{:+.1} % ± {:.1}", part.value * 100.0, part.error * 100.0)
}

impl Figures {
    fn push(&mut self, window: &Window) {
        self.sent.push(window.sent.rate());
        self.consumed.push(window.consumed.rate());
        self.p99.push(window.p99());
    }
}

impl Compared {
    fn push(&mut self, window: &Window, around: [&Window; 2]) {
        self.figures.push(window);
        let mean = |of: fn(&Window) -> f64| around.map(of).iter().sum::<f64>() / 2.0;
        self.sent
            .push(window.sent.rate() / mean(|window| window.sent.rate()) - 1.0);
        self.p99.push(window.p99() - mean(Window::p99));
    }

    fn sent(&self) -> Estimate {
        Estimate::median(self.sent.iter().copied())
    }

    fn p99(&self) -> Estimate {
        Estimate::median(self.p99.iter().copied())
    }
}

/// What both clients did for a while.
struct Window {
    sent: Account,
    consumed: Account,
}

impl Window {
    fn p99(&self) -> f64 {
        self.sent.p99 as f64 / 1000.0
    }
}

/// Both clients, a broker of their own, and a collector.
struct Scene {
    producer: Saturating,
    consumer: Saturating,
    collector: Collector,
    _server: Server,
}

impl Scene {
    /// Starts everything and lets it run for a while.
    fn start(artifacts: &Artifacts, name: &str, traced: impl Fn(&Collector) -> Traced) -> Result<Scene> {
        let dir = artifacts.run_directory(&format!("bench-saturated-{name}"))?;
        let server = Server::start(artifacts, FASTEST_SERVER, &dir)?;
        server.create_topics(&[TOPIC], 8)?;
        let collector = Collector::counting(artifacts, &dir, "collector")?;
        let traced = traced(&collector);
        let start = |name, role| Saturating::start(artifacts, &server, &dir, name, (role, traced), TOPIC);
        let scene = Scene {
            consumer: start("consumer", Role::Consume)?,
            producer: start("producer", Role::Produce { rate: None })?,
            collector,
            _server: server,
        };
        thread::sleep(WARM_UP);
        Ok(scene)
    }

    fn window(&mut self) -> Result<Window> {
        self.producer.mark()?;
        self.consumer.mark()?;
        thread::sleep(WINDOW);
        Ok(Window {
            sent: self.producer.tell()?,
            consumed: self.consumer.tell()?,
        })
    }

    /// Ends both clients, and gives what was sent in all.
    fn finish(self) -> Result<(Account, Collector)> {
        let (sent, _) = self
            .producer
            .finish_with(self.consumer, Duration::from_secs(120))?;
        Ok((sent, self.collector))
    }
}

/// Clients without anything in them, and rmqtrace that comes and goes.
fn beside(artifacts: &Artifacts, round: usize, found: &mut Found) -> Result<()> {
    let name = format!("nothing-{round}");
    let dir = artifacts.run_directory(&format!("bench-saturated-rmqtrace-{round}"))?;
    let mut scene = Scene::start(artifacts, &name, |_| Traced::No)?;
    let mut spans = 0;
    let mut before = scene.window()?;
    found.nothing.push(&before);
    for turn in 0..2 * WINDOWS {
        // which of the two comes first changes with the round
        let exports = (turn + round) % 2 == 1;
        let tracer = if exports {
            let options = Options {
                transport: Transport::Http,
                ..Options::default()
            };
            let name = format!("rmqtrace-{turn}");
            Tracer::start(artifacts, &dir, &name, &scene.collector, options)?
        } else {
            let mut command = Command::new(require(artifacts.rmqtrace(), "the rmqtrace binary")?);
            command.args(["run", "--print", "none"]);
            Tracer::launch(command, &dir.join(format!("alone-{turn}.log")))?
        };
        let window = scene.window()?;
        let (status, log) = tracer.stop()?;
        ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
        ensure!(
            total(&log, "messages_delivered")? >= window.consumed.messages,
            "{} messages were consumed:\n{log}",
            window.consumed.messages
        );
        if exports {
            spans += total(&log, "spans")?;
        }
        let after = scene.window()?;
        found.nothing.push(&after);
        let compared = if exports {
            &mut found.collector
        } else {
            &mut found.alone
        };
        compared.push(&window, [&before, &after]);
        before = after;
    }
    let (sent, collector) = scene.finish()?;
    sent.none_failed()?;
    let arrived = collector.counted()?;
    ensure!(arrived == spans, "{spans} spans were made, {arrived} arrived");
    Ok(())
}

/// What is in the clients from their start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Agent,
    MessageTrace,
}

fn inside(artifacts: &Artifacts, what: Inside, round: usize, found: &mut Found) -> Result<()> {
    let name = match what {
        Inside::Agent => "agent",
        Inside::MessageTrace => "msgTrace",
    };
    let mut scene = Scene::start(artifacts, &format!("{name}-{round}"), |collector| match what {
        Inside::Agent => Traced::Agent(collector.http),
        Inside::MessageTrace => Traced::MessageTrace,
    })?;
    let figures = match what {
        Inside::Agent => &mut found.agent,
        Inside::MessageTrace => &mut found.trace,
    };
    for _ in 0..2 {
        figures.push(&scene.window()?);
    }
    let (sent, collector) = scene.finish()?;
    if what == Inside::Agent {
        found.agents_failed += sent.failed;
        let [made, arrived] = &mut found.agents_spans;
        // one of the send, one of the delivery
        *made += 2 * sent.all + sent.failed;
        *arrived += collector.counted()?;
    }
    Ok(())
}
