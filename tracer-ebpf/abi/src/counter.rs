//! The kernel side's counters: one per-CPU array, indexed by [`Counter`].

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $text:literal;)*) => {
        /// Index of a counter in the kernel side's per-CPU array.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $name = $index,)* }

        impl Counter {
            /// All counters, in the order of their index.
            pub const ALL: &'static [Counter] = &[$(Counter::$name),*];

            /// Stable name for logs, totals and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Connections judged to be RocketMQ.
    Judged = 0, "connections_judged";
    /// Connections judged to be something else.
    Foreign = 1, "connections_foreign";
    /// Records put into the ring buffer.
    Records = 2, "records";
    /// Stream bytes that those records stand for.
    Bytes = 3, "bytes";
    /// Stream bytes that were copied into records.
    CopiedBytes = 4, "copied_bytes";
    /// Records that found the ring buffer full.
    RingFull = 5, "ring_full";
    /// Stream bytes lost because the ring buffer was full.
    RingFullBytes = 6, "ring_full_bytes";
    /// Operations of judged connections without a readable user buffer (io_uring, splice, sendfile, …).
    NoBuffer = 7, "no_buffer";
    /// Stream bytes of those operations, declared as ranges without bytes.
    NoBufferBytes = 8, "no_buffer_bytes";
    /// User memory that could not be read.
    UserFault = 9, "user_fault";
    /// Stream bytes behind such faults, behind a head that is none, or over the pieces of one call, declared as
    /// ranges without bytes.
    UnreadBytes = 10, "unread_bytes";
    /// Operations that found no free scratch slot.
    NoSlot = 11, "no_slot";
    /// Stream bytes of those operations.
    NoSlotBytes = 12, "no_slot_bytes";
    /// Stream bytes of judged connections before the first frame of their direction, declared as ranges without bytes:
    /// what is left of a frame that was under way when the tracer came, or what could not be read before the verdict.
    UnplacedBytes = 13, "unplaced_bytes";
    /// Stream bytes that went past the hooks, found by a jump of the TCP sequence number, declared as ranges without
    /// bytes.
    SkippedBytes = 14, "skipped_bytes";
    /// Operations on judged connections of processes that the filter denies.
    Filtered = 15, "filtered";
    /// Operations on sockets for which the kernel gave no storage.
    NoStorage = 16, "no_storage";
    /// Bytes of held prefixes that were given up before the connection was judged.
    PrefixBytes = 17, "unjudged_bytes";
    /// Stream bytes after the place in the stream was lost and before the next frame was found, declared as ranges
    /// without bytes.
    LostPlaceBytes = 18, "lost_place_bytes";
    /// Connections judged to be something else that carry TLS records.
    ForeignTls = 19, "connections_tls";
    /// Likewise those that begin as HTTP/2 does, as gRPC without TLS.
    ForeignHttp2 = 20, "connections_http2";
    /// Operations that found another one of their direction under way: threads that write to one socket without a lock.
    /// Their bytes are among [`Counter::SkippedBytes`].
    Contended = 21, "contended";
    /// Stream bytes of operations whose start could not be read, on connections that were not judged yet.
    UnjudgedNoBufferBytes = 22, "unjudged_no_buffer_bytes";
}

/// Number of counters.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_dense_and_names_differ() {
        for (i, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, i, "{}", counter.name());
            assert!(
                Counter::ALL[..i].iter().all(|c| c.name() != counter.name()),
                "{}",
                counter.name()
            );
        }
        assert_eq!(COUNTERS as usize, Counter::ALL.len());
    }
}
