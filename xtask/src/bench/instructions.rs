//! Instructions of the hot paths, counted by callgrind. Times are noisy on shared machines; these are not, so `cargo xtask
//! test` expects them to stay as they are stored.
//!
//! Each path runs twice, with different numbers of times; what is prepared is the same, so the difference is that of the
//! times between.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use testbed::Artifacts;

use super::{
    programs,
    row::{Row, thousands},
};
use crate::console;

/// How often a path runs, less often and more often.
const TIMES: [u64; 2] = [50, 450];
/// How far a count may be from what is expected, in per cent: hash maps differ from run to run.
const TOLERANCE: f64 = 3.0;

/// Counts by path.
type Counts = BTreeMap<String, f64>;

/// Takes the counts as they are now for those to be expected.
pub(super) fn accept(artifacts: &Artifacts) -> Result<()> {
    let counts = count(artifacts)?;
    let mut text = format!("# {}\n", compiler()?);
    for (path, instructions) in &counts {
        let _ = writeln!(text, "{path} {instructions:.0}");
        println!("{path}: {} instructions", thousands(*instructions));
    }
    let file = file(artifacts);
    fs::write(&file, text).with_context(|| file.display().to_string())
}

/// Compares the counts with those to be expected.
///
/// # Errors
/// Names each path that is further away than the tolerance, with both numbers.
pub(crate) fn check(artifacts: &Artifacts) -> Result<()> {
    let (compiled_by, expected) = expected(artifacts)?;
    let accept = "if that is meant: cargo xtask bench --accept-instructions";
    let compiler = compiler()?;
    if compiler != compiled_by {
        bail!("instructions were counted with {compiled_by}, this is {compiler}; {accept}");
    }
    let counts = count(artifacts)?;
    let wrong = differences(&expected, &counts);
    if !wrong.is_empty() {
        bail!("{}; {accept}", wrong.join("; "));
    }
    Ok(())
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let (_, expected) = expected(artifacts)?;
    let rows = count(artifacts)?.into_iter().map(|(path, counted)| {
        let wanted = expected.get(&path).copied().unwrap_or_default();
        Row {
            measure: format!("Instructions of `{path}`"),
            ours: thousands(counted),
            others: "–".to_owned(),
            target: format!("{} ± {TOLERANCE} %", thousands(wanted)),
            verdict: match difference(wanted, counted) {
                None => "met".to_owned(),
                Some(percent) => format!("missed: {percent:+.1} %"),
            },
            command: "cargo xtask bench --only instructions".to_owned(),
        }
    });
    Ok(rows.collect())
}

/// What is further away than the tolerance.
fn differences(expected: &Counts, counts: &Counts) -> Vec<String> {
    let counted = counts.iter().filter_map(|(path, counted)| {
        let Some(wanted) = expected.get(path) else {
            return Some(format!(
                "{path}: {} instructions, none expected",
                thousands(*counted)
            ));
        };
        let percent = difference(*wanted, *counted)?;
        Some(format!(
            "{path}: {} instructions, {} expected ({percent:+.1} %)",
            thousands(*counted),
            thousands(*wanted)
        ))
    });
    let gone = expected.keys().filter(|path| !counts.contains_key(*path));
    counted
        .chain(gone.map(|path| format!("{path}: no such path")))
        .collect()
}

/// The difference in per cent, where it is more than the tolerance.
fn difference(expected: f64, counted: f64) -> Option<f64> {
    let percent = (counted / expected - 1.0) * 100.0;
    (percent.abs() > TOLERANCE || percent.is_nan()).then_some(percent)
}

/// Instructions of each path for one time.
fn count(artifacts: &Artifacts) -> Result<Counts> {
    let program = programs::hot_paths(artifacts)?;
    let paths = Command::new(&program).output()?;
    let mut counts = Counts::new();
    for path in String::from_utf8_lossy(&paths.stdout).lines() {
        let [fewer, more] = TIMES.map(|times| instructions(&program, path, times));
        let instructions = more?.saturating_sub(fewer?) as f64 / (TIMES[1] - TIMES[0]) as f64;
        counts.insert(path.to_owned(), instructions);
    }
    Ok(counts)
}

/// Instructions of a whole run.
fn instructions(program: &Path, path: &str, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([path, &times.to_string(), &TIMES[1].to_string()])
        .output()
        .context("starting valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    collected(&text)
        .filter(|_| output.status.success())
        .with_context(|| format!("counting the instructions of {path}: {text}"))
}

/// `==123== Collected : 4567` → 4567.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The compiler, whose version decides the counts.
fn compiler() -> Result<String> {
    console::first_line(Command::new("rustc").arg("--version"))
        .map(|version| format!("{version} for {}", std::env::consts::ARCH))
        .context("rustc does not tell its version")
}

fn file(artifacts: &Artifacts) -> PathBuf {
    artifacts.root.join("tests/bench/instructions.txt")
}

/// The compiler, and the counts to be expected.
fn expected(artifacts: &Artifacts) -> Result<(String, Counts)> {
    let file = file(artifacts);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let compiler = text.lines().next().and_then(|line| line.strip_prefix("# "));
    let counts = text.lines().filter_map(|line| {
        let (path, instructions) = line.split_once(' ').filter(|(path, _)| *path != "#")?;
        Some((path.to_owned(), instructions.parse().ok()?))
    });
    Ok((compiler.unwrap_or_default().to_owned(), counts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, f64)]) -> Counts {
        of.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect()
    }

    #[test]
    fn what_differs_is_named_with_both_numbers() {
        let expected = counts(&[("a", 1000.0), ("b", 1000.0), ("gone", 1.0)]);
        let found = differences(&expected, &counts(&[("a", 1029.0), ("b", 1100.0), ("new", 5.0)]));
        assert_eq!(
            found,
            [
                "b: 1,100 instructions, 1,000 expected (+10.0 %)",
                "new: 5 instructions, none expected",
                "gone: no such path",
            ]
        );
        assert_eq!(differences(&expected, &expected), [""; 0]);
    }

    #[test]
    fn what_callgrind_says() {
        let text = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 733446\n==7==\n";
        assert_eq!(collected(text), Some(733_446));
    }
}
