//! What the program is told: lines of a verb and `key=value` arguments.

use std::collections::HashMap;

use anyhow::{Context, Result};

/// One line of standard input. Values are URL-encoded.
#[derive(Clone, Debug)]
pub struct Command {
    pub verb: String,
    arguments: HashMap<String, String>,
}

impl Command {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Command> {
        let mut words = line.split_whitespace();
        let verb = words.next().context("empty command")?.to_owned();
        let arguments = words
            .map(|word| {
                let (key, value) = word
                    .split_once('=')
                    .with_context(|| format!("{word:?} is not key=value"))?;
                Ok((key.to_owned(), decoded(value)))
            })
            .collect::<Result<_>>()?;
        Ok(Command { verb, arguments })
    }

    /// An argument that must be there.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.optional(key)
            .with_context(|| format!("{} needs {key}=…", self.verb))
    }

    /// An argument that may be missing.
    pub fn optional(&self, key: &str) -> Option<&str> {
        self.arguments.get(key).map(String::as_str)
    }

    /// A whole number.
    pub fn number(&self, key: &str, otherwise: u64) -> Result<u64> {
        self.optional(key).map_or(Ok(otherwise), |value| {
            value.parse().with_context(|| format!("{key}={value}"))
        })
    }

    /// Every argument whose name begins with `prefix`, by the rest of its name.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.arguments
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }
}

/// `%41` and `+` become what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let hex = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
