//! A run in which every way of moving bytes is played, and recorded.

use std::{
    collections::HashMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    ledger::{Account, Ledger},
    script::Script,
    trace::{Outcome, PLAYED, Trace, first_line},
    way::{WAYS, Way},
};

/// Ways that are played at the same time.
const AT_ONCE: usize = 14;

/// A player that has played, and whose clients still live.
struct Played<'a> {
    way: &'static Way,
    capture: &'a Path,
    process: Child,
    /// Its network namespace.
    namespace: u32,
}

/// Records all ways with this strategy; for each there is a capture to play. What came of each is a line of words between tabulators: name, what was to be seen,
/// processes, bytes moved, bytes not seen, and what is wrong.
///
/// # Errors
/// The machine is not able to try it at all.
pub(crate) fn run(trace: &Trace<'_>, captures: &[PathBuf], strategy: &str) -> Result<(Outcome, String)> {
    let recording = trace.dir.join("ways.pcapng");
    let mut players = Vec::new();
    let outcome = trace.with_tracer(
        strategy,
        |command| {
            command.arg("record").arg(&recording);
        },
        || {
            ensure!(
                captures.len() == WAYS.len(),
                "{} captures for {} ways",
                captures.len(),
                WAYS.len()
            );
            let ways: Vec<_> = WAYS.iter().zip(captures).collect();
            ways.chunks(AT_ONCE)
                .try_for_each(|ways| play(trace, ways, &mut players))
        },
    )?;
    let mut report = String::new();
    if outcome.code == Some(0) {
        let ledger = Ledger::read(&recording)?;
        let mut references: HashMap<&str, Account> = HashMap::new();
        for played in &players {
            let (way, account) = (played.way, played.account(&ledger, &references)?);
            let Account {
                processes,
                moved,
                unseen,
                problems,
                ..
            } = &account;
            let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
            writeln!(
                report,
                "{}\t{}\t{}\t{moved}\t{unseen}\t{}",
                way.name,
                way.sees.word(),
                processes.join(","),
                problems.join("; ")
            )?;
            references.entry(way.scenario).or_insert(account);
        }
    }
    for mut played in players {
        drop(played.process.stdin.take());
        played.process.wait()?;
    }
    if recording.exists() {
        fs::remove_file(recording)?;
    }
    Ok((outcome, report))
}

/// Plays some ways; all, before it says which failed.
fn play<'a>(
    trace: &Trace<'_>,
    ways: &[(&'static Way, &'a PathBuf)],
    players: &mut Vec<Played<'a>>,
) -> Result<()> {
    let mut started = Vec::new();
    for (way, capture) in ways {
        let player = Command::new(trace.guest)
            .arg("play")
            .arg(capture)
            .arg(way.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a player")?;
        started.push((*way, *capture, player));
    }
    let mut failed = Vec::new();
    for (way, capture, mut process) in started {
        let said = process
            .stdout
            .take()
            .map(first_line)
            .transpose()?
            .unwrap_or_default();
        match said
            .strip_prefix(PLAYED)
            .and_then(|namespace| namespace.trim().parse().ok())
        {
            Some(namespace) => players.push(Played {
                way,
                capture,
                process,
                namespace,
            }),
            None => {
                failed.push(way.name);
                process.wait()?;
            }
        }
    }
    ensure!(failed.is_empty(), "not played to the end: {}", failed.join(", "));
    Ok(())
}

impl Played<'_> {
    fn account(&self, ledger: &Ledger, references: &HashMap<&str, Account>) -> Result<Account> {
        let script = Script::read(self.capture)?;
        Ok(ledger.check(
            self.way,
            &script,
            self.namespace,
            references.get(self.way.scenario),
        ))
    }
}
