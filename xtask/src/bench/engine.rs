//! The engine: spans a second on one core, and what a message costs where there is ten times as much of everything.

use anyhow::Result;
use testbed::Artifacts;

use super::{
    criterion,
    row::{Row, Target, micros, thousands},
};

/// Messages of a run; that of `tests/bench/benches/engine.rs`.
const MESSAGES: f64 = 64_000.0;
/// Spans a second that are wanted.
const WANTED: f64 = 400_000.0;
/// How much more a message may cost where there is ten times as much.
const FLAT: f64 = 1.1;

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    criterion::run(artifacts, "engine")?;
    let message = |what: &str, shape: &str| -> Result<f64> {
        Ok(criterion::time(artifacts, what, shape)?.ns / MESSAGES)
    };
    let command = || "cargo xtask bench --only engine".to_owned();
    let send = message("engine-send", "base")?;
    let delivery = message("engine-delivery", "base")?;
    let rate = 2e9 / (send + delivery);
    let mut rows = vec![Row {
        measure: "Engine, record in → span out, a send and a delivery for each message".to_owned(),
        ours: format!(
            "{} spans/s (send {}, delivery {})",
            thousands(rate),
            micros(send),
            micros(delivery)
        ),
        others: "–".to_owned(),
        target: format!("≥ {} spans/s on one core", thousands(WANTED)),
        verdict: Target::AtLeast(WANTED).verdict(rate),
        command: command(),
    }];
    for (what, base, shapes) in [
        ("engine-send", send, &["connections", "topics"][..]),
        (
            "engine-delivery",
            delivery,
            &["connections", "topics", "groups", "batch"],
        ),
    ] {
        for shape in shapes {
            let cost = message(what, shape)?;
            rows.push(Row {
                measure: format!("A {} at 10× {shape}", what.trim_start_matches("engine-")),
                ours: format!("{} ({:+.0} %)", micros(cost), (cost / base - 1.0) * 100.0),
                others: format!("itself: {}", micros(base)),
                target: "at most 10 % more".to_owned(),
                verdict: Target::AtMost(FLAT * base).verdict(cost),
                command: command(),
            });
        }
    }
    Ok(rows)
}
