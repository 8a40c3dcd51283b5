//! The page that the task writes: every scenario with its counts and figures.

use std::{collections::BTreeMap, env, fmt};

use testbed::compare::{Figures, Quantiles};

/// One scenario of one pairing.
pub(crate) struct Line {
    pub(crate) pairing: String,
    pub(crate) scenario: &'static str,
    pub(crate) figures: Figures,
    pub(crate) problems: usize,
}

/// All of them, in the order of the run.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    /// What pairings cannot do: the scenarios, by pairing and reason.
    lacks: BTreeMap<(String, &'static str), Vec<&'static str>>,
}

impl Report {
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// A scenario that a pairing cannot have, and why.
    pub(crate) fn lacks(&mut self, pairing: String, scenario: &'static str, why: &'static str) {
        self.lacks.entry((pairing, why)).or_default().push(scenario);
    }

    fn sum(&self, count: impl Fn(&Figures) -> usize) -> usize {
        self.lines.iter().map(|line| count(&line.figures)).sum()
    }
}

/// Milliseconds of nanoseconds: median / 99th percentile / maximum.
fn milliseconds(values: &[u64]) -> String {
    let Some(Quantiles { p50, p99, max }) = Quantiles::of(values) else {
        return "–".to_owned();
    };
    let ms = |nanoseconds: u64| {
        let (whole, rest) = (nanoseconds / 1_000_000, nanoseconds / 1000 % 1000);
        match whole {
            0 => format!("0.{rest:03}"),
            1..100 => format!("{whole}.{:02}", rest / 10),
            _ => whole.to_string(),
        }
    };
    format!("{} / {} / {}", ms(p50), ms(p99), ms(max))
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let evidence: Vec<String> = figures
            .evidence
            .iter()
            .map(|(name, count)| format!("`{name}` {count}"))
            .collect();
        let counts = [
            figures.sent + figures.failed,
            figures.send_spans + figures.failed_spans,
            figures.handled,
            figures.process_spans,
            figures.other_spans,
            figures.unhandled,
            figures.false_spans,
        ];
        write!(f, "| {} |", self.scenario)?;
        for count in counts {
            write!(f, " {count} |")?;
        }
        write!(f, " {} |", evidence.join(", "))?;
        for times in [
            &figures.send_begin,
            &figures.send_end,
            &figures.exact_end,
            &figures.width,
        ] {
            write!(f, " {} |", milliseconds(times))?;
        }
        match self.problems {
            0 => write!(f, " right |"),
            problems => write!(f, " **{problems} wrong** |"),
        }
    }
}

const HEAD: &str = "| Scenario | sent | send spans | handled | process spans | others | unhandled | false | evidence | before the span | after the span | exact end | interval | |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = env::var("TRUTH_COMMAND").unwrap_or_else(|_| "cargo xtask truth".to_owned());
        writeln!(
            f,
            "# Accuracy

Written by `{command}`; do not edit.

Real clients and brokers ran every scenario below while rmqtrace {} watched. Each span was compared with what the client
programs themselves logged about the message: ids, parents, links, attributes, status and times. The rules of the comparison
are in `tests/testbed/compare`, the scenarios in `tests/truth/rows`. A span counts only once, and every span of a scenario's
topics must belong to something that a client logged.

In all: {} messages sent, {} handled; {} send, {} process and {} other spans; {} false spans; {} of {} scenarios right.

Columns: *others* are commits, rollbacks, checks and replies. An orderly consumer that suspends its queue handles the same
delivery again: one span for several calls. *Unhandled* are deliveries that came to no handler (a killed
client, a queue that went elsewhere); their spans say that they know no end. *Before* and *after the span* is the time of
the client's call that lies outside the span. *Exact end* is the distance between the end of the handler and that of its span
where the evidence is exact, *interval* the width of the stated interval where it is not; in every one of those the true end lies
inside. Times are milliseconds: median / 99th percentile / maximum. Scenarios of a table ran at the same time on a machine
that did other work too, so the times of calls are those of a busy machine.",
            env!("CARGO_PKG_VERSION"),
            self.sum(|figures| figures.sent),
            self.sum(|figures| figures.handled),
            self.sum(|figures| figures.send_spans),
            self.sum(|figures| figures.process_spans),
            self.sum(|figures| figures.other_spans),
            self.sum(|figures| figures.false_spans),
            self.lines.iter().filter(|line| line.problems == 0).count(),
            self.lines.len(),
        )?;
        let mut pairing = "";
        for line in &self.lines {
            if line.pairing != pairing {
                pairing = &line.pairing;
                writeln!(f, "\n## {pairing}\n\n{HEAD}")?;
            }
            writeln!(f, "{line}")?;
        }
        self.cannot(f)?;
        self.agents(f)?;
        self.traces(f)
    }
}

impl Report {
    /// What is missing in the tables, and why.
    fn cannot(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lacks.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n## What clients and servers cannot do\n\n| Clients | Scenarios | Why |\n|---|---|---|"
        )?;
        for ((pairing, why), scenarios) in &self.lacks {
            writeln!(f, "| {pairing} | {} | {why} |", scenarios.join("; "))?;
        }
        Ok(())
    }

    /// What the agent and rmqtrace said about the same messages.
    fn agents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = |line: &&Line| !line.figures.agent_send_begin.is_empty();
        let lines: Vec<&Line> = self.lines.iter().filter(compared).collect();
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n## Against the OpenTelemetry Java agent\n
The agent's spans and ours of the same messages, in the same run: how far apart their begins and ends are. Its send span begins
before the client writes the request and ends in the client's thread after the answer is decoded; ours begins with the first
byte in the kernel and ends with the last byte read.\n
| Clients | Scenario | sends compared | begin of send | end of send | ends of process compared | end of process, exact evidence |
|---|---|---|---|---|---|---|"
        )?;
        for line in lines {
            let figures = &line.figures;
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} |",
                line.pairing,
                line.scenario,
                figures.agent_send_begin.len(),
                milliseconds(&figures.agent_send_begin),
                milliseconds(&figures.agent_send_end),
                figures.agent_process_end.len(),
                milliseconds(&figures.agent_process_end),
            )?;
        }
        Ok(())
    }

    /// What the clients' own message traces and rmqtrace said about the same messages.
    fn traces(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = |line: &&Line| line.figures.traced_sends + line.figures.traced_calls > 0;
        let lines: Vec<&Line> = self.lines.iter().filter(compared).collect();
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n## Against RocketMQ's own message trace\n
Records that clients with message tracing on left in the trace topic, read back with the client library's decoder. A send span
lies inside its recorded call, a process span ends when the record says, to the millisecond, or says that it does not know
better. Clients drop records when they have too many.\n
| Clients | Scenario | sends | recorded sends that agree | handled | recorded calls that agree | of which are the span's evidence |
|---|---|---|---|---|---|---|"
        )?;
        for line in lines {
            let figures = &line.figures;
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} |",
                line.pairing,
                line.scenario,
                figures.sent,
                figures.traced_sends,
                figures.handled,
                figures.traced_calls,
                figures.traced_as_evidence,
            )?;
        }
        Ok(())
    }
}
