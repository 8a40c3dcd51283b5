//! The properties of a message that mean something to a trace (§3.2).

use crate::{context::Carriers, wire::Properties};

/// The known properties of a message, as text. Where a name is repeated the last value counts, as it does for
/// Java, but for the message id (§3.4).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Known<'a> {
    /// UNIQ_KEY: of a stored batch message the first is its own.
    pub(crate) unique_key: Option<&'a str>,
    /// The last UNIQ_KEY, which a Java consumer takes for the message id.
    pub(crate) reported_key: Option<&'a str>,
    /// ORIGIN_MESSAGE_ID: the id of the first incarnation.
    pub(crate) origin_id: Option<&'a str>,
    /// DLQ_ORIGIN_MESSAGE_ID: likewise, in a dead-letter topic.
    pub(crate) dead_letter_origin_id: Option<&'a str>,
    /// RETRY_TOPIC: the topic that the message was first sent to.
    pub(crate) retry_topic: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) keys: Option<&'a str>,
    pub(crate) sharding_key: Option<&'a str>,
    pub(crate) correlation_id: Option<&'a str>,
    /// DELAY: level of a delayed message.
    delay_level: Option<&'a str>,
    /// TIMER_DELIVER_MS or `__STARTDELIVERTIME`: epoch milliseconds.
    deliver_at: Option<&'a str>,
    /// TIMER_DELAY_MS, TIMER_DELAY_SEC: relative.
    delay_ms: Option<&'a str>,
    delay_seconds: Option<&'a str>,
    /// TRACE_ON is `false`: the broker asks clients not to trace it.
    pub(crate) trace_off: bool,
    half: bool,
    priority: bool,
    lite: bool,
    /// Properties that may carry a trace context.
    pub(crate) carriers: Carriers<'a>,
}

