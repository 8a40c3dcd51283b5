//! What is wrong with the configuration: where, what, and what to do.

use std::fmt;

/// A setting that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) struct ConfigError {
    /// File with line and column, environment variable, or flag.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) problem: String,
}

impl ConfigError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// The known name that `name` is most like, where one is like it.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase()), k));
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// `x` is none of the words; which they are, and which was likely meant.
pub(crate) fn not_one_of(found: &str, words: &[&str]) -> String {
    let list = words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest(found, words.iter().copied()) {
        Some(word) => format!("`{found}` is not one of {list}; did you mean `{word}`?"),
        None => format!("`{found}` is not one of {list}"),
    }
}

/// There is no such key; which was likely meant.
pub(crate) fn unknown_key<'a>(found: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(found, known.clone()) {
        Some(key) => format!("unknown key `{found}`; did you mean `{key}`?"),
        None => {
            let list = known
                .into_iter()
                .map(|k| format!("`{k}`"))
                .collect::<Vec<_>>()
                .join(", ");
            format!("unknown key `{found}`; known here: {list}")
        }
    }
}
