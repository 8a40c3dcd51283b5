//! What the tasks say while they work, and commands whose output is only wanted when they fail.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write, stdout},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{Artifacts, process};

/// Says that something was there already.
pub(crate) fn present(what: &str) {
    println!("  present  {what}");
}

/// Does a step, with its name before and its time after.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("  start    {what}");
    let started = Instant::now();
    let result = work().with_context(|| what.to_owned());
    let end = if result.is_ok() { "done" } else { "FAILED" };
    println!("  {end:<8} {what} ({:.1} s)", started.elapsed().as_secs_f64());
    result
}

/// Runs a command to its end. Its output goes to a log file under the target directory; meanwhile the seconds are shown. When
/// it fails, the end of the log is the error.
pub(crate) fn run_quietly(command: &mut Command, log_name: &str) -> Result<()> {
    let dir = Artifacts::locate().target.join("xtask");
    fs::create_dir_all(&dir)?;
    let log = dir.join(format!("{log_name}.log"));
    let file = File::create(&log)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let mut progress = Progress::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.show(&log);
        thread::sleep(Duration::from_millis(50));
    };
    progress.clear();
    if !status.success() {
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        bail!(
            "{program}: {status}; {} ends with:\n{}",
            log.display(),
            process::tail(&text)
        );
    }
    Ok(())
}

/// Runs a command in the foreground.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

/// First line of what a command prints, where it can be run at all.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}

/// A line that shows the seconds: redrawn on a terminal, otherwise written every 20 s.
struct Progress {
    started: Instant,
    shown: u64,
    terminal: bool,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            started: Instant::now(),
            shown: 0,
            terminal: stdout().is_terminal(),
        }
    }

    fn show(&mut self, log: &Path) {
        let seconds = self.started.elapsed().as_secs();
        if seconds < self.shown + if self.terminal { 1 } else { 20 } {
            return;
        }
        self.shown = seconds;
        let log = fs::read(log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last: String = log
            .lines()
            .last()
            .unwrap_or_default()
            .trim()
            .chars()
            .take(70)
            .collect();
        if self.terminal {
            print!("\r\x1b[K           {seconds} s  {last}");
            let _ = stdout().flush();
        } else {
            println!("           {seconds} s  {last}");
        }
    }

    fn clear(&self) {
        if self.terminal && self.shown > 0 {
            print!("\r\x1b[K");
            let _ = stdout().flush();
        }
    }
}
