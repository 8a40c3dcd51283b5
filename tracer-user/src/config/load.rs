//! Defaults, file, environment and flags, each over the one before.

use std::collections::BTreeMap;

use serde_saphyr::Error as YamlError;
use tracer_core::model::CapturedProperty;

use super::{
    error::{ConfigError, nearest, not_one_of, unknown_key},
    keys::{self, KEYS},
    otel_env, otel_sdk_env,
    schema::Config,
    value::{Pattern, split_list},
};

/// What the names of all own variables begin with.
const PREFIX: &str = "RMQTRACE_";
/// Variables that begin so and are no settings.
const OTHER_VARIABLES: [&str; 3] = ["RMQTRACE_CACHE", "RMQTRACE_CONFIG", "RMQTRACE_EBPF_OBJECT"];

/// A value given on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Override {
    /// The flag, as it was written.
    pub(crate) flag: String,
    /// Path of the setting.
    pub(crate) path: String,
    /// Its values.
    pub(crate) values: Vec<String>,
}

/// What settings are made from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Name and text of the file.
    pub(crate) file: Option<(String, String)>,
    /// The environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The command line.
    pub(crate) flags: Vec<Override>,
}

/// Settings, and what there is to say about them.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) config: Config,
    /// Values of foreign variables that were passed over.
    pub(crate) warnings: Vec<String>,
}

/// Puts the settings together: flag over environment over file over default.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut config = match &sources.file {
        Some((name, text)) => from_yaml(name, text)?,
        None => Config::default(),
    };
    let variable = |name: &str| sources.env.get(name).cloned();
    let mut warnings = otel_env::apply(&mut config.export.otlp, &variable);
    warnings.extend(otel_sdk_env::apply(&mut config, &variable));
    from_env(&mut config, &sources.env)?;
    for flag in &sources.flags {
        let key = keys::find(&flag.path).ok_or_else(|| {
            ConfigError::new(&flag.flag, unknown_key(&flag.path, KEYS.iter().map(|k| k.path)))
        })?;
        let values: Vec<&str> = flag.values.iter().map(String::as_str).collect();
        (key.set)(&mut config, &values).map_err(|problem| ConfigError::new(&flag.flag, problem))?;
    }
    check(&config)?;
    Ok(Loaded { config, warnings })
}

fn from_env(config: &mut Config, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, text) in env
        .range("RMQTRACE_".to_owned()..)
        .take_while(|(n, _)| n.starts_with("RMQTRACE_"))
    {
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let Some(key) = KEYS.iter().find(|k| k.variable() == *name) else {
            let known: Vec<String> = KEYS.iter().map(keys::Key::variable).collect();
            let ends = known.iter().filter_map(|k| k.strip_prefix(PREFIX));
            let problem = match nearest(name.trim_start_matches(PREFIX), ends) {
                Some(near) => format!("there is no such setting; did you mean {PREFIX}{near}?"),
                None => "there is no such setting; `rmqtrace config` prints all".to_owned(),
            };
            return Err(ConfigError::new(format!("environment variable {name}"), problem));
        };
        if text.is_empty() {
            continue;
        }
        let values = if key.many {
            split_list(text)
        } else {
            vec![text.as_str()]
        };
        (key.set)(config, &values)
            .map_err(|problem| ConfigError::new(format!("environment variable {name}"), problem))?;
    }
    Ok(())
}

fn from_yaml(name: &str, text: &str) -> Result<Config, ConfigError> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Config::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = match error.location() {
            Some(at) => format!("{name}:{}:{}", at.line(), at.column()),
            None => name.to_owned(),
        };
        let problem = match error {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                unknown_key(field, expected.iter().copied())
            }
            YamlError::SerdeUnknownVariant {
                variant, expected, ..
            } => not_one_of(variant, expected),
            YamlError::Message { msg, .. } => msg.clone(),
            YamlError::SerdeInvalidType {
                unexpected, expected, ..
            }
            | YamlError::SerdeInvalidValue {
                unexpected, expected, ..
            } => {
                format!("{unexpected} where {expected} is wanted")
            }
            other => plainly(&other.to_string()),
        };
        ConfigError::new(place, problem)
    })
}

