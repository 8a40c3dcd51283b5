//! The last line of a run: what was seen, what became of it, and what was lost by which cause.

use tracer_abi::Counter;
use tracer_core::engine::Totals as EngineTotals;

use super::pipeline::Counts;
use crate::{capture::KernelCounters, config::schema::LogFormat, export::queue::Stats};

/// Bytes of judged connections that user space did not get, by cause. What is skipped on purpose
/// (message bodies) is not among them.
pub(super) const LOST_BYTES: [Counter; 7] = [
    Counter::RingFullBytes,
    Counter::NoBufferBytes,
    Counter::UnreadBytes,
    Counter::NoSlotBytes,
    Counter::SkippedBytes,
    Counter::LostPlaceBytes,
    Counter::UnplacedBytes,
];

/// Where records came from, and what was counted there.
#[derive(Debug)]
pub(crate) enum Source {
    /// The kernel side.
    Kernel(KernelCounters),
    /// Capture files.
    Files(tracer_pcap::Totals),
}

impl Source {
    /// Bytes that were lost.
    fn bytes_lost(&self) -> u64 {
        match self {
            Source::Kernel(kernel) => LOST_BYTES.iter().map(|c| kernel.get(*c)).sum(),
            Source::Files(files) => files.lost_bytes,
        }
    }

    /// The numbers that are always told.
    fn main(&self) -> Vec<(&'static str, u64)> {
        match self {
            Source::Kernel(kernel) => vec![
                ("records", kernel.get(Counter::Records)),
                ("ring_full", kernel.get(Counter::RingFull)),
                ("connections_judged", kernel.get(Counter::Judged)),
            ],
            Source::Files(files) => vec![
                ("files", files.files),
                ("packets", files.packets),
                ("packets_skipped", files.skipped()),
            ],
        }
    }

