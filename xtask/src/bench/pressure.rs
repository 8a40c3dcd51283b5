//! Whether an application ever waits for the tracer: how long its exchanges take while the tracer runs, is stopped, is killed and
//! started again, or gives way to another one. Needs root.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use testbed::{Artifacts, Tracer};

use super::{
    calls::{BYTES, echo, with_body},
    daemon,
    paired::{AGREEMENT, Estimate, compared},
    processors::Processors,
    programs,
    row::{Row, median, micros},
    start::connected,
};
use crate::build;

/// Each state of the tracer, so often, with windows without one between them.
const ROUNDS: usize = 5;
/// How long is measured at a time.
const WINDOW: Duration = Duration::from_secs(2);
/// Between two exchanges: an application that has other things to do.
const PAUSE: Duration = Duration::from_micros(50);

/// What becomes of the tracer during a window.
#[derive(Clone, Copy)]
enum State {
    Running,
    Stopped,
    Killed,
    Replaced,
}

const STATES: [(State, &str); 4] = [
    (State::Running, "runs"),
    (State::Stopped, "is stopped and its ring fills"),
    (State::Killed, "is killed and started again"),
    (State::Replaced, "gives way to another one"),
];

/// Nanoseconds of exchanges.
struct Window {
    /// One in a hundred takes longer.
    p99: f64,
    longest: f64,
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    build::build()?;
    let frames = programs::frames(artifacts)?;
    let send = with_body(std::fs::read(frames.join("send-json")).context("a send")?, BYTES)?;
    let (mut near, mut far) = connected()?;
    let mut exchange = || {
        echo(&mut near, &mut far, &send)?;
        echo(&mut far, &mut near, &send)
    };
    let processors = Processors::take_first()?;
    let mut without = vec![window(&mut exchange)?];
    // the states one after the other, again and again
    let mut with = Vec::new();
    for _ in 0..ROUNDS {
        for (state, _) in STATES {
            with.push(during(artifacts, &processors, state, &mut exchange)?);
            without.push(window(&mut exchange)?);
        }
    }
    let p99 = |windows: &[Window]| -> Vec<f64> { windows.iter().map(|window| window.p99).collect() };
    let longest = |windows: &[Window]| -> Vec<f64> { windows.iter().map(|window| window.longest).collect() };
    let nothing = format!(
        "nothing attached: {}, longest {}",
        micros(median(&p99(&without))),
        micros(median(&longest(&without)))
    );
    let changes: Vec<f64> = compared(&p99(&with), &p99(&without), |with, without| with - without).collect();
    let of_state = |values: &[f64], state| -> Vec<f64> {
        let values = values.iter().skip(state).step_by(STATES.len());
        values.copied().collect()
    };
    let costs: [Estimate; STATES.len()] =
        std::array::from_fn(|state| Estimate::median(of_state(&changes, state).into_iter()));
    let [running, ..] = costs;
    let limit = running.value + AGREEMENT * running.error;
    let rows = STATES
        .iter()
        .zip(costs)
        .enumerate()
        .map(|(index, ((state, words), cost))| {
            let alone = matches!(state, State::Running);
            Row {
                measure: format!("An exchange of 1 KiB each way, 99th percentile while rmqtrace {words}"),
                ours: format!(
                    "{:+.1} µs ± {:.1}; longest {}",
                    cost.value / 1000.0,
                    cost.error / 1000.0,
                    micros(median(&of_state(&longest(&with), index)))
                ),
                others: nothing.clone(),
                target: if alone { "–" } else { "as while it runs" }.to_owned(),
                verdict: if alone {
                    "–".to_owned()
                } else {
                    cost.at_most(limit)
                },
                command: "cargo xtask bench --only pressure".to_owned(),
            }
        });
    Ok(rows.collect())
}

/// A window with a tracer that this happens to.
fn during(
    artifacts: &Artifacts,
    processors: &Processors,
    state: State,
    exchange: &mut impl FnMut() -> Result<()>,
) -> Result<Window> {
    let start = |name: &str| daemon::start(artifacts, &format!("pressure-{name}"));
    let mut tracer = processors.elsewhere(|| start("first"))?;
    let (found, last) = match state {
        State::Running => (window(exchange)?, tracer),
        State::Stopped => {
            tracer.process().signal(libc::SIGSTOP)?;
            let found = window(exchange);
            tracer.process().signal(libc::SIGCONT)?;
            (found?, tracer)
        }
        State::Killed | State::Replaced => thread::scope(|scope| {
            let other = processors.elsewhere(|| {
                Ok(scope.spawn(move || -> Result<Tracer> {
                    thread::sleep(WINDOW / 4);
                    if matches!(state, State::Killed) {
                        tracer.process().signal(libc::SIGKILL)?;
                        return start("again");
                    }
                    let next = start("next")?;
                    tracer.stop()?;
                    Ok(next)
                }))
            })?;
            let found = window(exchange)?;
            let other = other.join().map_err(|_| anyhow!("a thread panicked"))??;
            anyhow::Ok((found, other))
        })?,
    };
    last.stop()?;
    Ok(found)
}

fn window(exchange: &mut impl FnMut() -> Result<()>) -> Result<Window> {
    let mut took = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < WINDOW {
        let started = Instant::now();
        exchange()?;
        took.push(started.elapsed().as_nanos() as f64);
        thread::sleep(PAUSE);
    }
    took.sort_by(f64::total_cmp);
    let at = |index: usize| took.get(index).copied().unwrap_or_default();
    Ok(Window {
        p99: at(took.len() * 99 / 100),
        longest: at(took.len().saturating_sub(1)),
    })
}
