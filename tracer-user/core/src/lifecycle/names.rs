//! Names of topics and groups: namespace, retry and dead-letter prefixes, and the topics that RocketMQ keeps
//! for itself (§3.3).
//!
//! ```text
//! orders                   the bare name
//! ns%orders                in a namespace
//! %RETRY%ns%group          a group's retry topic, the namespace behind the prefix
//! %DLQ%ns%group            its dead-letter topic
//! ```

use std::borrow::Cow;

use crate::wire::Header;

/// Prefix of a group's retry topic.
const RETRY: &str = "%RETRY%";
/// Prefix of a group's dead-letter topic.
const DEAD_LETTER: &str = "%DLQ%";

/// Which kind of topic a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Prefix {
    /// A topic, or a group's own name.
    None,
    /// `%RETRY%`: what is behind it is a consumer group.
    Retry,
    /// `%DLQ%`: what is behind it is a consumer group.
    DeadLetter,
}

/// A topic's or group's name in its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name<'a> {
    /// The kind of topic.
    pub(crate) prefix: Prefix,
    /// The namespace; empty where there is none.
    pub(crate) namespace: &'a str,
    /// Without prefix and namespace.
    pub(crate) bare: &'a str,
}

impl<'a> Name<'a> {
    /// Takes a name apart. A `%` at either end separates nothing.
    pub(crate) fn parse(full: &'a str) -> Name<'a> {
        let (prefix, rest) = if let Some(rest) = full.strip_prefix(RETRY) {
            (Prefix::Retry, rest)
        } else if let Some(rest) = full.strip_prefix(DEAD_LETTER) {
            (Prefix::DeadLetter, rest)
        } else {
            (Prefix::None, full)
        };
        match rest.split_once('%') {
            Some((namespace, bare)) if !namespace.is_empty() && !bare.is_empty() => Name {
                prefix,
                namespace,
                bare,
            },
            _ => Name {
                prefix,
                namespace: "",
                bare: rest,
            },
        }
    }

    /// What a user calls the topic: without namespace, with the dead-letter prefix.
    pub(crate) fn topic(self) -> Cow<'a, str> {
        match self.prefix {
            Prefix::None => self.bare.into(),
            Prefix::Retry => format!("{RETRY}{}", self.bare).into(),
            Prefix::DeadLetter => format!("{DEAD_LETTER}{}", self.bare).into(),
        }
    }
}

/// The consumer group whose retry topic this is, by its name on the wire.
pub(crate) fn retry_group(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY)
}

/// The namespace that newer clients name in a field of its own instead of in the topic (§2.1).
pub(crate) fn own_namespace(header: &Header) -> Option<Cow<'_, str>> {
    header.bool("nsd")?.then(|| header.field("ns"))?
}

/// Whether brokers and clients keep this topic for themselves: no message in it is the user's.
pub(crate) fn is_internal(topic: &str) -> bool {
    const NAMES: [&str; 7] = [
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "CHECKPOINT_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "DefaultHeartBeatSyncerTopic",
    ];
    NAMES.contains(&topic) || topic.starts_with("RMQ_SYS_") || topic.starts_with("rmq_sys_")
}

/// Whether administrators' tools look at messages under this group's name: mqadmin, the dashboard, the consumer monitor. What
/// they pull is shown to somebody, and consumed by nobody.
pub(crate) fn is_tool(group: &str) -> bool {
    ["TOOLS_CONSUMER", "__MONITOR_CONSUMER"].contains(&Name::parse(group).bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (full, prefix, namespace, bare, topic) in [
            ("orders", Prefix::None, "", "orders", "orders"),
            ("ns%orders", Prefix::None, "ns", "orders", "orders"),
            ("MQ_INST_1%a%b", Prefix::None, "MQ_INST_1", "a%b", "a%b"),
            ("%RETRY%group", Prefix::Retry, "", "group", "%RETRY%group"),
            ("%RETRY%ns%group", Prefix::Retry, "ns", "group", "%RETRY%group"),
            ("%DLQ%group", Prefix::DeadLetter, "", "group", "%DLQ%group"),
            ("%DLQ%ns%group", Prefix::DeadLetter, "ns", "group", "%DLQ%group"),
            ("%LMQ%a", Prefix::None, "", "%LMQ%a", "%LMQ%a"),
            ("ns%", Prefix::None, "", "ns%", "ns%"),
            ("", Prefix::None, "", "", ""),
        ] {
            let name = Name::parse(full);
            assert_eq!(
                name,
                Name {
                    prefix,
                    namespace,
                    bare
                },
                "{full}"
            );
            assert_eq!(name.topic(), topic, "{full}");
        }
    }

    #[test]
    fn internal_topics() {
        for topic in [
            "RMQ_SYS_TRACE_TOPIC",
            "rmq_sys_wheel_timer",
            "SCHEDULE_TOPIC_XXXX",
            "TBW102",
        ] {
            assert!(is_internal(topic), "{topic}");
        }
        for topic in ["orders", "%RETRY%group", "TBW1020", "my_RMQ_SYS_"] {
            assert!(!is_internal(topic), "{topic}");
        }
    }
}
