//! What a guest wrote: the runs (tests/vm/src/runs.rs has the form), and what their logs say.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::Value;

/// One run of the tracer.
pub(super) struct Run {
    /// What was played.
    pub(super) played: Played,
    /// The strategy that was asked for.
    pub(super) asked: String,
    /// Exit code; `None`: it was killed.
    pub(super) code: Option<i32>,
    /// Its log.
    pub(super) log: Log,
    /// Spans, as OTLP in lines of JSON.
    pub(super) spans: Vec<u8>,
    /// What else went wrong.
    pub(super) problems: String,
    /// What the guest reports of it, in lines.
    pub(super) report: String,
}

/// What was played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Played {
    /// All captures at the same time.
    Captures,
    /// One capture or another, in each way of moving bytes.
    Ways,
    /// One capture again and again, while the wall clock is set.
    Clock,
}

/// A way of moving bytes, and what the guest found in the recording of it (tests/vm/src/course.rs).
pub(super) struct Way {
    pub(super) name: String,
    /// `all`, `some` or `nothing`: what the tracer is to see.
    pub(super) sees: String,
    /// The processes that played it.
    pub(super) processes: Vec<i64>,
    /// Bytes that the recognised connections moved.
    pub(super) moved: u64,
    /// Bytes that were declared, and that ordinary calls would have shown.
    pub(super) unseen: u64,
    /// What is wrong with the account; empty: nothing.
    pub(super) problems: String,
}

impl Way {
    fn read(line: &str) -> Result<Way> {
        let words: Vec<&str> = line.split('\t').collect();
        let [name, sees, processes, moved, unseen, problems] = words[..] else {
            anyhow::bail!("not the account of a way: {line:?}");
        };
        Ok(Way {
            name: name.into(),
            sees: sees.into(),
            processes: processes
                .split(',')
                .filter_map(|process| process.parse().ok())
                .collect(),
            moved: moved.parse()?,
            unseen: unseen.parse()?,
            problems: problems.into(),
        })
    }
}

/// What is of interest in a log.
#[derive(Default)]
pub(super) struct Log {
    /// The strategy that was taken.
    pub(super) strategy: Option<String>,
    /// Why.
    pub(super) reason: String,
    /// `uname -r`.
    pub(super) kernel: String,
    /// The kernel's programs, in the order of loading.
    pub(super) programs: Vec<Program>,
    /// Totals, by name.
    pub(super) totals: serde_json::Map<String, Value>,
    /// The last line that is no JSON: why it did not start.
    pub(super) refusal: String,
}

/// A program of the kernel side.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) event: String,
    /// Instructions that the verifier walked through.
    pub(super) verified: u64,
    /// Time to load.
    pub(super) microseconds: u64,
}

/// All runs that were written to the end.
///
/// # Errors
/// The outcome ends in the middle of a run.
pub(super) fn read(outcome: &[u8]) -> Result<Vec<Run>> {
    let mut reader = BufReader::new(GzDecoder::new(outcome));
    let mut runs = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).context("the outcome is cut")? == 0 {
            return Ok(runs);
        }
        runs.push(run(line.trim_end(), &mut reader).with_context(|| format!("the outcome's line {line:?}"))?);
    }
}

