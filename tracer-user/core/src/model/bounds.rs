//! How large a span may become on its way out.
//!
//! Names and values come from messages, so that an application decides how long they are. As OpenTelemetry's span
//! limits ask, a text is cut after a number of characters, never within one; attributes and links beyond their number are
//! left out and counted. Attributes that the user asked for in addition go first.

use std::borrow::Cow;

use super::{Attribute, Span, Value, attribute::MESSAGING_ROCKETMQ_PROPERTY_PREFIX};

/// Bounds of one span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Characters of a text.
    pub value_length: usize,
    /// Texts of a list.
    pub elements: usize,
    /// Attributes.
    pub attributes: usize,
    /// Links.
    pub links: usize,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Bounds = Bounds {
        value_length: usize::MAX,
        elements: usize::MAX,
        attributes: usize::MAX,
        links: usize::MAX,
    };

    /// Cuts what is too large. Returns what was cut.
    pub fn apply(&self, span: &mut Span) -> Cut {
        let mut cut = Cut::default();
        if span.attributes.len() > self.attributes {
            span.attributes
                .sort_by_key(|a| a.key.starts_with(MESSAGING_ROCKETMQ_PROPERTY_PREFIX));
            cut.attributes = (span.attributes.len() - self.attributes) as u32;
            span.attributes.truncate(self.attributes);
        }
        if span.links.len() > self.links {
            cut.links = (span.links.len() - self.links) as u32;
            span.links.truncate(self.links);
        }
        let links = span.links.iter_mut().flat_map(|link| &mut link.attributes);
        for attribute in span.attributes.iter_mut().chain(links) {
            cut.values += u32::from(self.shorten(attribute));
        }
        cut
    }

    /// Whether the value had to be cut.
    fn shorten(&self, attribute: &mut Attribute) -> bool {
        match &mut attribute.value {
            Value::Str(text) => match self.end_of(text) {
                Some(end) => {
                    text.to_mut().truncate(end);
                    true
                }
                None => false,
            },
            Value::Shared(text) => {
                let start = self
                    .end_of(text)
                    .and_then(|end| text.get(..end))
                    .map(str::to_owned);
                let cut = start.is_some();
                if let Some(start) = start {
                    attribute.value = Value::Str(Cow::Owned(start));
                }
                cut
            }
            Value::Strings(list) => {
                let mut cut = list.len() > self.elements;
                list.truncate(self.elements);
                for text in list {
                    if let Some(end) = self.end_of(text) {
                        text.truncate(end);
                        cut = true;
                    }
                }
                cut
            }
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => false,
        }
    }

    /// Where a text that is too long is to end, in bytes.
    fn end_of(&self, text: &str) -> Option<usize> {
        if text.len() <= self.value_length {
            return None;
        }
        text.char_indices().nth(self.value_length).map(|(at, _)| at)
    }
}

/// What was cut from a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// Attributes left out.
    pub attributes: u32,
    /// Links left out.
    pub links: u32,
    /// Values shortened.
    pub values: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shortened(value: impl Into<Value>, value_length: usize, elements: usize) -> (Value, bool) {
        let bounds = Bounds {
            value_length,
            elements,
            ..Bounds::NONE
        };
        let mut attribute = Attribute::new("k", value);
        let cut = bounds.shorten(&mut attribute);
        (attribute.value, cut)
    }

    #[test]
    fn texts_and_lists() {
        for (text, length, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("äöü", 3, "äöü"),
            ("äöüß", 3, "äöü"),
            ("a😀b", 2, "a😀"),
            ("abc", 0, ""),
        ] {
            let cut = expected != text;
            assert_eq!(shortened(text, length, 9), (expected.into(), cut), "{text}");
            let shared: std::sync::Arc<str> = text.into();
            let (value, was) = shortened(shared, length, 9);
            assert_eq!((value.as_str(), was), (Some(expected), cut), "{text}");
        }
        let list = |texts: &[&str]| Value::Strings(texts.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(shortened(list(&["aa", "b"]), 2, 2), (list(&["aa", "b"]), false));
        assert_eq!(
            shortened(list(&["aaa", "b", "c"]), 2, 2),
            (list(&["aa", "b"]), true)
        );
        assert_eq!(shortened(7_i64, 0, 0), (Value::Int(7), false));
    }

    proptest! {
        #[test]
        fn a_cut_text_is_a_prefix_of_the_asked_length(text: String, length in 0_usize..40) {
            let (value, cut) = shortened(text.clone(), length, 1);
            let left = value.as_str().unwrap();
            prop_assert!(text.starts_with(left));
            prop_assert_eq!(left.chars().count(), text.chars().count().min(length));
            prop_assert_eq!(cut, left.len() < text.len());
        }
    }
}
