//! Values of the kernel side's map of processes.

/// User space has not decided yet: the process is captured.
pub const UNDECIDED: u32 = 0;
/// Capture.
pub const ALLOW: u32 = 1;
/// Leave alone.
pub const DENY: u32 = 2;
