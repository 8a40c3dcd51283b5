//! What the machine is that the figures are of.

use std::{fs, process::Command, thread};

use crate::console;

/// Processor, cores, memory, kernel and compiler, in one sentence.
pub(super) fn description() -> String {
    let of = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = of("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1024 * 1024));
    let line = |command: &mut Command| console::first_line(command).unwrap_or_default();
    format!(
        "{processor}, {cores} cores{}, {memory} GiB, Linux {}, {}, {}",
        if is_virtual() { " (virtual machine)" } else { "" },
        line(Command::new("uname").arg("-r")),
        line(Command::new("rustc").arg("--version")),
        line(Command::new("java").arg("--version")),
    )
}

fn is_virtual() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" hypervisor"))
}

/// Processes that run or want to, averaged over the last minute.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}
