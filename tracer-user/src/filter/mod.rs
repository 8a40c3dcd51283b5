//! What is traced: by process before anything is decoded, by topic, group and rate afterwards.

mod message;
mod process;
mod rate;

pub(crate) use message::MessageFilter;
pub(crate) use process::{ProcessFilter, ServiceRules, Verdict};
pub(crate) use rate::RateLimits;

use globset::{GlobSet, GlobSetBuilder};

use crate::config::value::Pattern;

/// Patterns of one kind: those that include, where there are any, and those that exclude, which win.
#[derive(Clone, Debug)]
struct Patterns {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Patterns {
    fn new(include: &[Pattern], exclude: &[Pattern]) -> Result<Patterns, globset::Error> {
        let include = if include.is_empty() {
            None
        } else {
            Some(set(include)?)
        };
        Ok(Patterns {
            include,
            exclude: set(exclude)?,
        })
    }

    /// Neither includes nor excludes anything.
    fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    /// Whether something with these names passes; without a name it passes where nothing must be included.
    fn pass<'a>(&self, names: impl IntoIterator<Item = &'a str> + Clone) -> bool {
        let any = |set: &GlobSet| names.clone().into_iter().any(|name| set.is_match(name));
        !any(&self.exclude) && self.include.as_ref().is_none_or(any)
    }
}

fn set(patterns: &[Pattern]) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(pattern.glob().clone());
    }
    builder.build()
}
