//! The schema: every setting, its type and its default. A setting's path here is its path in the file; its
//! environment variable is `RMQTRACE_` and the path in upper case, dots as underscores ([`super::keys`]).

mod sampling;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::sampling::{SamplerName, Sampling};
use super::value::{ByteSize, ContextName, Endpoint, HumanDuration, Pattern, Table, choice};

/// Everything that can be set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// How bytes are taken from the kernel.
    #[serde(deserialize_with = "or_default")]
    pub(crate) capture: Capture,
    /// Which processes, topics and groups are traced.
    #[serde(deserialize_with = "or_default")]
    pub(crate) filter: Filter,
    /// Names for services that do not name themselves.
    #[serde(deserialize_with = "or_default")]
    pub(crate) services: Vec<ServiceRule>,
    /// Pairing of requests and responses.
    #[serde(deserialize_with = "or_default")]
    pub(crate) correlate: Correlate,
    /// Process spans.
    #[serde(deserialize_with = "or_default")]
    pub(crate) process: Process,
    /// Trace ids.
    #[serde(deserialize_with = "or_default")]
    pub(crate) trace: Trace,
    /// Which spans are made.
    #[serde(deserialize_with = "or_default")]
    pub(crate) spans: Spans,
    /// Which spans are kept.
    #[serde(deserialize_with = "or_default")]
    pub(crate) sampling: Sampling,
    /// What attributes are called.
    pub(crate) semconv: Semconv,
    /// No spans of processes that make RocketMQ spans themselves.
    pub(crate) avoid_instrumented: bool,
    /// Attributes beyond those that are always there, and bounds of all.
    #[serde(deserialize_with = "or_default")]
    pub(crate) attributes: Attributes,
    /// Where spans go.
    #[serde(deserialize_with = "or_default")]
    pub(crate) export: Export,
    /// The daemon's own log.
    #[serde(deserialize_with = "or_default")]
    pub(crate) log: Log,
    /// How the daemon ends.
    #[serde(deserialize_with = "or_default")]
    pub(crate) shutdown: Shutdown,
    /// Bounds of tables.
    #[serde(deserialize_with = "or_default")]
    pub(crate) limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            capture: Capture::default(),
            filter: Filter::default(),
            services: Vec::new(),
            correlate: Correlate::default(),
            process: Process::default(),
            trace: Trace::default(),
            spans: Spans::default(),
            sampling: Sampling::default(),
            semconv: Semconv::New,
            avoid_instrumented: true,
            attributes: Attributes::default(),
            export: Export::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
            limits: Limits::default(),
        }
    }
}

/// A section whose keys are all commented out is null in YAML.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Option::deserialize(d).map(Option::unwrap_or_default)
}

choice! {
    /// How the kernel side is attached.
    Strategy {
        /// The best that the kernel allows.
        #[default]
        Auto = "auto",
        /// The socket tracepoints.
        Socktrace = "socktrace",
        /// Entry and exit of functions.
        Fentry = "fentry",
    }
}

choice! {
    /// Where message bodies are left out.
    Bodies {
        /// In the kernel: only their lengths leave it.
        #[default]
        InKernel = "in-kernel",
        /// In user space: they go through the ring buffer, and no further.
        User = "user",
    }
}

choice! {
    /// How much the kernel side says.
    KernelLog {
        /// Nothing; it costs nothing then.
        #[default]
        Off = "off",
        /// What failed.
        Error = "error",
        /// What is odd.
        Warn = "warn",
        /// What it does.
        Info = "info",
        /// Everything.
        Debug = "debug",
    }
}

/// How bytes are taken from the kernel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Capture {
    /// How the kernel side is attached.
    pub(crate) strategy: Strategy,
    /// Size of the ring buffer, a power of two.
    pub(crate) ring_bytes: ByteSize,
    /// Where message bodies are left out.
    pub(crate) bodies: Bodies,
    /// How much the kernel side says.
    pub(crate) kernel_log: KernelLog,
    /// Scheduling priority of the daemon, from -20, the highest, to 19.
    pub(crate) nice: i32,
}

