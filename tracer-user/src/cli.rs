//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{
    Override,
    value::{ByteSize, HumanDuration},
};

const AFTER_HELP: &str = "\
Examples:
  rmqtrace run                                       every span on the terminal
  rmqtrace run --topic 'orders-*' --print json       some topics, as JSON
  rmqtrace run --endpoint http://collector:4318      to an OpenTelemetry Collector (OTLP/HTTP)
  rmqtrace run --endpoint http://collector:4317      the same by OTLP/gRPC
  rmqtrace run --exe java --exclude-topic 'test-*'   some processes, not all topics
  rmqtrace replay capture.pcapng                     what a capture file holds; no privilege needed
  rmqtrace record support.pcapng --duration 1m       what is captured, for a replay elsewhere; no message bodies
  rmqtrace config --config /etc/rmqtrace.yaml        what the settings come to

Every setting is also an environment variable (RMQTRACE_CAPTURE_RING_BYTES=32MiB) and a key of a YAML file;
the OTEL_EXPORTER_OTLP_* variables are honoured. A flag wins over the environment, that over the file.

Exit codes:
  0  done        1  something else failed        2  wrong flag or setting
  3  missing privilege        4  the kernel lacks what is needed
  5  a capture file is damaged or cut; what it holds was replayed";

/// See every message of Apache RocketMQ without touching the applications.
///
/// rmqtrace reads what RocketMQ clients on this machine send and receive, in the kernel and without changing
/// anything, and makes an OpenTelemetry span of every message sent and consumed.
#[derive(Debug, Parser)]
#[command(name = "rmqtrace", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Trace until stopped (needs root, or CAP_BPF and CAP_PERFMON)
    #[command(after_help = AFTER_HELP)]
    Run(Settings),
    /// Make spans of capture files (tcpdump, Wireshark, `rmqtrace record`); needs no privilege
    #[command(after_help = AFTER_HELP)]
    Replay(Replay),
    /// Trace like `run`, and keep what is captured in a pcapng file that replays to the same spans
    #[command(after_help = AFTER_HELP)]
    Record(Record),
    /// Print the settings as they are in effect, as a file that can be used again
    Config(Settings),
}

/// What to record, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The file, which is emptied first; `-` is standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// End after this time, such as 30s [default: when stopped]
    #[arg(long, value_name = "TIME", help_heading = "Recording")]
    pub(crate) duration: Option<HumanDuration>,
    /// End before the file is longer than this, such as 100MiB [default: no bound]
    #[arg(long, value_name = "SIZE", help_heading = "Recording")]
    pub(crate) max_bytes: Option<ByteSize>,
    /// Seed of the ids that are random, should spans be exported at the same time [default: chosen anew]
    #[arg(long, value_name = "NUMBER", help_heading = "Recording")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What to replay, and how.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// pcap and pcapng files, also in gzip; `-` is standard input. Several are one capture, by time
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the services whose packets these are [default: the client's address]
    #[arg(long, value_name = "NAME", help_heading = "Replay")]
    pub(crate) service_name: Option<String>,
    /// Seed of the ids that are random: the same files and seed give the same spans [default: 0]
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Replay"
    )]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Declares the flags that stand for settings, and what each stands for. All can be repeated: a list gets all
