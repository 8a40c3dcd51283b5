//! The machine that this is.

use std::fs;

/// Facts that do not change while the daemon runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    /// `host.name`.
    pub(crate) name: Option<String>,
    /// `host.id`: the machine id.
    pub(crate) id: Option<String>,
    /// Differs from boot to boot.
    pub(crate) boot_id: Option<String>,
    /// `host.arch`, in OpenTelemetry's words.
    pub(crate) arch: &'static str,
}

impl Host {
    /// Reads them.
    pub(crate) fn read() -> Host {
        let line = |path: &str| {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|t| !t.is_empty() && t != "uninitialized")
        };
        Host {
            name: line("/proc/sys/kernel/hostname"),
            id: line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            arch: arch(std::env::consts::ARCH),
        }
    }
}

fn arch(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
