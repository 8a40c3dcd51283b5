//! Does a process hold a RocketMQ client library? Looked for where a connection of it cannot be read.
//!
//! | where | what shows there |
//! |---|---|
//! | `/proc/<pid>/cmdline` | jars that a class path names |
//! | `/proc/<pid>/fd` | jars that a Java virtual machine has opened, those of a class path with `*` too |
//! | `/proc/<pid>/maps` | shared libraries, as of C++ and its wrappers |
//!
//! A program that has its libraries within itself, as Go's and jars of jars, shows nothing.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
};

/// Parts of the file names of client libraries: Apache's and Alibaba Cloud's.
const NAMES: [&str; 2] = ["rocketmq", "ons-client"];
/// Open files that are looked at.
const MOST_FILES: usize = 16 * 1024;
/// Bytes of each list that are looked at.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// File name of a RocketMQ client library that the process holds.
pub(crate) fn rocketmq(pid: u32) -> Option<String> {
    let mut command_line = Vec::new();
    let limited = |name: &str| {
        Some(
            fs::File::open(format!("/proc/{pid}/{name}"))
                .ok()?
                .take(MOST_BYTES),
        )
    };
    if let Some(mut file) = limited("cmdline") {
        let _ = file.read_to_end(&mut command_line);
    }
    let command_line = String::from_utf8_lossy(&command_line);
    let on_command_line = command_line.split(['\0', ':', ';', '=', ',']).find_map(library);
    on_command_line
        .or_else(|| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
            let paths = files
                .take(MOST_FILES)
                .filter_map(|file| fs::read_link(file.ok()?.path()).ok());
            paths.into_iter().find_map(|path| library(path.to_str()?))
        })
        .or_else(|| {
            let maps = BufReader::new(limited("maps")?);
            maps.lines().map_while(Result::ok).find_map(|line| library(&line))
        })
}

/// The file name, where the path ends in that of a client library.
fn library(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.trim_end_matches(" (deleted)");
    let lower = name.to_ascii_lowercase();
    let is_library = lower.ends_with(".jar") || lower.ends_with(".so") || lower.contains(".so.");
    let is_client = NAMES.iter().any(|part| lower.contains(part));
    (is_library && is_client).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, expected) in [
            (
                "/lib/rocketmq-client-5.5.0.jar",
                Some("rocketmq-client-5.5.0.jar"),
            ),
            ("/m2/ons-client-1.8.8.jar", Some("ons-client-1.8.8.jar")),
            (
                "7f00-7f01 r--p 00000000 08:01 12 /usr/lib/librocketmq.so.2",
                Some("librocketmq.so.2"),
            ),
            ("/x/librocketmq.so (deleted)", Some("librocketmq.so")),
            ("/home/rocketmq/app.jar", None),
            ("/etc/rocketmq.conf", None),
            ("socket:[12345]", None),
        ] {
            assert_eq!(library(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn an_open_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let me = std::process::id();
        assert_eq!(rocketmq(me), None);
        let _open = fs::File::create(directory.path().join("rocketmq-client-java-5.2.0.jar")).unwrap();
        assert_eq!(rocketmq(me).as_deref(), Some("rocketmq-client-java-5.2.0.jar"));
    }
}