    /// The further ones.
    fn more(&self) -> Vec<(&'static str, u64)> {
        match self {
            Source::Kernel(kernel) => {
                let misses = ("recursion_misses", kernel.recursion_misses);
                let counters = kernel.values.iter().map(|(c, n)| (c.name(), *n));
                std::iter::once(misses).chain(counters).collect()
            }
            Source::Files(files) => vec![
                ("files_damaged", files.damaged_files),
                ("packets_recorded", files.recorded_packets),
                ("packets_late", files.late_packets),
                ("packets_stray", files.stray_packets),
                ("skipped_link_type", files.skipped_link),
                ("skipped_not_ip", files.skipped_not_ip),
                ("skipped_not_tcp", files.skipped_not_tcp),
                ("skipped_malformed", files.skipped_malformed),
                ("skipped_no_interface", files.skipped_no_interface),
                ("fragments", files.fragments),
                ("fragments_lost", files.fragments_lost),
                ("tcp_connections", files.tcp_connections),
                ("tcp_connections_evicted", files.evicted_connections),
                ("losses", files.losses),
                ("cut_bytes", files.cut_bytes),
                ("repeated_bytes", files.repeated_bytes),
            ],
        }
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Where records came from.
    pub(crate) source: Source,
    /// The engine's.
    pub(crate) engine: EngineTotals,
    /// The pipeline's.
    pub(crate) pipeline: Counts,
    /// Those of each output.
    pub(crate) outputs: Vec<(&'static str, Stats)>,
}

impl Totals {
    /// Spans that were not exported, over all outputs.
    pub(crate) fn spans_lost(&self) -> u64 {
        self.outputs.iter().map(|(_, stats)| stats.total_dropped()).sum()
    }

    /// Names and numbers: the main ones always, then every further one that is not zero.
    fn numbers(&self) -> Vec<(String, u64)> {
        let engine = &self.engine;
        let main = [
            ("connections", engine.connections),
            ("frames", engine.frames),
            ("messages_sent", engine.messages_sent),
            ("messages_delivered", engine.messages_delivered),
            ("spans", engine.spans),
            ("spans_filtered", self.pipeline.filtered_spans),
            ("spans_lost", self.spans_lost()),
            ("bytes_lost", self.source.bytes_lost()),
        ]
        .into_iter()
        .chain(self.source.main())
        .collect::<Vec<_>>();
        let more = [
            ("messages_rejected", engine.messages_rejected),
            ("messages_unanswered", engine.messages_unanswered),
            ("messages_filtered_by_client", engine.messages_filtered),
            ("receive_spans", engine.receive_spans),
            ("settle_spans", engine.settle_spans),
            ("transaction_spans", engine.transaction_spans),
            ("reply_spans", engine.reply_spans),
            ("recall_spans", engine.recall_spans),
            ("ended_by_client_trace", engine.ended_by_client_trace),
            ("trace_records", engine.trace_records),
            ("traces_unread", engine.unread_traces),
            ("unknown_transactions", engine.unknown_transactions),
            ("spans_incomplete", engine.incomplete_spans),
            ("seen_bytes", engine.seen_bytes),
            ("gaps", engine.gaps),
            ("gap_bytes", engine.gap_bytes),
            ("resyncs", engine.resyncs),
            ("malformed", engine.malformed),
            ("malformed_contexts", engine.malformed_contexts),
            ("unknown_codes", engine.unknown_codes),
            ("unpaired_answers", engine.unpaired_answers),
            ("tls_connections", self.pipeline.tls_connections),
            ("grpc_connections", self.pipeline.grpc_connections),
            ("spans_unsampled", self.pipeline.unsampled_spans),
            ("spans_rate_limited", self.pipeline.rate_limited_spans),
            ("spans_of_instrumented", self.pipeline.instrumented_spans),
            ("values_cut", self.pipeline.cut_values),
            ("attributes_dropped", self.pipeline.dropped_attributes),
            ("links_dropped", self.pipeline.dropped_links),
            ("records_bad", self.pipeline.bad_records),
            ("records_filtered", self.pipeline.filtered_records),
        ];
        let mut numbers: Vec<(String, u64)> = main.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        for (output, stats) in &self.outputs {
            numbers.push((format!("{output}.exported"), stats.exported));
            numbers.extend(
                stats
                    .dropped()
                    .map(|(cause, n)| (format!("{output}.lost.{}", cause.name()), n)),
            );
        }
        let known = |name: &str| main.iter().any(|(known, _)| *known == name);
        let source = self.source.more().into_iter().filter(|(name, _)| !known(name));
        let further = more.into_iter().chain(engine.evictions()).chain(source);
        let further = further.filter(|(_, n)| *n > 0);
        numbers.extend(further.map(|(name, n)| (name.to_owned(), n)));
        numbers
    }

    /// One line, whatever the log's level: it is the run's result.
    pub(crate) fn line(&self, format: LogFormat) -> String {
        let numbers = self.numbers();
        match format {
            LogFormat::Text => {
                let words: Vec<String> = numbers.iter().map(|(name, n)| format!("{name}={n}")).collect();
                format!("rmqtrace: totals: {}", words.join(" "))
            }
            LogFormat::Json => {
                let mut fields: serde_json::Map<_, _> =
                    [("message".to_owned(), "totals".into())].into_iter().collect();
                fields.extend(numbers.into_iter().map(|(name, n)| (name, n.into())));
                let timestamp = humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string();
                serde_json::json!({"timestamp": timestamp, "level": "INFO", "fields": fields, "target": "rmqtrace"})
                    .to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::queue::{Cause, Counters};

    fn totals() -> Totals {
        let values = Counter::ALL.iter().map(|c| (*c, 0));
        let mut kernel = KernelCounters {
            values: values.collect(),
            recursion_misses: 0,
        };
        for (counter, value) in &mut kernel.values {
            *value = match counter {
                Counter::Records => 70,
                Counter::RingFull => 2,
                Counter::RingFullBytes => 300,
                Counter::SkippedBytes => 5,
                _ => 0,
            };
        }
        let otlp = Counters::default();
        otlp.exported(9);
        otlp.dropped(Cause::QueueFull, 1);
        Totals {
            source: Source::Kernel(kernel),
            engine: EngineTotals {
                connections: 2,
                frames: 40,
                spans: 10,
                gaps: 1,
                ..EngineTotals::default()
            },
            pipeline: Counts::default(),
            outputs: vec![("otlp", otlp.snapshot())],
        }
    }

    #[test]
    fn as_text() {
        insta::assert_snapshot!(totals().line(LogFormat::Text), @"rmqtrace: totals: connections=2 frames=40 messages_sent=0 messages_delivered=0 spans=10 spans_filtered=0 spans_lost=1 bytes_lost=305 records=70 ring_full=2 connections_judged=0 otlp.exported=9 otlp.lost.queue_full=1 gaps=1 ring_full_bytes=300 skipped_bytes=5");
    }

    #[test]
    fn as_json() {
        let line: serde_json::Value = serde_json::from_str(&totals().line(LogFormat::Json)).unwrap();
        assert_eq!(line["fields"]["message"], "totals");
        assert_eq!(line["fields"]["bytes_lost"], 305);
        assert_eq!(line["fields"]["otlp.lost.queue_full"], 1);
    }
}