/// values, anything else the last.
macro_rules! settings {
    ($($heading:literal { $($(#[$attr:meta])* $field:ident = $path:literal,)* })*) => {
        /// Flags that stand for settings.
        #[derive(Debug, Default, Args)]
        pub(crate) struct Settings {
            /// Read settings from this YAML file
            #[arg(long, value_name = "FILE", env = "RMQTRACE_CONFIG", hide_env_values = true, help_heading = "Settings")]
            pub(crate) config: Option<PathBuf>,
            /// Any setting by its path, such as capture.ring_bytes=32MiB
            #[arg(long, value_name = "KEY=VALUE", help_heading = "Settings")]
            pub(crate) set: Vec<String>,
            $($(
                $(#[$attr])*
                #[arg(long, help_heading = $heading)]
                $field: Vec<String>,
            )*)*
        }

        impl Settings {
            /// The settings that were given as flags of their own.
            fn flags(&self) -> Vec<Override> {
                let mut given = Vec::new();
                $($(
                    if !self.$field.is_empty() {
                        let flag = format!("--{}", stringify!($field).replace('_', "-"));
                        given.push(Override { flag, path: $path.to_owned(), values: self.$field.clone() });
                    }
                )*)*
                given
            }
        }

        /// Path of the setting that each flag stands for.
        #[cfg(test)]
        const PATHS: &[&str] = &[$($($path),*),*];
    };
}

settings! {
    "Which processes (all, unless one of these is given)" {
        /// Only this process
        #[arg(value_name = "PID")]
        pid = "filter.pid",
        /// Only executables whose path or file name matches
        #[arg(value_name = "GLOB")]
        exe = "filter.exe",
        /// Only command lines that match as a whole
        #[arg(value_name = "GLOB")]
        cmdline = "filter.cmdline",
        /// Only the container whose id begins so
        #[arg(value_name = "ID")]
        container = "filter.container",
        /// Only control groups whose path matches
        #[arg(value_name = "GLOB")]
        cgroup = "filter.cgroup",
        /// Not this process
        #[arg(value_name = "PID")]
        exclude_pid = "filter.exclude_pid",
        /// Not executables whose path or file name matches
        #[arg(value_name = "GLOB")]
        exclude_exe = "filter.exclude_exe",
        /// Not command lines that match
        #[arg(value_name = "GLOB")]
        exclude_cmdline = "filter.exclude_cmdline",
        /// Not the container whose id begins so
        #[arg(value_name = "ID")]
        exclude_container = "filter.exclude_container",
        /// Not control groups whose path matches
        #[arg(value_name = "GLOB")]
        exclude_cgroup = "filter.exclude_cgroup",
    }
    "Which messages (all, unless one of these is given)" {
        /// Only topics that match; a retry counts as its original topic
        #[arg(value_name = "GLOB")]
        topic = "filter.topics",
        /// Not topics that match
        #[arg(value_name = "GLOB")]
        exclude_topic = "filter.exclude_topics",
        /// Only consumer and producer groups that match
        #[arg(value_name = "GLOB")]
        group = "filter.groups",
        /// Not consumer and producer groups that match
        #[arg(value_name = "GLOB")]
        exclude_group = "filter.exclude_groups",
    }
    "Where spans go (the terminal, unless an endpoint or a file is given)" {
        /// An OTLP receiver, such as http://localhost:4318
        #[arg(value_name = "URL")]
        endpoint = "export.otlp.endpoint",
        /// grpc, http/protobuf or http/json [default: grpc on port 4317, else http/protobuf]
        #[arg(value_name = "NAME")]
        protocol = "export.otlp.protocol",
        /// A header of every OTLP request
        #[arg(value_name = "NAME=VALUE")]
        header = "export.otlp.headers",
        /// Append to this file, one OTLP/JSON request a line
        #[arg(value_name = "FILE")]
        otlp_file = "export.otlp_file",
        /// Print spans: text, json or none
        #[arg(value_name = "FORM")]
        print = "export.print",
    }
    "Log (on standard error)" {
        /// error, warn, info, debug or trace
        #[arg(value_name = "LEVEL")]
        log_level = "log.level",
        /// text or json
        #[arg(value_name = "FORM")]
        log_format = "log.format",
    }
    "Capture" {
        /// How the kernel side is attached: auto, socktrace or fentry
        #[arg(value_name = "NAME")]
        capture = "capture.strategy",
        /// Size of the ring buffer, a power of two, such as 16MiB
        #[arg(value_name = "SIZE")]
        ring_bytes = "capture.ring_bytes",
    }
}

impl Settings {
    /// All that the command line sets, those by `--set` last.
    pub(crate) fn overrides(&self) -> Vec<Override> {
        let mut given = self.flags();
        for text in &self.set {
            let (path, value) = text.split_once('=').unwrap_or((text, ""));
            let flag = format!("--set {path}");
            // a list or a table is given by naming it several times
            match given.iter_mut().find(|o| o.flag == flag) {
                Some(earlier) => earlier.values.push(value.to_owned()),
                None => given.push(Override {
                    flag,
                    path: path.to_owned(),
                    values: vec![value.to_owned()],
                }),
            }
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::keys;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_for_people() {
        let mut command = Cli::command().term_width(110);
        command.build();
        insta::assert_snapshot!(command.find_subcommand_mut("run").unwrap().render_help());
    }

    #[test]
    fn every_flag_stands_for_a_setting() {
        for path in PATHS {
            assert!(keys::find(path).is_some(), "{path}");
        }
    }

    #[test]
    fn flags_become_settings() {
        let line = "rmqtrace run --topic a* --topic {b,c} --pid 7 --set limits.processes=9 --set filter.exe=x --set filter.exe=y";
        let Command::Run(settings) = Cli::parse_from(line.split(' ')).command else {
            panic!("is run")
        };
        let given: Vec<_> = settings
            .overrides()
            .into_iter()
            .map(|o| format!("{} {} {:?}", o.flag, o.path, o.values))
            .collect();
        insta::assert_snapshot!(given.join("\n"), @r#"
        --pid filter.pid ["7"]
        --topic filter.topics ["a*", "{b,c}"]
        --set limits.processes limits.processes ["9"]
        --set filter.exe filter.exe ["x", "y"]
        "#);
    }
}
