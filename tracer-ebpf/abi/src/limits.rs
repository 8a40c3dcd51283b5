//! Every bound that both sides of the kernel border rely on.

/// Payload bytes in one record. A longer piece becomes several records.
pub const CHUNK: usize = 8 * 1024;
/// Default size of the ring buffer in bytes (a power of two); user space may choose another at load. Without message
/// bodies a message costs it some 1.3 KB at a client that sends and consumes, so this rides out 200 ms at 30,000
/// messages a second. It is mapped twice and counts twice in the resident size.
pub const RING_BYTES: usize = 8 << 20;
/// Bytes of a direction that are kept until the connection is judged.
pub const PREFIX: usize = 32;
/// Most pieces (copied, skipped, looked at) of one system call: a frame of the largest size, 16 MiB, of messages
/// that carry 500 bytes beside their bodies. What is behind them becomes a declared range without bytes.
pub const CALL_STEPS: u32 = 1 << 17;
/// Most segments of one `iovec` array (`UIO_MAXIOV` of the kernel).
pub const IOVECS: u64 = 1024;
/// Operations that a connection which was open before the tracer may take to reach a frame boundary: with
/// reads of 64 KiB, one frame of the largest size. A connection seen from its first byte gets one try.
pub const JUDGE_TRIES: u16 = 256;
/// Scratch slots per CPU: programs may be preempted by one another, two deep in practice.
pub const SLOTS_PER_CPU: u32 = 4;
/// Most processes in the kernel's filter map.
pub const FILTER_ENTRIES: u32 = 32 * 1024;
/// Most bytes of a body that are protocol data (heartbeats, offset tables, …) and leave the kernel side.
pub const BODY_BYTES: u32 = 256 * 1024;
