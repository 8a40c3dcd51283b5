//! The table of all scenarios.

use std::fmt;

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
}

impl Report {
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }
}

/// Milliseconds of nanoseconds: median / 99th percentile / maximum.
fn milliseconds(values: &[u64]) -> String {
    let Some(Quantiles { p50, p99, max }) = Quantiles::of(values) else {
        return "–".to_owned();
    };
    let ms = |nanoseconds: u64| {
        let whole = nanoseconds / 1_000_000;
        if whole >= 100 {
            whole.to_string()
        } else {
            format!("{whole}.{:02}", nanoseconds / 10_000 % 100)
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
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.scenario,
            figures.sent + figures.failed,
            figures.send_spans + figures.failed,
            figures.handled,
            figures.process_spans,
            figures.other_spans,
            figures.unhandled,
            figures.false_spans,
            evidence.join(", "),
            milliseconds(&figures.send_begin),
            milliseconds(&figures.send_end),
            milliseconds(&figures.exact_end),
            milliseconds(&figures.width),
            if self.problems == 0 {
                "right".to_owned()
            } else {
                format!("**{} problems**", self.problems)
            },
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairing = "";
        for line in &self.lines {
            if line.pairing != pairing {
                pairing = &line.pairing;
                writeln!(f, "\n### {pairing}\n")?;
                writeln!(
                    f,
                    "| Scenario | sent | send spans | handled | process spans | others | unknown ends | false spans | evidence | send begin | send end | exact end | interval width | |"
                )?;
                writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
