//! Names that many spans share.

use std::{collections::HashSet, sync::Arc};

use super::limits;

/// Gives equal texts the same allocation, for a bounded number of texts.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<Arc<str>, foldhash::fast::RandomState>);

impl Names {
    /// The shared form of `text`.
    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        if self.0.len() < limits::NAMES {
            self.0.insert(new.clone());
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_shared() {
        let mut names = Names::default();
        let (a, b) = (names.get("orders"), names.get("orders"));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(&*names.get("other"), "other");
    }
}