impl<'a> Known<'a> {
    /// Reads the properties once.
    pub(crate) fn read(properties: &'a Properties) -> Known<'a> {
        let mut known = Known::default();
        // what is not UTF-8 is no value
        for (name, text) in properties.entries().texts() {
            // names are told apart by their length first
            let slot = match name.len() {
                4 => match name {
                    b"TAGS" => &mut known.tag,
                    b"KEYS" => &mut known.keys,
                    _ => continue,
                },
                5 if name == b"DELAY" => &mut known.delay_level,
                8 => match name {
                    b"UNIQ_KEY" => {
                        known.unique_key = known.unique_key.or(text);
                        &mut known.reported_key
                    }
                    b"TRAN_MSG" => {
                        known.half = text.map_or(known.half, |text| text.eq_ignore_ascii_case("true"));
                        continue;
                    }
                    b"TRACE_ON" => {
                        known.trace_off = text.map_or(known.trace_off, |text| text == "false");
                        continue;
                    }
                    _ => continue,
                },
                11 if name == b"RETRY_TOPIC" => &mut known.retry_topic,
                12.. => match name {
                    b"ORIGIN_MESSAGE_ID" => &mut known.origin_id,
                    b"DLQ_ORIGIN_MESSAGE_ID" => &mut known.dead_letter_origin_id,
                    // Go's name for it means nothing to the broker, but the same to its producer, which picks queues by it
                    b"__SHARDINGKEY" | b"SHARDING_KEY" => &mut known.sharding_key,
                    b"CORRELATION_ID" => &mut known.correlation_id,
                    b"TIMER_DELIVER_MS" | b"__STARTDELIVERTIME" => &mut known.deliver_at,
                    b"TIMER_DELAY_MS" => &mut known.delay_ms,
                    b"TIMER_DELAY_SEC" => &mut known.delay_seconds,
                    b"_SYS_MSG_PRIORITY_" => {
                        known.priority |= text.is_some();
                        continue;
                    }
                    b"__LITE_TOPIC" => {
                        known.lite |= text.is_some();
                        continue;
                    }
                    _ => {
                        known.carriers.note(name, text);
                        continue;
                    }
                },
                _ => {
                    known.carriers.note(name, text);
                    continue;
                }
            };
            *slot = text.or(*slot);
        }
        known
    }

    /// DELAY as a number.
    pub(crate) fn delay_level(&self) -> Option<i64> {
        self.delay_level?.parse().ok()
    }

    /// When a timed message is to be delivered, epoch milliseconds. Relative delays count from
    /// `born_timestamp`.
    pub(crate) fn delivery_timestamp(&self, born_timestamp: Option<i64>) -> Option<i64> {
        if let Some(at) = self.deliver_at {
            return at.parse().ok();
        }
        let delay: i64 = match (self.delay_ms, self.delay_seconds) {
            (Some(ms), _) => ms.parse().ok()?,
            (None, Some(seconds)) => seconds.parse::<i64>().ok()?.checked_mul(1000)?,
            (None, None) => return None,
        };
        born_timestamp?.checked_add(delay)
    }

    /// The broker stores the message somewhere else before its own topic, so that the position and the offset
    /// message id in the answer to a send are not those of the delivered message (§4.3).
    pub(crate) fn is_deferred(&self, sys_flag: i64) -> bool {
        matches!(self.kind(sys_flag), "transaction" | "delay")
    }

    /// The message waits for the end of its transaction (§3.3).
    pub(crate) fn is_half(&self, sys_flag: i64) -> bool {
        self.half || sys_flag & 0xC == 4
    }

    /// `messaging.rocketmq.message.type` (§3.3). The transaction bits of `sys_flag` also tell (§4.2), since
    /// TRAN_MSG goes with the commit.
    pub(crate) fn kind(&self, sys_flag: i64) -> &'static str {
        let delayed = self
            .delay_level
            .or(self.deliver_at)
            .or(self.delay_ms)
            .or(self.delay_seconds);
        if self.half || sys_flag & 0xC != 0 {
            "transaction"
        } else if delayed.is_some() {
            "delay"
        } else if self.sharding_key.is_some() {
            "fifo"
        } else if self.priority {
            "priority"
        } else if self.lite {
            "lite"
        } else {
            "normal"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, check: impl FnOnce(Known<'_>) -> T) -> T {
        let raw = text.replace('=', "\u{1}").replace(';', "\u{2}");
        check(Known::read(&Properties(raw.into_bytes().into())))
    }

    #[test]
    fn kinds() {
        for (text, sys_flag, kind) in [
            ("TAGS=a", 0, "normal"),
            ("TRAN_MSG=true;DELAY=3", 0, "transaction"),
            ("TRAN_MSG=false", 0, "normal"),
            ("TAGS=a", 8, "transaction"),
            ("DELAY=3;__SHARDINGKEY=k", 0, "delay"),
            ("TIMER_DELAY_SEC=3", 0, "delay"),
            ("__STARTDELIVERTIME=3", 0, "delay"),
            ("__SHARDINGKEY=k", 0, "fifo"),
            ("SHARDING_KEY=k", 0, "fifo"),
            ("_SYS_MSG_PRIORITY_=1", 0, "priority"),
            ("__LITE_TOPIC=1", 1, "lite"),
        ] {
            assert_eq!(with(text, |known| known.kind(sys_flag)), kind, "{text}");
        }
    }

    #[test]
    fn a_batch_messages_own_key_comes_first() {
        let keys = with("UNIQ_KEY=own;TAGS=a;UNIQ_KEY=outer", |known| {
            (
                known.unique_key.map(str::to_owned),
                known.reported_key.map(str::to_owned),
            )
        });
        assert_eq!(keys, (Some("own".to_owned()), Some("outer".to_owned())));
    }

    #[test]
    fn delivery_times() {
        for (text, born, at) in [
            ("TIMER_DELIVER_MS=1234", None, Some(1234)),
            ("TIMER_DELAY_MS=5", Some(1000), Some(1005)),
            ("TIMER_DELAY_SEC=5", Some(1000), Some(6000)),
            ("TIMER_DELAY_SEC=5", None, None),
            ("TIMER_DELAY_SEC=9223372036854775807", Some(1), None),
            ("DELAY=5", Some(1), None),
        ] {
            assert_eq!(with(text, |known| known.delivery_timestamp(born)), at, "{text}");
        }
    }
}
