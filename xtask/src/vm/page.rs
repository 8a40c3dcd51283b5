//! docs/kernels.md.

use std::{collections::BTreeMap, fmt::Write, fs};

use anyhow::{Context, Result};
use testbed::Artifacts;

use super::verdict::{Row, VERIFIER_LIMIT, VERIFIER_PERCENT};

/// What stands above the tables.
const HEAD: &str = include_str!("page.md");

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(artifacts: &Artifacts, rows: &[Row]) -> Result<()> {
    let path = artifacts.root.join("docs/kernels.md");
    fs::write(&path, text(rows)).with_context(|| format!("writing {}", path.display()))
}

fn text(rows: &[Row]) -> String {
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
    page
}

/// The package and its version.
fn name(row: &Row) -> String {
    match row.kernel.split('_').collect::<Vec<_>>()[..] {
        [_, version, _] => format!(
            "{} ({version})",
            row.kernel.split("-cloud").next().unwrap_or_default()
        ),
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