impl Default for Capture {
    fn default() -> Capture {
        let ring_bytes = ByteSize(tracer_abi::RING_BYTES as u64);
        Capture {
            strategy: Strategy::Auto,
            ring_bytes,
            bodies: Bodies::InKernel,
            kernel_log: KernelLog::Off,
            nice: -10,
        }
    }
}

/// Which processes, topics and groups are traced. Empty: all. An exclusion wins over an inclusion.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Process ids.
    pub(crate) pid: Vec<u32>,
    /// Process ids.
    pub(crate) exclude_pid: Vec<u32>,
    /// Path of the executable, or its file name.
    pub(crate) exe: Vec<Pattern>,
    /// Path of the executable, or its file name.
    pub(crate) exclude_exe: Vec<Pattern>,
    /// Command line, its arguments joined by spaces.
    pub(crate) cmdline: Vec<Pattern>,
    /// Command line, its arguments joined by spaces.
    pub(crate) exclude_cmdline: Vec<Pattern>,
    /// Container ids, or their beginning.
    pub(crate) container: Vec<String>,
    /// Container ids, or their beginning.
    pub(crate) exclude_container: Vec<String>,
    /// Control group path.
    pub(crate) cgroup: Vec<Pattern>,
    /// Control group path.
    pub(crate) exclude_cgroup: Vec<Pattern>,
    /// Topics.
    pub(crate) topics: Vec<Pattern>,
    /// Topics.
    pub(crate) exclude_topics: Vec<Pattern>,
    /// Consumer and producer groups.
    pub(crate) groups: Vec<Pattern>,
    /// Consumer and producer groups.
    pub(crate) exclude_groups: Vec<Pattern>,
}

/// Names a service. Of the four conditions those that are given must hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceRule {
    /// The name.
    pub(crate) name: String,
    /// Path of the executable, or its file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exe: Option<Pattern>,
    /// Command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cmdline: Option<Pattern>,
    /// Container id, or its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<String>,
    /// Control group path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<Pattern>,
}

/// Pairing of requests and responses.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Correlate {
    /// How long a request may wait for its answer.
    pub(crate) timeout: HumanDuration,
}

impl Default for Correlate {
    fn default() -> Correlate {
        Correlate {
            timeout: HumanDuration::from_secs(30),
        }
    }
}

/// Process spans.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Process {
    /// How long a delivered message may wait for evidence that it was processed.
    pub(crate) ttl: HumanDuration,
}

impl Default for Process {
    fn default() -> Process {
        Process {
            ttl: HumanDuration::from_secs(15 * 60),
        }
    }
}

/// Trace ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trace {
    /// Compute trace ids from message ids, so that tracers on several hosts agree.
    pub(crate) derive_ids: bool,
    /// User properties that carry a trace context, the preferred first.
    pub(crate) context_properties: Vec<ContextName>,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace {
            derive_ids: true,
            context_properties: Vec::new(),
        }
    }
}

/// Which spans are made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Spans {
    /// `receive` spans, one for each pull or pop that brings messages; process spans become their children.
    pub(crate) receive: bool,
    /// Spans of what consumers tell brokers about messages: `ack`, `nack`, `extend`, `commit`.
    pub(crate) settle: bool,
    /// Also those of the broker's end of connections, where a broker runs on this host.
    pub(crate) broker_side: bool,
    /// Most links of one span.
    pub(crate) max_links: usize,
}

impl Default for Spans {
    fn default() -> Spans {
        Spans {
            receive: false,
            settle: false,
            broker_side: false,
            max_links: 1024,
        }
    }
}

choice! {
    /// Sets of attribute names.
    Semconv {
        /// Semantic conventions v1.44.
        #[default]
        New = "new",
        /// ApsaraMQ's tracing page.
        Old = "old",
        /// Both.
        Dup = "dup",
    }
}

/// Attributes beyond those that are always there, and bounds of all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attributes {
    /// Resource attributes for every traced process; the process's own win.
    pub(crate) resource: Table,
    /// Message properties that become attributes.
    pub(crate) properties: Vec<String>,
    /// Most characters of a text.
    pub(crate) max_value_length: usize,
    /// Most texts of a list.
    pub(crate) max_elements: usize,
    /// Most attributes of a span.
    pub(crate) max_per_span: usize,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            resource: Table::new(),
            properties: Vec::new(),
            max_value_length: 4096,
            max_elements: 128,
            max_per_span: 128,
        }
    }
}

