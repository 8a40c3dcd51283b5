//! The wall clock is set while the tracer runs: only in a virtual machine, whose clock nobody else goes by.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};

use crate::trace::{Outcome, Trace};

/// By how many seconds it is set: forth, and back by more.
const STEPS: [i64; 2] = [3_600, -90_000];
/// What the tracer logs when it has noticed.
const NOTICED: &str = "the wall clock was set";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays the captures before the first step and after each. The report has a line for each time: the wall clock in nanoseconds
/// before and after.
///
/// # Errors
/// The machine is not able to try it at all.
pub(crate) fn run(trace: &Trace<'_>, strategy: &str) -> Result<(Outcome, String)> {
    let mut report = String::new();
    let outcome = trace.with_players(strategy, |players| {
        for turn in 0..=STEPS.len() {
            if let Some(step) = turn.checked_sub(1).and_then(|turn| STEPS.get(turn)) {
                set(*step)?;
                noticed(&trace.dir.join("rmqtrace.log"), turn)?;
            }
            let begun = now()?;
            trace.play(players)?;
            report.push_str(&format!("{begun} {}\n", now()?));
        }
        Ok(())
    })?;
    Ok((outcome, report))
}

fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

fn set(seconds: i64) -> Result<()> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives on; the calls read and write nothing else.
    let failed = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) != 0 || {
            time.tv_sec += seconds;
            libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) != 0
        }
    };
    ensure!(!failed, "setting the clock: {}", io::Error::last_os_error());
    Ok(())
}

/// Waits until the tracer has said so often that it has noticed.
fn noticed(log: &Path, times: usize) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if fs::read_to_string(log)?.matches(NOTICED).count() >= times {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!(
        "rmqtrace did not notice within {} s that the clock was set",
        PATIENCE.as_secs()
    )
}
