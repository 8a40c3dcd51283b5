//! Every setting by its path, for environment variables and flags. The file needs no table: serde knows it.
//!
//! To add a setting: a field in [`super::schema`], a line here, a line in docs/configuration.md. A test
//! compares the three.

use super::{schema::Config, value::Setting};

/// A setting that an environment variable or a flag can give.
pub(crate) struct Key {
    /// Path in the file, parts joined by dots.
    pub(crate) path: &'static str,
    /// Takes several values.
    pub(crate) many: bool,
    /// Replaces the value; the error says what is wrong with the text.
    pub(crate) set: fn(&mut Config, &[&str]) -> Result<(), String>,
}

impl Key {
    /// The environment variable's name.
    pub(crate) fn variable(&self) -> String {
        format!("RMQTRACE_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// The key with this path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

fn many<T: Setting>(_: fn(&mut Config) -> &mut T) -> bool {
    T::MANY
}

/// `section.field` names both the path and the field.
macro_rules! keys {
    ($($section:ident $(. $field:ident)*;)*) => {
        /// Every key.
        pub(crate) static KEYS: std::sync::LazyLock<Vec<Key>> = std::sync::LazyLock::new(|| vec![$(Key {
            path: concat!(stringify!($section) $(, ".", stringify!($field))*),
            many: many(|c| &mut c.$section$(.$field)*),
            set: |c, texts| c.$section$(.$field)*.set(texts),
        }),*]);
    };
}

keys! {
    capture.strategy;
    capture.ring_bytes;
    capture.bodies;
    capture.kernel_log;
    capture.nice;
    filter.pid;
    filter.exclude_pid;
    filter.exe;
    filter.exclude_exe;
    filter.cmdline;
    filter.exclude_cmdline;
    filter.container;
    filter.exclude_container;
    filter.cgroup;
    filter.exclude_cgroup;
    filter.topics;
    filter.exclude_topics;
    filter.groups;
    filter.exclude_groups;
    correlate.timeout;
    process.ttl;
    trace.derive_ids;
    trace.context_properties;
    spans.receive;
    spans.settle;
    spans.broker_side;
    spans.max_links;
    sampling.sampler;
    sampling.ratio;
    sampling.max_messages_per_second;
    semconv;
    avoid_instrumented;
    attributes.resource;
    attributes.properties;
    attributes.max_value_length;
    attributes.max_elements;
    attributes.max_per_span;
    export.otlp.endpoint;
    export.otlp.protocol;
    export.otlp.headers;
    export.otlp.timeout;
    export.otlp.compression;
    export.otlp.certificate;
    export.otlp.client_certificate;
    export.otlp.client_key;
    export.otlp.insecure;
    export.otlp.queue_size;
    export.otlp.batch_size;
    export.otlp.concurrency;
    export.otlp.interval;
    export.otlp.retry_for;
    export.otlp_file;
    export.print;
    log.level;
    log.format;
    shutdown.timeout;
    limits.processes;
}