fn run(line: &str, reader: &mut impl Read) -> Result<Run> {
    let words: Vec<&str> = line.split(' ').collect();
    let [played, asked, code, lengths @ ..] = &words[..] else {
        anyhow::bail!("not the start of a run");
    };
    let played = match *played {
        "run" => Played::Captures,
        "ways" => Played::Ways,
        "clock" => Played::Clock,
        _ => anyhow::bail!("not the start of a run"),
    };
    let mut part = |i: usize| -> Result<Vec<u8>> {
        let length: usize = lengths.get(i).context("a length is missing")?.parse()?;
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let (log, spans, problems, report) = (part(0)?, part(1)?, part(2)?, part(3)?);
    Ok(Run {
        played,
        asked: (*asked).to_owned(),
        code: code.parse().ok(),
        log: Log::read(&String::from_utf8_lossy(&log)),
        spans,
        problems: String::from_utf8_lossy(&problems).into_owned(),
        report: String::from_utf8_lossy(&report).into_owned(),
    })
}

impl Run {
    /// What is wrong with it as a whole; empty: nothing.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.problems.lines().map(str::to_owned).collect();
        if self.code != Some(0) {
            wrong.push(format!(
                "rmqtrace ended with {:?}: {}",
                self.code, self.log.refusal
            ));
        }
        wrong
    }

    /// What became of each way of moving bytes.
    ///
    /// # Errors
    /// The report is of something else.
    pub(super) fn ways(&self) -> Result<Vec<Way>> {
        self.report.lines().map(Way::read).collect()
    }
}

impl Log {
    fn read(text: &str) -> Log {
        let mut log = Log::default();
        for line in text.lines() {
            let Ok(Value::Object(mut line)) = serde_json::from_str(line) else {
                if !line.trim().is_empty() {
                    line.clone_into(&mut log.refusal);
                }
                continue;
            };
            let Some(Value::Object(fields)) = line.remove("fields") else {
                continue;
            };
            let text = |name: &str| {
                fields
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
            match text("message").as_str() {
                "attached" => log.programs.push(Program {
                    name: text("program"),
                    event: text("event"),
                    verified: number("verified_instructions"),
                    microseconds: number("load_microseconds"),
                }),
                "capture" => {
                    log.strategy = Some(text("strategy"));
                    log.reason = text("reason");
                }
                "ready" => log.kernel = text("kernel"),
                "totals" => log.totals = fields,
                _ => {}
            }
        }
        log
    }

    /// One of the totals; those that are zero are not told.
    pub(super) fn total(&self, name: &str) -> u64 {
        self.totals.get(name).and_then(Value::as_u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::{Played, read};

    #[test]
    fn runs_and_what_their_logs_say() {
        let log = concat!(
            r#"{"fields":{"message":"attached","program":"p","event":"tracepoint `t`","verified_instructions":7,"load_microseconds":3}}"#,
            "\n",
            r#"{"fields":{"message":"capture","strategy":"fentry","reason":"why"}}"#,
            "\n",
            r#"{"fields":{"message":"totals","bytes_lost":5}}"#,
            "\n"
        );
        let refusal = "rmqtrace: no\n";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        write!(gzip, "run auto 0 {} 2 0 0\n{log}{{}}", log.len()).unwrap();
        write!(gzip, "run socktrace 4 {} 0 3 0\n{refusal}bad", refusal.len()).unwrap();
        let way = "splice\tsome\t7,8\t100\t20\t\n";
        write!(gzip, "ways auto 0 0 0 0 {}\n{way}", way.len()).unwrap();
        let runs = read(&gzip.finish().unwrap()).unwrap();
        assert_eq!((runs[0].asked.as_str(), runs[0].code), ("auto", Some(0)));
        assert_eq!(runs[0].log.strategy.as_deref(), Some("fentry"));
        assert_eq!(
            (runs[0].log.programs[0].verified, runs[0].log.total("bytes_lost")),
            (7, 5)
        );
        assert_eq!(runs[0].spans, b"{}");
        assert_eq!(runs[1].log.refusal, "rmqtrace: no");
        assert_eq!(runs[1].problems, "bad");
        assert_eq!((runs[0].played, runs[2].played), (Played::Captures, Played::Ways));
        let way = &runs[2].ways().unwrap()[0];
        assert_eq!(
            (way.name.as_str(), way.unseen, &way.processes[..]),
            ("splice", 20, &[7, 8][..])
        );
    }

    #[test]
    fn a_cut_outcome_is_an_error() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"run auto 0 9 0 0 0\nabc").unwrap();
        assert!(read(&gzip.finish().unwrap()).is_err());
    }
}
