//! What the engine counts.

/// Running totals; they only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Connections recognised, the silent broker's ends included.
    pub connections: u64,
    /// Frames decoded, of every kind.
    pub frames: u64,
    /// Frames that are requests, one-way ones included.
    pub requests: u64,
    /// Frames that are one-way requests.
    pub one_way_requests: u64,
    /// Frames that are responses.
    pub responses: u64,
    /// Send requests of clients (codes 10, 310, 320), internal topics included.
    pub send_requests: u64,
    /// Pull requests of clients (codes 11, 361).
    pub pull_requests: u64,
    /// Pop requests of clients (code 200050).
    pub pop_requests: u64,
    /// Heartbeats of clients.
    pub heartbeats: u64,

    /// Messages that a broker said it stored, and those sent one-way; internal topics are not counted.
    pub messages_sent: u64,
    /// Messages in attempts that a broker answered with an error.
    pub messages_rejected: u64,
    /// Messages in attempts of which the outcome is not known: no answer, connection closed, answer lost.
    pub messages_unanswered: u64,
    /// Messages in pull and pop answers; internal topics are not counted, messages the client filters out are.
    pub messages_delivered: u64,
    /// Delivered messages without a span, since the client's own tag filter drops them.
    pub messages_filtered: u64,

    /// Spans made.
    pub spans: u64,
    /// Spans of operation `create`.
    pub create_spans: u64,
    /// Spans of operation `send`.
    pub send_spans: u64,
    /// Spans of operation `reply`.
    pub reply_spans: u64,
    /// Spans of operation `process`.
    pub process_spans: u64,
    /// Spans of operation `receive`.
    pub receive_spans: u64,
    /// Spans of what clients tell about messages that they were given: `ack`, `nack`, `extend`, `commit`.
    pub settle_spans: u64,
    /// Spans of transactions: `commit`, `rollback` and `check`.
    pub transaction_spans: u64,
    /// Process spans that end by a record of the consumer's own trace.
    pub ended_by_client_trace: u64,
    /// Spans of operation `recall`.
    pub recall_spans: u64,
    /// Process spans that end by an offset commit.
    pub ended_by_commit: u64,
    /// Process spans that end by a send-back.
    pub ended_by_send_back: u64,
    /// Process spans that end by an acknowledgement of a popped message.
    pub ended_by_ack: u64,
    /// Process spans of popped messages that the client gives back.
    pub ended_by_nack: u64,
    /// Process spans that end by the answer to a direct consumption.
    pub ended_by_answer: u64,
    /// Process spans without evidence of an end.
    pub ended_by_nothing: u64,
    /// Spans marked `rmqtrace.incomplete`.
    pub incomplete_spans: u64,

    /// Stream bytes that were seen, those that were left out on purpose included.
    pub seen_bytes: u64,
    /// Stream bytes that never came, in ranges between bytes that did or before a connection's end.
    pub gap_bytes: u64,
    /// Such ranges.
    pub gaps: u64,
    /// Times that a stream found a frame boundary again.
    pub resyncs: u64,
    /// Frames, headers or bodies that were not what the protocol says.
    pub malformed: u64,
    /// SubBefore and SubAfter records read.
    pub trace_records: u64,
    /// Bodies of clients' own trace that were not there, not whole, or compressed in a way that is not undone.
    pub unread_traces: u64,
    /// Frames whose request or response code has no name here: of a later version, or of somebody's own.
    pub unknown_codes: u64,
    /// Carried trace contexts that were not readable.
    pub malformed_contexts: u64,
    /// Ends of transactions whose half message is not known.
    pub unknown_transactions: u64,
    /// Answers whose request never came, with or without messages.
    pub unpaired_answers: u64,
    /// Pull answers without request that took their group from the next pull.
    pub adopted_answers: u64,
    /// Offset commits that moved backwards or beyond what was delivered here.
    pub offset_resets: u64,

    /// Connections forgotten because the table was full.
    pub evicted_connections: u64,
    /// Requests forgotten because a table was full or their correlation id was used again.
    pub evicted_requests: u64,
    /// Answers without request forgotten because a table was full.
    pub evicted_answers: u64,
    /// Consumer groups forgotten because the table was full.
    pub evicted_groups: u64,
    /// Queues forgotten because the table was full.
    pub evicted_queues: u64,
    /// Deliveries ended early because the table was full.
    pub evicted_deliveries: u64,
    /// Processes that serve clients, forgotten because there were too many.
    pub evicted_servers: u64,
}

impl Totals {
    /// What was forgotten since a table was full, by the name that the totals have for it.
    pub fn evictions(&self) -> [(&'static str, u64); 7] {
        [
            ("evicted_connections", self.evicted_connections),
            ("evicted_requests", self.evicted_requests),
            ("evicted_answers", self.evicted_answers),
            ("evicted_groups", self.evicted_groups),
            ("evicted_queues", self.evicted_queues),
            ("evicted_deliveries", self.evicted_deliveries),
            ("evicted_servers", self.evicted_servers),
        ]
    }
}
