//! `cargo xtask fuzz`: coverage-guided fuzzing of every parser and of the engine (`tests/fuzz`).
//!
//! A target's corpus stays in the target directory and grows from run to run; it starts from the seeds. A finding ends the run
//! of its target and leaves its input beside the corpus; `--input` repeats it.

mod seeds;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use testbed::Artifacts;

use crate::{
    build::cargo,
    console,
    setup::{Say, apt, part},
};

/// cargo-fuzz, which knows the compiler's flags.
const CARGO_FUZZ: &str = "0.13.2";
/// Longest time for one input, seconds. The largest take half a second, and twenty times that on a busy machine.
const INPUT_SECONDS: u32 = 60;
/// Most memory of a target, MiB: a parser that needs more for one input keeps too much.
const MEMORY_MIB: u32 = 1024;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Targets; all without any
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Run one target on this input only, as after a finding
    #[arg(long, value_name = "FILE", requires = "targets")]
    input: Option<PathBuf>,
}

/// What a target came to.
struct Run {
    target: String,
    executions: u64,
    seconds: u64,
    finding: Option<String>,
}

/// The task.
pub(crate) fn run(options: &Options) -> ExitCode {
    let result = match &options.input {
        Some(input) => repeat(&options.targets, input).map(|()| true),
        None => fuzz(&options.targets, options.seconds),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Fuzzes targets for some seconds each, says what came of each, and whether there was no finding.
pub(crate) fn fuzz(targets: &[String], seconds: u32) -> Result<bool> {
    let fuzzer = Fuzzer::build()?;
    let targets = if targets.is_empty() {
        fuzzer.targets()?
    } else {
        targets.to_vec()
    };
    seeds::write(&fuzzer.artifacts, &fuzzer.corpus())?;
    let runs: Vec<Run> = targets
        .into_iter()
        .map(|target| fuzzer.run(target, seconds))
        .collect::<Result<_>>()?;
    for Run {
        target,
        executions,
        seconds,
        finding,
    } in &runs
    {
        let result = finding.as_deref().unwrap_or("nothing found");
        println!("fuzz: {target}: {executions} inputs in {seconds} s: {result}");
    }
    Ok(runs.iter().all(|run| run.finding.is_none()))
}

fn repeat(targets: &[String], input: &Path) -> Result<()> {
    let [target] = targets else {
        bail!("--input goes with one target");
    };
    let fuzzer = Fuzzer::build()?;
    console::run(Command::new(fuzzer.binary(target)).arg(input))
}

/// The built targets.
struct Fuzzer {
    artifacts: Artifacts,
    binaries: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Fuzzer> {
        let artifacts = Artifacts::locate();
        let tool = tool(&artifacts)?;
        let target = artifacts.target.join("fuzz");
        let triple = console::first_line(Command::new("rustc").args(["--print", "host-tuple"]))
            .context("rustc does not name its own target")?;
        let started = Instant::now();
        // The flags that instrument code are unstable; the compiler is the same. No sanitizer: tracer-core has no unsafe code, and
        // what is looked for are panics, overflows and wrong answers.
        console::run_quietly(
            Command::new(tool)
                .args([
                    "build",
                    "--fuzz-dir",
                    ".",
                    "--sanitizer",
                    "none",
                    "--target",
                    &triple,
                ])
                .current_dir(artifacts.root.join("tests/fuzz"))
                .env("CARGO", env!("CARGO"))
                .env("RUSTC_BOOTSTRAP", "1")
                // the compiler's error would be hidden behind one of the tool
                .env("RUST_BACKTRACE", "0")
                .env("CARGO_TARGET_DIR", &target),
            "fuzz",
        )?;
        println!("fuzz: built ({:.1} s)", started.elapsed().as_secs_f64());
        let binaries = target.join(triple).join("release");
        Ok(Fuzzer { artifacts, binaries })
    }

    /// Every target of the manifest; a target has its file.
    fn targets(&self) -> Result<Vec<String>> {
        let mut targets = Vec::new();
        for entry in fs::read_dir(self.artifacts.root.join("tests/fuzz/targets"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        targets.sort();
        Ok(targets)
    }

    fn binary(&self, target: &str) -> PathBuf {
        self.binaries.join(target)
    }

    fn corpus(&self) -> PathBuf {
        self.artifacts.target.join("fuzz-corpus")
    }

    fn run(&self, target: String, seconds: u32) -> Result<Run> {
        let corpus = self.corpus().join(&target);
        fs::create_dir_all(&corpus)?;
        let log = self.corpus().join(format!("{target}.log"));
        let findings = format!("{}/{target}-", self.corpus().display());
        let started = Instant::now();
        let status = Command::new(self.binary(&target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg(format!("-artifact_prefix={findings}"))
            .args(["-use_value_profile=1", "-print_final_stats=1"])
            .arg(&corpus)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .status()
            .with_context(|| format!("no fuzz target {target}"))?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let after = |label: &str| said.lines().rev().find_map(|line| line.split_once(label));
        let executions = after("stat::number_of_executed_units:")
            .and_then(|(_, number)| number.trim().parse().ok())
            .unwrap_or(0);
        let finding = (!status.success()).then(|| {
            let input = after("Test unit written to ").map_or("", |(_, path)| path);
            format!(
                "FOUND {} (log {}); again: cargo xtask fuzz {target} --input {input}",
                said.lines()
                    .skip_while(|line| !line.contains("panicked at"))
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" "),
                log.display()
            )
        });
        Ok(Run {
            target,
            executions,
            seconds: started.elapsed().as_secs(),
            finding,
        })
    }
}

/// cargo-fuzz, built once, and the C++ compiler that the fuzzing library needs.
fn tool(artifacts: &Artifacts) -> Result<PathBuf> {
    let compiler = console::first_line(Command::new("c++").arg("--version")).is_some();
    part(Say::Changes, "a C++ compiler", compiler, || {
        if !apt::is_available() {
            bail!("no c++ in PATH; install g++ or clang");
        }
        apt::install(&["g++"])
    })?;
    let root = artifacts.cache.join("cargo-fuzz");
    let tool = root.join("bin/cargo-fuzz");
    let works = console::first_line(Command::new(&tool).arg("--version"))
        .is_some_and(|version| version.contains(CARGO_FUZZ));
    part(Say::Changes, &format!("cargo-fuzz {CARGO_FUZZ}"), works, || {
        console::run_quietly(
            cargo()
                .args(["install", "cargo-fuzz", "--version", CARGO_FUZZ])
                .args(["--locked", "--force", "--root"])
                .arg(&root)
                .env_remove("CARGO_TARGET_DIR"),
            "cargo-fuzz",
        )
    })?;
    Ok(tool)
}
