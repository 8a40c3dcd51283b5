//! The engine: spans a second on one core, and what a message costs where there is ten times as much of everything.

use anyhow::{Context, Result};
use testbed::Artifacts;

use super::{
    programs,
    row::{Row, Target, micros, thousands},
};

/// Spans a second that are wanted.
const WANTED: f64 = 400_000.0;
/// How much more a message may cost where there is ten times as much.
const FLAT: f64 = 1.1;

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let times = programs::times(artifacts, "engine")?;
    let message = |what: &str, shape: &str| {
        let time = times.get(&format!("{what}/{shape}"));
        time.with_context(|| format!("{what} was not measured with {shape}"))
    };
    let command = || "cargo xtask bench --only engine".to_owned();
    let send = message("engine-send", "base")?;
    let delivery = message("engine-delivery", "base")?;
    let rate = 2e9 / (send.ns + delivery.ns);
    let noise = (send.ns * send.noise + delivery.ns * delivery.noise) / (send.ns + delivery.ns);
    let mut rows = vec![Row {
        measure: "Engine, record in → span out, a send and a delivery for each message".to_owned(),
        ours: format!(
            "{} spans/s ± {:.0} % (send {}, delivery {})",
            thousands(rate),
            noise * 100.0,
            micros(send.ns),
            micros(delivery.ns)
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
                ours: format!(
                    "{:+.1} % ± {:.1} ({})",
                    (cost.ratio - 1.0) * 100.0,
                    cost.ratio_noise * 100.0,
                    micros(cost.ns)
                ),
                others: format!("itself: {}", micros(base.ns)),
                target: "at most 10 % more".to_owned(),
                verdict: Target::AtMost(FLAT).verdict(cost.ratio),
                command: command(),
            });
        }
    }
    Ok(rows)
}
