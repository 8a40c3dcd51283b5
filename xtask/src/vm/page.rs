//! docs/kernels.md.

use std::{collections::BTreeMap, fmt::Write, fs};

use anyhow::{Context, Result};
use testbed::Artifacts;

use super::{
    Found,
    clock::Steps,
    verdict::{Row, VERIFIER_LIMIT, VERIFIER_PERCENT},
    ways::Course,
};
use crate::arch::Arch;

/// What stands above the tables.
const HEAD: &str = include_str!("page.md");
/// What stands above the last one.
const WAYS: &str = include_str!("ways.md");

/// And what stands above the very last.
const STEPS: &str = include_str!("steps.md");

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(artifacts: &Artifacts, found: &Found) -> Result<()> {
    let path = artifacts.root.join("docs/kernels.md");
    fs::write(&path, text(found)).with_context(|| format!("writing {}", path.display()))
}

fn text(found: &Found) -> String {
    let (rows, courses) = (&found.rows, &found.courses);
    let mut page = HEAD.to_owned();
    page.push_str("| Kernel | Asked for | Taken | Load | Skipped runs | Bytes lost | Result |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let load = if row.programs.is_empty() {
            String::new()
        } else {
            format!("{} ms", row.load_milliseconds())
        };
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {load} | {} | {} | {} |",
            name(row),
            row.asked,
            row.strategy
                .as_deref()
                .map_or_else(String::new, |s| format!("`{s}`")),
            row.missed,
            row.lost,
            result(row)
        );
    }
    let _ = write!(
        page,
        "\n## What the verifier walks through\n\nInstructions, of {VERIFIER_LIMIT}; more than {VERIFIER_PERCENT} % fails.\n\n"
    );
    page.push_str(&verified(rows));
    page.push('\n');
    page.push_str(WAYS);
    page.push_str(&ways(courses));
    page.push('\n');
    page.push_str(STEPS);
    page.push_str(&steps(&found.steps));
    page
}

/// A row for each way of moving bytes, a column for each kernel and strategy.
fn ways(courses: &[Course]) -> String {
    let mut table = String::from("| Way |");
    for course in courses {
        let _ = write!(table, " {}, `{}` |", package(&course.kernel), course.strategy);
    }
    table.push_str("\n|---|");
    courses.iter().for_each(|_| table.push_str("---|"));
    table.push('\n');
    let names = courses.first().map_or(&[][..], |course| &course.ways);
    for name in names.iter().map(|way| &way.name) {
        let _ = write!(table, "| {name} |");
        for course in courses {
            let way = course.ways.iter().find(|way| way.name == *name);
            let result = way.map_or("", |way| &way.result);
            let bad = way.is_some_and(|way| !way.wrong.is_empty());
            let _ = if bad {
                write!(table, " **{result}** |")
            } else {
                write!(table, " {result} |")
            };
        }
        table.push('\n');
    }
    table
}

/// A row for each kernel.
fn steps(steps: &[Steps]) -> String {
    let mut table =
        String::from("| Kernel | Strategy | Sends between the steps | Result |\n|---|---|---|---|\n");
    for found in steps {
        let counts: Vec<String> = found.spans.iter().map(usize::to_string).collect();
        let _ = writeln!(
            table,
            "| {} | `{}` | {} | {} |",
            package(&found.kernel),
            found.strategy,
            counts.join(", "),
            if found.is_good() {
                "right"
            } else {
                "**wrong times**"
            }
        );
    }
    table
}

/// The name of a package without what all have, and what machines it is for if that is not x86-64.
fn package(name: &str) -> String {
    let release = name.split("-cloud").next().unwrap_or(name);
    let release = release
        .replace("linux-image-", "Debian ")
        .replace("linux-binary-", "Debian ");
    match name.rsplit_once('_') {
        Some((_, arch)) if arch != Arch::X86_64.debian() => format!("{release} {arch}"),
        _ => release,
    }
}

/// The package, its version, and what machines it is for if that is not x86-64.
fn name(row: &Row) -> String {
    match row.kernel.split('_').collect::<Vec<_>>()[..] {
        [_, version, _] => format!("{} ({version})", package(&row.kernel)),
        _ if row.release.is_empty() => row.kernel.clone(),
        _ => format!("{} ({})", row.kernel, row.release),
    }
    .replace("linux-image-", "Debian ")
    .replace("linux-binary-", "Debian ")
}

fn result(row: &Row) -> String {
    if row.is_good() {
        row.result.clone()
    } else {
        format!("**{}**", row.result)
    }
}

/// A row for each program, a column for each kernel.
fn verified(rows: &[Row]) -> String {
    let mut kernels: Vec<String> = Vec::new();
    let mut programs: BTreeMap<(String, String), BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.strategy.is_some()) {
        let kernel = name(row);
        if !kernels.contains(&kernel) {
            kernels.push(kernel.clone());
        }
        for program in &row.programs {
            let key = (program.name.clone(), program.event.clone());
            programs
                .entry(key)
                .or_default()
                .insert(kernel.clone(), program.verified);
        }
    }
    let mut table = String::from("| Program | At |");
    kernels.iter().for_each(|kernel| {
        let _ = write!(table, " {kernel} |");
    });
    table.push_str("\n|---|---|");
    kernels.iter().for_each(|_| table.push_str("---|"));
    table.push('\n');
    for ((program, event), found) in &programs {
        let _ = write!(table, "| `{program}` | {event} |");
        for kernel in &kernels {
            let cell = found.get(kernel).map_or_else(String::new, u64::to_string);
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}
