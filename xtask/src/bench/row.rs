//! A row of the table: what was measured, what is wanted of it, and whether it is.

use std::fmt::Write;

/// A figure of ours beside those of others.
pub(super) struct Row {
    /// What is measured.
    pub(super) measure: String,
    /// Ours.
    pub(super) ours: String,
    /// The others', each with its name.
    pub(super) others: String,
    /// What is wanted.
    pub(super) target: String,
    /// Whether it is met, or by how much it is missed.
    pub(super) verdict: String,
    /// What repeats it.
    pub(super) command: String,
}

impl Row {
    /// What could not be measured.
    pub(super) fn failed(bench: &str) -> Row {
        Row {
            measure: format!("`{bench}`"),
            ours: "not measured".to_owned(),
            others: "–".to_owned(),
            target: "–".to_owned(),
            verdict: "missed".to_owned(),
            command: format!("cargo xtask bench --only {bench}"),
        }
    }
}

/// A quantity that is to be at most, or at least, so much.
#[derive(Clone, Copy)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// Whether `value` meets it, or by how many per cent it does not.
    pub(super) fn verdict(self, value: f64) -> String {
        let over = match self {
            Target::AtMost(limit) => value / limit - 1.0,
            Target::AtLeast(limit) => limit / value - 1.0,
        };
        match self {
            _ if over <= 0.0 => "met".to_owned(),
            Target::AtMost(_) => format!("missed: {:.0} % more", over * 100.0),
            Target::AtLeast(limit) => format!("missed: {:.0} % less", (1.0 - value / limit) * 100.0),
        }
    }
}

/// The median; of an even number the mean of the two in the middle, of none zero.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    (at(values.len() / 2) + at(values.len().saturating_sub(1) / 2)) / 2.0
}

/// Microseconds from nanoseconds, with two digits behind the point where they matter.
pub(super) fn micros(ns: f64) -> String {
    let us = ns / 1000.0;
    if us < 10.0 {
        format!("{us:.2} µs")
    } else {
        format!("{us:.1} µs")
    }
}

/// A number with commas between thousands.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The rows as a Markdown table.
pub(super) fn table(rows: &[Row]) -> String {
    let mut out =
        "| Measure | rmqtrace | Others | Target | Result | Repeat |\n|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let verdict = if row.verdict.starts_with("missed") {
            format!("**{}**", row.verdict)
        } else {
            row.verdict.clone()
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {verdict} | `{}` |",
            row.measure, row.ours, row.others, row.target, row.command
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        assert_eq!(Target::AtMost(2.0).verdict(2.0), "met");
        assert_eq!(Target::AtMost(2.0).verdict(3.0), "missed: 50 % more");
        assert_eq!(Target::AtLeast(400.0).verdict(500.0), "met");
        assert_eq!(Target::AtLeast(400.0).verdict(300.0), "missed: 25 % less");
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn numbers() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(
            (micros(450.0), micros(34_300.0)),
            ("0.45 µs".into(), "34.3 µs".into())
        );
    }
}
