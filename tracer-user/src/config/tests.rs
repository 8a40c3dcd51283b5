//! Precedence and errors of the whole, not of one value.

use super::{keys::KEYS, *};

fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str, &[&str])]) -> Sources {
    Sources {
        file: (!file.is_empty()).then(|| ("rmqtrace.yaml".into(), file.into())),
        env: env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        flags: flags
            .iter()
            .map(|(flag, path, values)| Override {
                flag: (*flag).into(),
                path: (*path).into(),
                values: values.iter().map(|v| (*v).into()).collect(),
            })
            .collect(),
    }
}

fn problem(file: &str, env: &[(&str, &str)], flags: &[(&str, &str, &[&str])]) -> String {
    load(&sources(file, env, flags))
        .expect_err("is wrong")
        .to_string()
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "correlate: {timeout: 1s}\nprocess: {ttl: 2m}\nlog: {level: warn}\nfilter: {topics: [a]}\n";
    let env = [
        ("RMQTRACE_CORRELATE_TIMEOUT", "3s"),
        ("RMQTRACE_LOG_LEVEL", "debug"),
        ("RMQTRACE_LOG_FORMAT", ""),
    ];
    let flags: &[(&str, &str, &[&str])] = &[
        ("--log-level", "log.level", &["trace"]),
        ("--topic", "filter.topics", &["b", "c-{1,2}"]),
    ];
    let config = load(&sources(file, &env, flags)).unwrap().config;
    assert_eq!(config.correlate.timeout.to_string(), "3s");
    assert_eq!(config.process.ttl.to_string(), "2m");
    assert_eq!(config.log.level, schema::Level::Trace);
    assert_eq!(config.log.format, schema::LogFormat::Text);
    let topics: Vec<_> = config.filter.topics.iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["b", "c-{1,2}"]);
    assert_eq!(config.shutdown, schema::Shutdown::default());
}

#[test]
fn own_variable_over_standard_variable_over_file() {
    let file = "export: {otlp: {endpoint: 'http://file:1', timeout: 1s}}";
    let standard = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard:2");
    let endpoint = |env: &[(&str, &str)]| {
        load(&sources(file, env, &[]))
            .unwrap()
            .config
            .export
            .otlp
            .endpoint
            .unwrap()
            .to_string()
    };
    assert_eq!(endpoint(&[]), "http://file:1");
    assert_eq!(endpoint(&[standard]), "http://standard:2");
    assert_eq!(
        endpoint(&[standard, ("RMQTRACE_EXPORT_OTLP_ENDPOINT", "http://own:3")]),
        "http://own:3"
    );
}

#[test]
fn lists_and_tables_from_the_environment() {
    let env = [
        ("RMQTRACE_FILTER_PID", "1, 2"),
        ("RMQTRACE_FILTER_EXE", "{java,go}*,node"),
        ("RMQTRACE_EXPORT_OTLP_HEADERS", "k=v,x=y=z"),
    ];
    let config = load(&sources("", &env, &[])).unwrap().config;
    assert_eq!(config.filter.pid, [1, 2]);
    assert_eq!(config.filter.exe.len(), 2);
    assert_eq!(config.export.otlp.headers["x"], "y=z");
}

/// A place for each kind of mistake, and what is said about it.
#[test]
fn mistakes_in_the_file() {
    let said: Vec<String> = [
        "captur: {}",
        "capture:\n  ring_byte: 1MiB",
        "capture:\n  ring_bytes: 17MB",
        "capture:\n  ring_bytes: 3MiB",
        "capture: {strategy: socktrac}",
        "correlate:\n  timeout: 30",
        "filter:\n  topics: ['a[']",
        "filter:\n  topics: orders",
        "filter:\n  pid: [x]",
        "trace: {derive_ids: maybe}",
        "export:\n  otlp:\n    endpoint: ftp://h",
        "export: {otlp: {client_key: k.pem}}",
        "export: {otlp: {headers: {'a b': c}}}",
        "sampling: {sampler: always}",
        "sampling: {ratio: 2}",
        "sampling: {max_messages_per_second: {'a[': 1}}",
        "sampling: {max_messages_per_second: {a: -1}}",
        "attributes: {properties: [accesskey]}",
        "trace: {context_properties: [x=w3d]}",
        "semconv: both",
        "services: [{name: a}]",
        "services: [{exe: a}]",
        "log: [",
        "capture: {kernel_log: no}",
        "log: {level: info, level: warn}",
    ]
    .iter()
    .map(|file| problem(file, &[], &[]))
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// Words and numbers that YAML would take for something else are what they look like.
#[test]
fn scalars_are_what_they_look_like() {
    let file = "capture: {kernel_log: off, ring_bytes: 65536}\nfilter: {topics: [no, 12, 1e3, 'a b'], container: [012]}";
    let config = load(&sources(file, &[], &[])).unwrap().config;
    assert_eq!(config.capture.ring_bytes.0, 65536);
    let topics: Vec<_> = config.filter.topics.iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["no", "12", "1e3", "a b"]);
    assert_eq!(config.filter.container, ["012"]);
}

#[test]
fn mistakes_elsewhere() {
    let said = [
        problem("", &[("RMQTRACE_CAPTURE_RING_BYTE", "1MiB")], &[]),
        problem("", &[("RMQTRACE_CAPTURE_RING_BYTES", "big")], &[]),
        problem("", &[("RMQTRACE_XYZ", "1")], &[]),
        problem("", &[], &[("--pid", "filter.pid", &["12x"])]),
        problem("", &[], &[("--print", "export.print", &["txt"])]),
        problem("", &[], &[("--set", "capture.ringbytes", &["1"])]),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn empty_files_and_sections_are_defaults() {
    for file in [
        "",
        "# nothing\n",
        "capture:\nlog:\nservices:\n",
        "{}",
        "capture:\n  kernel_log: off",
    ] {
        assert_eq!(
            load(&sources(file, &[], &[]))
                .unwrap_or_else(|e| panic!("{file:?}: {e}"))
                .config,
            Config::default()
        );
    }
}

/// What `rmqtrace config` prints can be read back.
#[test]
fn printed_settings_are_a_file() {
    let yaml = serde_saphyr::to_string(&Config::default()).unwrap();
    assert_eq!(load(&sources(&yaml, &[], &[])).unwrap().config, Config::default());
    insta::assert_snapshot!(yaml);
}

/// Leaves of the default settings; `services` is a list of tables and only in the file.
fn leaves(value: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                leaves(
                    value,
                    &if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    },
                    out,
                );
            }
        }
        _ => out.push(path.to_owned()),
    }
}

#[test]
fn keys_schema_and_documentation_agree() {
    let mut schema = Vec::new();
    leaves(&serde_json::to_value(Config::default()).unwrap(), "", &mut schema);
    schema.retain(|path| path != "services");
    schema.sort();
    let mut keys: Vec<String> = KEYS.iter().map(|k| k.path.to_owned()).collect();
    keys.sort();
    assert_eq!(schema, keys);
    let page = include_str!("../../../docs/configuration.md");
    for key in keys.iter().map(String::as_str).chain(["services"]) {
        assert!(
            page.contains(&format!("| `{key}` |")),
            "docs/configuration.md does not name `{key}`"
        );
    }
}
