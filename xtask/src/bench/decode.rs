//! Decoders: ours, the crate `rocketmq-protocol` of rocketmq-rust, and Java's own.

use std::{collections::HashMap, process::Command};

use anyhow::{Context, Result, bail};
use testbed::{Artifacts, artifacts::CLIENT_VERSIONS};

use super::{
    programs,
    row::{Row, Target, micros},
};

/// What is decoded: its name, what it is, and what may be spent on it: nanoseconds, and how many times faster than the
/// crate.
const FRAMES: [(&str, &str, f64, f64); 3] = [
    (
        "decode-send-binary",
        "Decode a send, binary header + properties",
        150.0,
        2.0,
    ),
    (
        "decode-send-json",
        "Decode a send, JSON header + properties",
        400.0,
        2.0,
    ),
    (
        "decode-pull-32",
        "Decode a pull's answer of 32 messages",
        3000.0,
        6.0,
    ),
];

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    let times = programs::times(artifacts, "decode")?;
    let allocations = allocations(artifacts)?;
    let java = java(artifacts)?;
    let mut rows = Vec::new();
    for (name, what, limit, faster) in FRAMES {
        let time = |decoder: &str| {
            let time = times.get(&format!("{name}/{decoder}"));
            time.with_context(|| format!("{decoder} was not measured for {name}"))
        };
        let (ours, theirs) = (time("rmqtrace")?, time("rocketmq-protocol")?);
        let javas = java
            .get(name)
            .with_context(|| format!("Java did not measure {name}"))?;
        let allocated = |decoder: &str| {
            allocations
                .get(&format!("{name}/{decoder}"))
                .copied()
                .with_context(|| format!("no allocations of {decoder} for {name}"))
        };
        let (own, others) = (allocated("rmqtrace")?, allocated("rocketmq-protocol")?);
        let command = "cargo xtask bench --only decode".to_owned();
        rows.push(Row {
            measure: what.to_owned(),
            ours: format!("{} ± {:.0} %", micros(ours.ns), ours.noise * 100.0),
            others: format!(
                "crate {} ({:.1}× ± {:.1}), Java {} ({:.1}×)",
                micros(theirs.ns),
                theirs.ratio,
                theirs.ratio_noise,
                micros(*javas),
                javas / ours.ns
            ),
            target: format!("≤ {}, ≥ {faster:.0}× the crate", micros(limit)),
            // both are asked for, so the one that is further away tells
            verdict: if limit / ours.ns < theirs.ratio / faster {
                Target::AtMost(limit).verdict(ours.ns)
            } else {
                Target::AtLeast(faster).verdict(theirs.ratio)
            },
            command: command.clone(),
        });
        let send = name != "decode-pull-32";
        rows.push(Row {
            measure: format!("{what}: allocations"),
            ours: own.to_string(),
            others: format!("crate {others}"),
            target: if send { "0".to_owned() } else { "–".to_owned() },
            verdict: match own {
                _ if !send => "–".to_owned(),
                0 => "met".to_owned(),
                more => format!("missed: {more} more"),
            },
            command,
        });
    }
    Ok(rows)
}

/// Calls of the allocator, by frame and decoder.
fn allocations(artifacts: &Artifacts) -> Result<HashMap<String, u64>> {
    let text = programs::output(artifacts, "allocations")?;
    let line = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Nanoseconds of Java's decoder, by frame.
fn java(artifacts: &Artifacts) -> Result<HashMap<String, f64>> {
    let frames = programs::frames(artifacts)?;
    let version = CLIENT_VERSIONS[0];
    let output = Command::new("java")
        .arg("-cp")
        .arg(format!(
            "{}/*:{}",
            artifacts.client_jars(version).display(),
            artifacts.java_classes(version).display()
        ))
        .arg("Decoding")
        .arg(&frames)
        .output()?;
    if !output.status.success() {
        bail!("Java's decoder: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (name, ns) = line.split_once(' ')?;
        Some((name.to_owned(), ns.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}
