//! The spans of a run against those that the same captures give when they are replayed.
//!
//! Times are those of another day, and ids that are not computed from messages are random; everything else must be the same. An
//! id counts as computed where two replays with different seeds agree on it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use testbed::{Artifacts, Span, spans::SpanFile};

/// The spans that captures give.
pub(super) struct Expected {
    /// A span in words → how often.
    spans: BTreeMap<String, usize>,
    /// Ids that are computed.
    computed: HashSet<String>,
    /// All of them.
    originals: Vec<Span>,
}

/// What differs.
pub(super) struct Difference {
    /// Spans that are not there.
    pub(super) missing: Vec<String>,
    /// Spans that should not be there.
    pub(super) extra: Vec<String>,
    /// Those of them that say something of their message that none of the right ones says. The others only say less, or rest
    /// on less.
    pub(super) wrong: Vec<String>,
}

impl Difference {
    /// Nothing differs.
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// Two of each kind.
    pub(super) fn examples(&self) -> Vec<String> {
        [
            ("missing", &self.missing),
            ("other", &self.extra),
            ("wrong", &self.wrong),
        ]
        .into_iter()
        .flat_map(|(what, spans)| spans.iter().take(2).map(move |span| format!("{what}: {span}")))
        .collect()
    }
}

impl Expected {
    /// Replays the captures.
    ///
    /// # Errors
    /// A capture that cannot be replayed.
    pub(super) fn of(artifacts: &Artifacts, rmqtrace: &Path, captures: &[PathBuf]) -> Result<Expected> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for capture in captures {
            first.extend(replay(artifacts, rmqtrace, capture, "7")?);
            second.extend(replay(artifacts, rmqtrace, capture, "8")?);
        }
        let computed = &ids(&first) & &ids(&second);
        let mut expected = Expected {
            spans: BTreeMap::new(),
            computed,
            originals: Vec::new(),
        };
        for span in &first {
            let words = expected.words(span);
            *expected.spans.entry(words).or_default() += 1;
        }
        expected.originals = first;
        Ok(expected)
    }

    /// How many spans there are to be.
    pub(super) fn count(&self) -> usize {
        self.originals.len()
    }

    /// What differs from these spans.
    pub(super) fn compare(&self, spans: &[Span]) -> Difference {
        let mut difference = Difference {
            missing: Vec::new(),
            extra: Vec::new(),
            wrong: Vec::new(),
        };
        let mut left = self.spans.clone();
        for span in spans {
            let words = self.words(span);
            match left.get_mut(&words).filter(|n| **n > 0) {
                Some(n) => *n -= 1,
                None => {
                    if !self.originals.iter().any(|original| says_less(span, original)) {
                        difference.wrong.push(words.clone());
                    }
                    difference.extra.push(words);
                }
            }
        }
        for (words, n) in left {
            difference.missing.extend(std::iter::repeat_n(words, n));
        }
        difference.extra.sort();
        difference
    }

    /// A span without what differs from run to run.
    fn words(&self, span: &Span) -> String {
        let id = |id: &str| match id {
            "" => "none".to_owned(),
            id if self.computed.contains(id) => id.to_owned(),
            _ => "random".to_owned(),
        };
        let mut words = format!(
            "{} kind={} status={} {}/{} parent={}",
            span.name,
            span.kind,
            span.status,
            id(&span.trace_id),
            id(&span.span_id),
            id(&span.parent_span_id)
        );
        for link in &span.links {
            let _ = write!(words, " link={}/{}", id(&link.trace_id), id(&link.span_id));
        }
        for (key, value) in &span.attributes {
            // fractions are lengths of time
            if value.is_f64() {
                let _ = write!(words, " {key}");
            } else {
                let _ = write!(words, " {key}={value}");
            }
        }
        words
    }
}

/// Spans from OTLP in lines of JSON.
///
/// # Errors
/// They are something else.
pub(super) fn spans(artifacts: &Artifacts, lines: &[u8]) -> Result<Vec<Span>> {
    let file = artifacts.target.join("vm/spans.jsonl");
    fs::write(&file, lines)?;
    read(&file)
}

/// Whether a span says nothing of its message that another does not say too.
fn says_less(span: &Span, than: &Span) -> bool {
    let of_message = |key: &str| key.starts_with("messaging.");
    span.name == than.name
        && span
            .attributes
            .iter()
            .all(|(key, value)| !of_message(key) || than.attributes.get(key) == Some(value))
}

/// All ids of spans, traces and links.
fn ids(spans: &[Span]) -> HashSet<String> {
    let own = spans
        .iter()
        .flat_map(|s| [&s.trace_id, &s.span_id, &s.parent_span_id]);
    let links = spans.iter().flat_map(|s| &s.links);
    own.chain(links.flat_map(|link| [&link.trace_id, &link.span_id]))
        .cloned()
        .collect()
}

fn replay(artifacts: &Artifacts, rmqtrace: &Path, capture: &Path, seed: &str) -> Result<Vec<Span>> {
    let file = artifacts.target.join("vm/replayed.jsonl");
    if file.exists() {
        fs::remove_file(&file)?;
    }
    let output = Command::new(rmqtrace)
        .args(["replay", "--seed", seed, "--print", "none", "--otlp-file"])
        .arg(&file)
        .arg(capture)
        .output()
        .context("starting rmqtrace replay")?;
    ensure!(
        output.status.success(),
        "rmqtrace replay {}: {}\n{}",
        capture.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    read(&file)
}

fn read(file: &Path) -> Result<Vec<Span>> {
    let mut spans = SpanFile::new(file);
    spans.refresh()?;
    Ok(spans.into_spans())
}
