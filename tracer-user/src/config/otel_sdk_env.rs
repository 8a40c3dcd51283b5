//! The standard variables of OpenTelemetry's SDKs and instrumentation that mean something here: sampler, limits,
//! names.
//!
//! | variable | setting |
//! |---|---|
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | `sampling.sampler`, `sampling.ratio` |
//! | `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, else `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` | `attributes.max_value_length` |
//! | `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, else `OTEL_ATTRIBUTE_COUNT_LIMIT` | `attributes.max_per_span` |
//! | `OTEL_SPAN_LINK_COUNT_LIMIT` | `spans.max_links` |
//! | `OTEL_SEMCONV_STABILITY_OPT_IN` | `semconv` |
//! | `OTEL_INSTRUMENTATION_MESSAGING_EXPERIMENTAL_RECEIVE_TELEMETRY_ENABLED` | `spans.receive` |
//!
//! As the specification asks, a value that cannot be read is reported and passed over.

use super::{
    otel_env::Env,
    schema::{Config, SamplerName, Semconv},
    value::Ratio,
};

const RECEIVE: &str = "OTEL_INSTRUMENTATION_MESSAGING_EXPERIMENTAL_RECEIVE_TELEMETRY_ENABLED";

/// Applies the variables that `get` knows. Returns what is to be reported.
pub(crate) fn apply(config: &mut Config, get: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut env = Env {
        get,
        warnings: Vec::new(),
    };
    // the argument belongs to the sampler: alone it means nothing
    if let Some(sampler) = env.read("OTEL_TRACES_SAMPLER", str::parse::<SamplerName>) {
        config.sampling.sampler = sampler;
        if matches!(
            sampler,
            SamplerName::TraceIdRatio | SamplerName::ParentBasedTraceIdRatio
        ) {
            let ratio = env.read("OTEL_TRACES_SAMPLER_ARG", str::parse::<Ratio>);
            config.sampling.ratio = ratio.unwrap_or_default();
        }
    }
    let attributes = &mut config.attributes;
    for (names, limit) in [
        (
            &[
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
                "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            ][..],
            &mut attributes.max_value_length,
        ),
        (
            &["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"],
            &mut attributes.max_per_span,
        ),
        (&["OTEL_SPAN_LINK_COUNT_LIMIT"], &mut config.spans.max_links),
    ] {
        let given = names.iter().find_map(|name| env.read(name, count));
        *limit = given.unwrap_or(*limit);
    }
    if let Some(semconv) = env.read("OTEL_SEMCONV_STABILITY_OPT_IN", |text| Ok(opt_in(text))) {
        config.semconv = semconv.unwrap_or(config.semconv);
    }
    // as for every boolean variable of OpenTelemetry, all but `true` is false
    let receive = env.read(RECEIVE, |text| Ok(text.eq_ignore_ascii_case("true")));
    config.spans.receive = receive.unwrap_or(config.spans.receive);
    env.warnings
}

fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number"))
}

/// A list, of which other entries are for other instrumentation; both sets win over the new one alone.
fn opt_in(text: &str) -> Option<Semconv> {
    let has = |wanted| text.split(',').any(|entry| entry.trim() == wanted);
    if has("messaging/dup") {
        Some(Semconv::Dup)
    } else {
        has("messaging").then_some(Semconv::New)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> (Config, String) {
        let mut config = Config {
            semconv: Semconv::Old,
            ..Config::default()
        };
        config.sampling.ratio = Ratio(0.5);
        let find = |name: &str| vars.iter().find(|(n, _)| *n == name);
        let warnings = apply(&mut config, &|name| find(name).map(|(_, v)| (*v).to_owned()));
        (config, warnings.join("\n"))
    }

    /// Sampler, argument, what comes of them, and how many warnings.
    #[test]
    fn samplers() {
        for (sampler, argument, expected, ratio, warnings) in [
            ("", "0.25", SamplerName::ParentBasedAlwaysOn, 0.5, 0),
            ("always_off", "0.25", SamplerName::AlwaysOff, 0.5, 0),
            ("traceidratio", "0.25", SamplerName::TraceIdRatio, 0.25, 0),
            (
                "parentbased_traceidratio",
                "",
                SamplerName::ParentBasedTraceIdRatio,
                1.0,
                0,
            ),
            ("traceidratio", "2", SamplerName::TraceIdRatio, 1.0, 1),
            ("traceidratio", "half", SamplerName::TraceIdRatio, 1.0, 1),
            ("traceidratio", "NaN", SamplerName::TraceIdRatio, 1.0, 1),
            ("jaeger_remote", "0.25", SamplerName::ParentBasedAlwaysOn, 0.5, 1),
        ] {
            let vars = [
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", argument),
            ];
            let (config, said) = config(&vars);
            let got = (
                config.sampling.sampler,
                config.sampling.ratio.0,
                said.lines().count(),
            );
            assert_eq!(got, (expected, ratio, warnings), "{sampler} {argument}: {said}");
        }
    }

    #[test]
    fn limits() {
        let limits = |vars: &[(&str, &str)]| {
            let (config, said) = config(vars);
            let attributes = config.attributes;
            let limits = [
                attributes.max_value_length,
                attributes.max_per_span,
                config.spans.max_links,
            ];
            (limits, said)
        };
        let (all, said) = limits(&[
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "20"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "30"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "40"),
        ]);
        assert_eq!((all, said.as_str()), ([20, 30, 40], ""));
        let (none, said) = limits(&[("OTEL_SPAN_LINK_COUNT_LIMIT", "-1")]);
        assert_eq!(none, [4096, 128, 1024]);
        assert_eq!(
            said,
            "OTEL_SPAN_LINK_COUNT_LIMIT is passed over: `-1` is not a whole number"
        );
    }

    #[test]
    fn receive_telemetry() {
        for (text, expected) in [("", false), ("True", true), ("false", false), ("yes", false)] {
            let (config, said) = config(&[(RECEIVE, text)]);
            assert_eq!((config.spans.receive, said.as_str()), (expected, ""), "{text}");
        }
    }

    #[test]
    fn names() {
        for (text, expected) in [
            ("", Semconv::Old),
            ("http", Semconv::Old),
            ("messaging", Semconv::New),
            ("http/dup, messaging/dup,messaging", Semconv::Dup),
            ("messaging/other", Semconv::Old),
        ] {
            let (config, said) = config(&[("OTEL_SEMCONV_STABILITY_OPT_IN", text)]);
            assert_eq!((config.semconv, said.as_str()), (expected, ""), "{text}");
        }
    }
}
