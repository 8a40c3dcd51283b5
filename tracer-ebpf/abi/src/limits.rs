//! Every bound that both sides of the kernel border rely on.

/// Payload bytes in one record. A longer operation becomes several records.
pub const CHUNK: usize = 16 * 1024;
/// Default size of the ring buffer in bytes (a power of two); user space may choose another at load.
pub const RING_BYTES: usize = 16 << 20;
/// Bytes of a direction that are kept until the connection is judged.
pub const PREFIX: usize = 32;
/// Most bytes of one system call that are copied: a whole frame of the largest size RocketMQ allows.
/// What one call moves beyond it becomes a declared range without bytes.
pub const CALL_BYTES: usize = 16 << 20;
/// Most segments of one `iovec` array (`UIO_MAXIOV` of the kernel).
pub const IOVECS: u64 = 1024;
/// Operations that a connection which was open before the tracer may take to reach a frame boundary: with
/// reads of 64 KiB, one frame of the largest size. A connection seen from its first byte gets one try.
pub const JUDGE_TRIES: u16 = 256;
/// Scratch slots per CPU: programs may be preempted by one another, two deep in practice.
pub const SLOTS_PER_CPU: u32 = 4;
/// Most processes in the kernel's filter map.
pub const FILTER_ENTRIES: u32 = 32 * 1024;
