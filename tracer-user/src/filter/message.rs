//! The filter by topic and group, on finished spans.

use tracer_core::model::Span;

use super::Patterns;
use crate::config::schema::Filter;

/// Which topics and groups.
#[derive(Clone, Debug)]
pub(crate) struct MessageFilter {
    topics: Patterns,
    groups: Patterns,
}

impl MessageFilter {
    /// Compiles the settings.
    pub(crate) fn new(filter: &Filter) -> Result<MessageFilter, globset::Error> {
        Ok(MessageFilter {
            topics: Patterns::new(&filter.topics, &filter.exclude_topics)?,
            groups: Patterns::new(&filter.groups, &filter.exclude_groups)?,
        })
    }

    /// Whether the span is wanted. Its topic is the one that the user knows: a retry goes by its original topic, a
    /// dead-letter delivery by `%DLQ%` and the group.
    pub(crate) fn allows(&self, span: &Span) -> bool {
        self.topics.pass([&*span.topic]) && self.groups.pass(span.group.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(settings: &str, topic: &str, group: Option<&str>) -> bool {
        let filter: Filter = serde_saphyr::from_str(settings).unwrap();
        MessageFilter::new(&filter)
            .unwrap()
            .allows(&crate::export::sample::span(topic, group))
    }

    /// Settings, topic, group, whether it passes.
    #[test]
    fn topics_and_groups() {
        for (settings, topic, group, expected) in [
            ("{}", "a", None, true),
            ("{topics: ['a*']}", "a", None, true),
            ("{topics: ['a*']}", "ab", Some("g"), true),
            ("{topics: ['a*']}", "ba", None, false),
            ("{topics: [x, 'a*'], exclude_topics: ['ab']}", "ab", None, false),
            ("{exclude_topics: ['ab*']}", "a", None, true),
            ("{groups: [g]}", "a", Some("g"), true),
            ("{groups: [g]}", "a", Some("gg"), false),
            ("{groups: [g]}", "a", None, false),
            ("{exclude_groups: ['g*']}", "a", Some("gg"), false),
            ("{exclude_groups: ['g*']}", "a", None, true),
            ("{topics: ['{a,b}/?']}", "b/c", None, true),
        ] {
            assert_eq!(
                allows(settings, topic, group),
                expected,
                "{settings} {topic} {group:?}"
            );
        }
    }
}