choice! {
    /// How spans are written to the terminal.
    Print {
        /// `text` where nothing else takes the spans, else `none`.
        #[default]
        Auto = "auto",
        /// One aligned line for each span.
        Text = "text",
        /// One OTLP object in JSON for each span and line.
        Json = "json",
        /// Nothing.
        None = "none",
    }
}

/// Where spans go.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Export {
    /// An OTLP receiver.
    #[serde(deserialize_with = "or_default")]
    pub(crate) otlp: Otlp,
    /// A file of one `ExportTraceServiceRequest` in JSON a line.
    pub(crate) otlp_file: Option<PathBuf>,
    /// The terminal.
    pub(crate) print: Print,
}

choice! {
    /// OTLP's transports.
    Protocol {
        /// OTLP/gRPC.
        Grpc = "grpc",
        /// OTLP/HTTP with protobuf.
        #[default]
        HttpProtobuf = "http/protobuf",
        /// OTLP/HTTP with JSON.
        HttpJson = "http/json",
    }
}

choice! {
    /// Compression of OTLP requests.
    Compression {
        /// None.
        #[default]
        None = "none",
        /// gzip.
        Gzip = "gzip",
    }
}

/// An OTLP receiver, and the queue in front of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Otlp {
    /// Its address; unset: no OTLP.
    pub(crate) endpoint: Option<Endpoint>,
    /// Transport; unset: `http/protobuf`, on port 4317 `grpc`.
    pub(crate) protocol: Option<Protocol>,
    /// Headers of every request; printed without their values.
    #[serde(serialize_with = "redacted")]
    pub(crate) headers: Table,
    /// How long one batch may take, its retries within that time included.
    pub(crate) timeout: HumanDuration,
    /// Compression.
    pub(crate) compression: Compression,
    /// PEM file of certificates that are trusted; unset: the system's.
    pub(crate) certificate: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub(crate) client_certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub(crate) client_key: Option<PathBuf>,
    /// Plain text to a gRPC address without scheme.
    pub(crate) insecure: bool,
    /// Spans that may wait.
    pub(crate) queue_size: usize,
    /// Most spans in one batch.
    pub(crate) batch_size: usize,
    /// Most batches that are under way at a time.
    pub(crate) concurrency: usize,
    /// How long spans are collected before they are sent.
    pub(crate) interval: HumanDuration,
    /// How long one batch is tried again before it is dropped.
    pub(crate) retry_for: HumanDuration,
}

impl Default for Otlp {
    fn default() -> Otlp {
        Otlp {
            endpoint: None,
            protocol: None,
            headers: Table::new(),
            timeout: HumanDuration::from_secs(10),
            compression: Compression::None,
            certificate: None,
            client_certificate: None,
            client_key: None,
            insecure: false,
            queue_size: 64 * 1024,
            batch_size: 512,
            concurrency: 4,
            interval: HumanDuration::from_millis(500),
            retry_for: HumanDuration::from_secs(60),
        }
    }
}

/// Header values are often credentials.
fn redacted<S: serde::Serializer>(headers: &Table, s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(headers.keys().map(|name| (name, "***")))
}

choice! {
    /// How much the daemon says.
    Level {
        /// What failed.
        Error = "error",
        /// What is odd.
        Warn = "warn",
        /// What it does.
        #[default]
        Info = "info",
        /// How it does it.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// How the daemon's log is written.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// The daemon's own log, on standard error.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// How much.
    pub(crate) level: Level,
    /// In which form.
    pub(crate) format: LogFormat,
}

/// How the daemon ends.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shutdown {
    /// How long what is queued may take to be written.
    pub(crate) timeout: HumanDuration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            timeout: HumanDuration::from_secs(5),
        }
    }
}

/// Bounds of tables.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Processes whose facts are remembered.
    pub(crate) processes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { processes: 4096 }
    }
}
