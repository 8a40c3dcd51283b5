//! Is what became of each way of moving bytes as it should be?

use std::{
    fmt,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use testbed::{Artifacts, Span};

use super::{
    compare::{self, Expected},
    outcome::{Run, Way},
};

/// For each way a capture of its own: its scenario with other names of topics, groups and clients and other message ids, since
/// the tracer would take the same message from two clients for one that was sent again.
pub(super) struct Captures {
    /// In the order of the guest's table.
    pub(super) files: Vec<PathBuf>,
    expected: Vec<Expected>,
}

impl Captures {
    /// Makes them of the captures of scenarios, and replays them.
    ///
    /// # Errors
    /// A scenario without capture, or files that cannot be written.
    pub(super) fn make(
        artifacts: &Artifacts,
        guest: &Path,
        rmqtrace: &Path,
        captures: &[PathBuf],
    ) -> Result<Captures> {
        let dir = artifacts.target.join("vm/ways");
        fs::create_dir_all(&dir)?;
        let output = Command::new(guest).arg("scenarios").output();
        let output = output.with_context(|| format!("starting {}", guest.display()))?;
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        for (number, scenario) in String::from_utf8(output.stdout)?.lines().enumerate() {
            let name = format!("-{scenario}.pcapng.gz");
            let capture = captures
                .iter()
                .find(|path| path.to_string_lossy().ends_with(&name));
            let capture = capture.with_context(|| format!("no capture *{name}"))?;
            let mut bytes = Vec::new();
            GzDecoder::new(File::open(capture)?).read_to_end(&mut bytes)?;
            rename(&mut bytes, number);
            let file = dir.join(format!("{number:02}.pcapng.gz"));
            let mut gzip = GzEncoder::new(File::create(&file)?, Compression::fast());
            gzip.write_all(&bytes)?;
            gzip.finish()?;
            expected.push(Expected::of(artifacts, rmqtrace, std::slice::from_ref(&file))?);
            files.push(file);
        }
        Ok(Captures { files, expected })
    }
}

/// Puts a number into all names, without changing a length: names of topics and groups have the recording run's number inside,
/// message ids and clients begin with the address of the machine that was recorded.
fn rename(bytes: &mut [u8], number: usize) {
    const RUN: &[u8] = b"truth";
    const MESSAGE: &[u8] = b"FD0000000000";
    const CLIENT: &[u8] = b"192.0.2.2@";
    let [tens, units] = [number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
    for at in 0..bytes.len() {
        let Some((_, rest)) = bytes.split_at_mut_checked(at) else {
            return;
        };
        if rest.starts_with(RUN) {
            let digits = rest[RUN.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits >= 2 {
                rest[RUN.len() + digits - 2..][..2].copy_from_slice(&[tens, units]);
            }
        } else if rest.starts_with(MESSAGE) {
            rest[MESSAGE.len() - 2..][..2].copy_from_slice(&[tens, units]);
        } else if rest.starts_with(CLIENT) {
            rest[..CLIENT.len()]
                .copy_from_slice(&[b'1', b'0', b'.', b'0', b'.', b'0', b'.', tens, units, b'@']);
        }
    }
}

/// One kernel and strategy.
pub(super) struct Course {
    /// The kernel's package.
    pub(super) kernel: String,
    /// The strategy that was taken.
    pub(super) strategy: String,
    /// Each way, and what is to be said of it.
    pub(super) ways: Vec<Judged>,
    /// What is wrong with the run as a whole.
    pub(super) wrong: Vec<String>,
}

/// A way.
pub(super) struct Judged {
    pub(super) name: String,
    /// In words.
    pub(super) result: String,
    /// What is wrong; empty: nothing.
    pub(super) wrong: Vec<String>,
}

impl Course {
    /// Looks at a run.
    ///
    /// # Errors
    /// Its spans cannot be read, or a scenario is missing.
    pub(super) fn judge(
        kernel: &str,
        run: &Run,
        captures: &Captures,
        artifacts: &Artifacts,
    ) -> Result<Course> {
        let mut wrong = run.wrong();
        // preempted programs: bytes may be missing where they are declared, and nothing wrong may come of them
        let missed = run.log.total("recursion_misses") > 0;
        let ways = run.ways()?;
        let moved: u64 = ways.iter().map(|way| way.moved).sum();
        let declared = run.log.total("bytes");
        if moved != declared {
            wrong.push(format!(
                "{moved} bytes moved, and there are records of {declared}"
            ));
        }
        let spans = compare::spans(artifacts, &run.spans)?;
        let judge = |(way, expected)| Judged::judge(way, &spans, missed, expected);
        Ok(Course {
            kernel: kernel.to_owned(),
            strategy: run.log.strategy.clone().unwrap_or_default(),
            ways: ways.iter().zip(&captures.expected).map(judge).collect(),
            wrong,
        })
    }

    /// Nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty() && !self.ways.is_empty() && self.ways.iter().all(|way| way.wrong.is_empty())
    }
}

impl Judged {
    fn judge(way: &Way, spans: &[Span], missed: bool, expected: &Expected) -> Judged {
        let is_its = |span: &&Span| span.pid().is_some_and(|pid| way.processes.contains(&pid));
        let spans: Vec<Span> = spans.iter().filter(is_its).cloned().collect();
        let difference = expected.compare(&spans);
        let mut wrong = Vec::new();
        if !way.problems.is_empty() {
            wrong.push(way.problems.clone());
        }
        let same = expected.count() - difference.missing.len();
        let as_they_should = match way.sees.as_str() {
            "all" if !missed => way.unseen == 0 && difference.is_empty(),
            "nothing" => spans.is_empty(),
            _ => difference.wrong.is_empty() && (missed || way.unseen > 0),
        };
        if !as_they_should {
            wrong.push(format!(
                "{} bytes unseen; {} spans are missing, {} are others",
                way.unseen,
                difference.missing.len(),
                difference.extra.len()
            ));
            wrong.extend(difference.examples());
        }
        // what differs stands at the start
        wrong
            .iter_mut()
            .for_each(|text| *text = text.chars().take(700).collect());
        let result = match (way.sees.as_str(), way.unseen) {
            ("nothing", _) => "not recognised".into(),
            (_, 0) => "seen".into(),
            (_, unseen) => format!("{unseen} bytes declared, {same} of {} spans", expected.count()),
        };
        Judged {
            name: way.name.clone(),
            result,
            wrong,
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_good() { "ok" } else { "FAILED" };
        let seen = self.ways.iter().filter(|way| way.result == "seen").count();
        write!(
            f,
            "  {mark:<6} {:<48} {:<9} {} ways of moving bytes, {seen} seen as ordinary ones are, the others declared",
            self.kernel,
            self.strategy,
            self.ways.len()
        )?;
        for wrong in &self.wrong {
            write!(f, "\n         {wrong}")?;
        }
        for way in self.ways.iter().filter(|way| !way.wrong.is_empty()) {
            write!(f, "\n         {}: {}", way.name, way.wrong.join("\n           "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::rename;

    #[test]
    fn names_get_a_number_and_keep_their_length() {
        let mut bytes = *b"t-truth18907-3 truth FD0000000000000002 192.0.2.2@19465#1";
        rename(&mut bytes, 42);
        assert_eq!(
            &bytes,
            b"t-truth18942-3 truth FD0000000042000002 10.0.0.42@19465#1"
        );
    }
}
