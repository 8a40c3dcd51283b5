//! docs/performance.md.

use std::fs;

use anyhow::{Context, Result};
use testbed::Artifacts;

use super::{
    machine,
    row::{Row, table},
};

/// What stands above the table, and below it.
const HEAD: &str = include_str!("head.md");
const NOTES: &str = include_str!("notes.md");

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(artifacts: &Artifacts, load: f64, rows: &[Row]) -> Result<()> {
    let path = artifacts.root.join("docs/performance.md");
    let text = format!(
        "{HEAD}\nMeasured on: {}; load of the machine before: {load:.1}.\n\n{}\n{NOTES}",
        machine::description(),
        table(rows)
    );
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