/// The parser's own messages, without the place that they repeat, in this program's words where it has some.
fn plainly(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first
        .split(" at line ")
        .next()
        .unwrap_or(first)
        .trim()
        .trim_start_matches("error: ");
    match first {
        "expected sequence start" => "a list is wanted, such as `[a, b]`".to_owned(),
        "expected mapping start" => "a table of keys is wanted".to_owned(),
        "invalid boolean" => "`true` or `false` is wanted".to_owned(),
        "invalid i32" | "invalid u32" | "invalid u64" | "invalid usize" => {
            "a whole number is wanted".to_owned()
        }
        other => other.split(", set ").next().unwrap_or(other).to_owned(),
    }
}

/// What no single value shows.
fn check(config: &Config) -> Result<(), ConfigError> {
    let otlp = &config.export.otlp;
    let bad = |path: &str, problem: &str| Err(ConfigError::new(path, problem));
    if !config.capture.ring_bytes.0.is_power_of_two()
        || !(1 << 16..=1 << 30).contains(&config.capture.ring_bytes.0)
    {
        return bad(
            "capture.ring_bytes",
            "must be a power of two from 64KiB to 1GiB, such as `16MiB`",
        );
    }
    if !(-20..=19).contains(&config.capture.nice) {
        return bad("capture.nice", "must be from -20 to 19, such as `-10`");
    }
    if otlp.queue_size == 0 || otlp.batch_size == 0 || otlp.batch_size > otlp.queue_size {
        return bad(
            "export.otlp.batch_size",
            "must be at least 1 and at most export.otlp.queue_size",
        );
    }
    if !(1..=64).contains(&otlp.concurrency) {
        return bad("export.otlp.concurrency", "must be from 1 to 64, such as `4`");
    }
    if config.limits.processes == 0 {
        return bad("limits.processes", "must be at least 1");
    }
    for (path, time) in [
        ("correlate.timeout", config.correlate.timeout),
        ("process.ttl", config.process.ttl),
        ("export.otlp.timeout", otlp.timeout),
        ("export.otlp.interval", otlp.interval),
        ("shutdown.timeout", config.shutdown.timeout),
    ] {
        if time.0.is_zero() {
            return bad(path, "must be longer than nothing, such as `5s`");
        }
    }
    if otlp.client_certificate.is_some() != otlp.client_key.is_some() {
        return bad(
            "export.otlp.client_key",
            "client_certificate and client_key go together; one is missing",
        );
    }
    for name in otlp.headers.keys() {
        if http::HeaderName::try_from(name).is_err() {
            return bad(
                "export.otlp.headers",
                &format!("`{name}` cannot be the name of a header"),
            );
        }
    }
    if otlp
        .headers
        .values()
        .any(|value| http::HeaderValue::try_from(value).is_err())
    {
        return bad(
            "export.otlp.headers",
            "a value has characters that a header cannot have",
        );
    }
    for name in &config.attributes.properties {
        if CapturedProperty::new(name).is_none() {
            return bad(
                "attributes.properties",
                &format!("`{name}` is a secret, which is never exported"),
            );
        }
    }
    for (pattern, rate) in &config.sampling.max_messages_per_second {
        let path = "sampling.max_messages_per_second";
        if let Err(problem) = pattern.parse::<Pattern>() {
            return bad(path, &problem);
        }
        if !rate.is_finite() || *rate < 0.0 {
            return bad(path, &format!("`{rate}` is not a number of messages a second"));
        }
    }
    for rule in &config.services {
        if rule.exe.is_none() && rule.cmdline.is_none() && rule.container.is_none() && rule.cgroup.is_none() {
            return bad(
                "services",
                &format!("`{}` needs one of exe, cmdline, container, cgroup", rule.name),
            );
        }
    }
    Ok(())
}
