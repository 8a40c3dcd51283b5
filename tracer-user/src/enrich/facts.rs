//! What `/proc` says about a process.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Component, Path, PathBuf},
};

use procfs::process::Process;

use super::{container, instrumented};

/// Most bytes read of any one file of `/proc`, and of an argument file.
const MOST_BYTES: u64 = 256 * 1024;

/// Most bytes read of a list of mappings: some 20,000 lines.
const MOST_MAP_BYTES: u64 = 2 * 1024 * 1024;

/// A process as it was when its first connection was recognised.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    /// Process id.
    pub(crate) pid: u32,
    /// When it started, clock ticks since boot; `None`: it was already gone.
    pub(crate) start_ticks: Option<u64>,
    /// Path of its executable, in its own mount namespace.
    pub(crate) exe: Option<String>,
    /// Its arguments, the program itself first.
    pub(crate) args: Vec<String>,
    /// `OTEL_SERVICE_NAME`.
    pub(crate) otel_service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) otel_resource_attributes: Option<String>,
    /// Variables that carry options of a Java virtual machine.
    pub(crate) java_options: Vec<String>,
    /// Variables that configure an agent ([`instrumented::VARIABLES`]), with their values.
    pub(crate) agent_variables: Vec<(String, String)>,
    /// An OpenTelemetry SDK shares its context in a mapping of the name `OTEL_CTX`.
    pub(crate) otel_context: bool,
    /// Control group path.
    pub(crate) cgroup: Option<String>,
    /// Container id.
    pub(crate) container: Option<String>,
    /// Effective user.
    pub(crate) uid: Option<u32>,
}

impl Facts {
    /// Reads what there is. Whatever cannot be read is missing in the result.
    pub(crate) fn read(pid: u32) -> Facts {
        let mut facts = Facts {
            pid,
            ..Facts::default()
        };
        let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else {
            return facts;
        };
        facts.start_ticks = process.stat().ok().map(|s| s.starttime);
        facts.exe = process.exe().ok().map(|p| exe_path(&p));
        facts.args = process.cmdline().unwrap_or_default();
        facts.uid = process.uid().ok();
        if let Ok(environ) = process.environ() {
            facts.take_environ(&environ);
        }
        facts.otel_context = has_mapping(pid, "OTEL_CTX");
        let cgroup = read_limited(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        facts.cgroup = container::cgroup_path(&cgroup).map(str::to_owned);
        facts.container = container::id_of_cgroup(&cgroup).map(str::to_owned).or_else(|| {
            let mounts = read_limited(format!("/proc/{pid}/mountinfo"))?;
            container::id_of_mounts(&mounts).map(str::to_owned)
        });
        facts
    }

    fn take_environ(&mut self, environ: &HashMap<OsString, OsString>) {
        let get = |name: &str| {
            let text = environ.get(OsStr::new(name))?.to_str()?.trim();
            // an unexpanded reference, as a manifest may leave it, names nothing
            (!text.is_empty() && !text.starts_with('$')).then(|| text.to_owned())
        };
        self.otel_service_name = get("OTEL_SERVICE_NAME");
        self.otel_resource_attributes = get("OTEL_RESOURCE_ATTRIBUTES");
        self.java_options = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"]
            .iter()
            .filter_map(|n| get(n))
            .collect();
        self.agent_variables = instrumented::VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), get(name)?)))
            .collect();
    }

    /// File name of the executable.
    pub(crate) fn exe_name(&self) -> Option<&str> {
        self.exe.as_deref()?.rsplit('/').next().filter(|n| !n.is_empty())
    }

    /// The command line as one text.
    pub(crate) fn command_line(&self) -> String {
        self.args.join(" ")
    }

    /// The text of a file as the process names it: relative to its working directory, in its root.
    pub(crate) fn read_file(&self, name: &str) -> Option<String> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid));
        let path = Path::new(name);
        // `..` could lead out of the process's root
        if path.components().any(|c| c == Component::ParentDir) {
            return None;
        }
        match path.strip_prefix("/") {
            Ok(inner) => read_limited(proc.join("root").join(inner)),
            Err(_) => read_limited(proc.join("cwd").join(path)),
        }
    }
}

/// Whether a process has a mapping of this name: `[anon:NAME]`, `[anon_shmem:NAME]` or `/memfd:NAME (deleted)`.
fn has_mapping(pid: u32, name: &str) -> bool {
    let Ok(file) = File::open(format!("/proc/{pid}/maps")) else {
        return false;
    };
    let maps = BufReader::new(file.take(MOST_MAP_BYTES));
    let named = |line: &str| {
        let place = line.split_ascii_whitespace().nth(5)?;
        Some(place.split_once(':')?.1.trim_end_matches(']') == name)
    };
    maps.lines()
        .map_while(Result::ok)
        .any(|line| named(&line) == Some(true))
}

/// When a process started, clock ticks since boot; `None` where it is gone.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    process.stat().ok().map(|s| s.starttime)
}

/// A replaced file, as by an upgrade, is marked by the kernel.
fn exe_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned()
}

fn read_limited(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let facts = Facts::read(std::process::id());
        assert_eq!(facts.start_ticks, start_ticks(std::process::id()));
        assert!(facts.start_ticks.is_some());
        let exe = std::env::current_exe().unwrap();
        assert_eq!(facts.exe.as_deref(), exe.to_str());
        assert_eq!(facts.exe_name(), exe.file_name().unwrap().to_str());
        assert_eq!(facts.args, std::env::args().collect::<Vec<_>>());
        assert_eq!(facts.cgroup.is_some(), Path::new("/proc/self/cgroup").exists());
    }

    #[test]
    fn a_process_that_is_gone() {
        let facts = Facts::read(u32::MAX - 1);
        assert_eq!(
            facts,
            Facts {
                pid: u32::MAX - 1,
                ..Facts::default()
            }
        );
    }

    #[test]
    fn references_and_blanks_in_the_environment_name_nothing() {
        let environ = [
            ("OTEL_SERVICE_NAME", "$(POD_NAME)"),
            ("OTEL_RESOURCE_ATTRIBUTES", " service.name=a "),
            ("JAVA_TOOL_OPTIONS", ""),
        ];
        let mut facts = Facts::default();
        facts.take_environ(&environ.map(|(k, v)| (k.into(), v.into())).into());
        assert_eq!(facts.otel_service_name, None);
        assert_eq!(facts.otel_resource_attributes.as_deref(), Some("service.name=a"));
        assert!(facts.java_options.is_empty());
    }
}
