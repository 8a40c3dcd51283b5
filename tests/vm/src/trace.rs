//! One run: rmqtrace with one strategy, and the clients of every capture at the same time.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// How long rmqtrace may take to be ready: the verifier runs in an emulated machine.
const READY: Duration = Duration::from_secs(120);
/// What it logs then.
const READY_MARK: &str = "\"message\":\"ready\"";
/// How long rmqtrace may take to its end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run left behind.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Exit code of rmqtrace; `None`: it had to be killed.
    pub(crate) code: Option<i32>,
    /// What rmqtrace logged.
    pub(crate) log: Vec<u8>,
    /// Its spans, as OTLP in lines of JSON.
    pub(crate) spans: Vec<u8>,
    /// What else went wrong.
    pub(crate) problems: Vec<String>,
}

/// Where everything is.
pub(crate) struct Trace<'a> {
    /// This program.
    pub(crate) guest: &'a Path,
    /// The tracer.
    pub(crate) rmqtrace: &'a Path,
    /// A directory for files.
    pub(crate) dir: &'a Path,
    /// What to play.
    pub(crate) captures: &'a [PathBuf],
}

impl Trace<'_> {
    /// Traces the clients of all captures with this strategy.
    ///
    /// # Errors
    /// The machine is not able to try it at all.
    pub(crate) fn run(&self, strategy: &str) -> Result<Outcome> {
        self.with_players(strategy, |players| self.play(players))
    }

    /// Traces with this strategy while the work plays captures, and ends the players behind the tracer.
    ///
    /// # Errors
    /// The machine is not able to try it at all.
    pub(crate) fn with_players(
        &self,
        strategy: &str,
        work: impl FnOnce(&mut Vec<Child>) -> Result<()>,
    ) -> Result<Outcome> {
        let mut players = Vec::new();
        let run = |command: &mut Command| {
            command.arg("run");
        };
        let outcome = self.with_tracer(strategy, run, || work(&mut players))?;
        for player in &mut players {
            drop(player.stdin.take());
            player.wait()?;
        }
        Ok(outcome)
    }

    /// Starts rmqtrace with this command and strategy, waits until it is ready, works, and ends it.
    ///
    /// # Errors
    /// It cannot be started, or gets stuck.
    pub(crate) fn with_tracer(
        &self,
        strategy: &str,
        subcommand: impl FnOnce(&mut Command),
        work: impl FnOnce() -> Result<()>,
    ) -> Result<Outcome> {
        let spans = self.dir.join("spans.jsonl");
        let log = self.dir.join("rmqtrace.log");
        for file in [&spans, &log] {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        // `trace` shows what the verifier says
        let level = env::var("RMQTRACE_LOG_LEVEL").unwrap_or_else(|_| "debug".into());
        let mut tracer = Command::new(self.rmqtrace);
        subcommand(&mut tracer);
        let mut tracer = tracer
            .args(["--capture", strategy, "--print", "none", "--exe"])
            .arg(self.guest)
            .args(["--log-format", "json", "--otlp-file"])
            .arg(&spans)
            .env("RMQTRACE_LOG_LEVEL", level)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", self.rmqtrace.display()))?;
        let mut problems = Vec::new();
        let status = match wait_ready(&mut tracer, &log)? {
            Some(status) => Some(status),
            None => {
                if let Err(error) = work() {
                    problems.push(format!("{error:#}"));
                }
                // SAFETY: a child of this process that is not waited for yet.
                unsafe { libc::kill(tracer.id().try_into()?, libc::SIGTERM) };
                wait(&mut tracer, PATIENCE)?
            }
        };
        if status.is_none() {
            tracer.kill()?;
            tracer.wait()?;
            problems.push("rmqtrace did not end".into());
        }
        Ok(Outcome {
            code: status.and_then(|status| status.code()),
            log: fs::read(&log)?,
            spans: fs::read(&spans).unwrap_or_default(),
            problems,
        })
    }

    /// Plays all captures, each by a process of its own, whose clients then still live.
    pub(crate) fn play(&self, players: &mut Vec<Child>) -> Result<()> {
        let first = players.len();
        for capture in self.captures {
            let player = Command::new(self.guest)
                .arg("play")
                .arg(capture)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("starting a player")?;
            players.push(player);
        }
        let mut failed = Vec::new();
        for (capture, player) in self.captures.iter().zip(&mut players[first..]) {
            let said = player.stdout.take().map(first_line).transpose()?;
            if !said.is_some_and(|said| said.starts_with(PLAYED)) {
                failed.push(capture.display().to_string());
            }
        }
        ensure!(failed.is_empty(), "not played to the end: {}", failed.join(", "));
        Ok(())
    }
}

/// What a player says when it has played, before the number of its network namespace.
pub(crate) const PLAYED: &str = "played ";

pub(crate) fn first_line(output: ChildStdout) -> Result<String> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Waits until the tracer says that it is ready; its status if it ends instead.
fn wait_ready(tracer: &mut Child, log: &Path) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < READY {
        if let Some(status) = tracer.try_wait()? {
            return Ok(Some(status));
        }
        if fs::read_to_string(log)?.contains(READY_MARK) {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("rmqtrace is not ready after {} s", READY.as_secs())
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}
