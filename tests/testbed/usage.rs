//! What a process takes of the processor and of memory, by the kernel's account.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// User and system time of a process, its ended threads included.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may contain spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |i: usize| -> Result<u64> { Ok(fields.get(i).context("too few fields")?.parse()?) };
    // SAFETY: sysconf only reads a constant of the system.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(
        (ticks(11)? + ticks(12)?) as f64 / hertz as f64,
    ))
}

/// KiB of a process that are in memory.
pub fn resident_kib(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most KiB of it that ever were.
pub fn most_resident_kib(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let line = line.with_context(|| format!("no {what} of {pid}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
