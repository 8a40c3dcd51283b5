//! The standard variables of OpenTelemetry's OTLP exporter, folded into the settings.
//!
//! Each has a form for all signals (`OTEL_EXPORTER_OTLP_X`) and one for traces
//! (`OTEL_EXPORTER_OTLP_TRACES_X`), which wins. Empty means unset. As the specification asks, a value that
//! cannot be read is reported and passed over, unlike one of rmqtrace's own variables, which is an error.

use std::time::Duration;

use super::{
    schema::{Compression, Otlp, Protocol},
    value::{Endpoint, HumanDuration, Table},
};

/// Applies the variables that `get` knows. Returns what is to be reported.
pub(crate) fn apply(otlp: &mut Otlp, get: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut env = Env {
        get,
        warnings: Vec::new(),
    };
    if let Some(endpoint) = env.traces_only("ENDPOINT", |text| {
        text.parse::<Endpoint>().map(|endpoint| Endpoint {
            exact: true,
            ..endpoint
        })
    }) {
        otlp.endpoint = Some(endpoint);
    } else if let Some(endpoint) = env.all_signals("ENDPOINT", str::parse::<Endpoint>) {
        otlp.endpoint = Some(endpoint);
    }
    if let Some(protocol) = env.either("PROTOCOL", str::parse::<Protocol>) {
        otlp.protocol = Some(protocol);
    }
    if let Some(headers) = env.either("HEADERS", headers) {
        otlp.headers = headers;
    }
    if let Some(timeout) = env.either("TIMEOUT", milliseconds) {
        otlp.timeout = timeout;
    }
    if let Some(compression) = env.either("COMPRESSION", str::parse::<Compression>) {
        otlp.compression = compression;
    }
    for (name, path) in [
        ("CERTIFICATE", &mut otlp.certificate),
        ("CLIENT_CERTIFICATE", &mut otlp.client_certificate),
        ("CLIENT_KEY", &mut otlp.client_key),
    ] {
        if let Some(given) = env.either(name, |text| Ok(text.into())) {
            *path = Some(given);
        }
    }
    if let Some(insecure) = env.either("INSECURE", |text| Ok(text.eq_ignore_ascii_case("true"))) {
        otlp.insecure = insecure;
    }
    env.warnings
}

/// The environment, and what there is to say about it.
pub(super) struct Env<'a> {
    pub(super) get: &'a dyn Fn(&str) -> Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Env<'_> {
    fn either<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.traces_only(name, &read)
            .or_else(|| self.all_signals(name, &read))
    }

    fn traces_only<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.read(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), read)
    }

    fn all_signals<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.read(&format!("OTEL_EXPORTER_OTLP_{name}"), read)
    }

    /// The value of a variable that is set, not empty and readable.
    pub(super) fn read<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = (self.get)(name)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        read(text)
            .map_err(|problem| self.warnings.push(format!("{name} is passed over: {problem}")))
            .ok()
    }
}

fn milliseconds(text: &str) -> Result<HumanDuration, String> {
    let number = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of milliseconds"))?;
    Ok(HumanDuration(Duration::from_millis(number)))
}

/// `k=v,k2=v2`, values percent-encoded as in W3C baggage.
fn headers(text: &str) -> Result<Table, String> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=').ok_or("one item is not `name=value`")?;
        let value = decode_percent(value.trim()).ok_or("one value is not percent-encoded UTF-8")?;
        Ok((name.trim().to_owned(), value))
    };
    text.split(',')
        .filter(|item| !item.trim().is_empty())
        .map(pair)
        .collect()
}

/// Undoes percent-encoding; `None` where a `%` is not followed by two digits or the bytes are not UTF-8.
pub(crate) fn decode_percent(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |b: &u8| char::from(*b).to_digit(16);
                out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                tail
            }
            (b'%', _) => return None,
            (byte, tail) => {
                out.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(vars: &[(&str, &str)]) -> (Otlp, Vec<String>) {
        let mut otlp = Otlp::default();
        let get = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        let warnings = apply(&mut otlp, &get);
        (otlp, warnings)
    }

    #[test]
    fn every_variable_is_honoured_and_the_traces_form_wins() {
        let (got, warnings) = otlp(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/x"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b, Authorization=Basic%20eHg%3D"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/c.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "True"),
        ]);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(
            got.endpoint,
            Some(Endpoint {
                url: "https://traces/x".into(),
                exact: true
            })
        );
        assert_eq!(got.protocol, Some(Protocol::HttpJson));
        assert_eq!(got.headers["Authorization"], "Basic eHg=");
        assert_eq!(got.headers["a"], "b");
        assert_eq!(got.timeout, HumanDuration::from_millis(2500));
        assert_eq!(got.compression, Compression::Gzip);
        assert_eq!(got.certificate, Some("/ca.pem".into()));
        assert_eq!(got.client_certificate, Some("/c.pem".into()));
        assert_eq!(got.client_key, Some("/k.pem".into()));
        assert!(got.insecure);
    }

    #[test]
    fn empty_is_unset_and_nonsense_is_passed_over() {
        let (got, warnings) = otlp(&[
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""),
            ("OTEL_EXPORTER_OTLP_HEADERS", "k=v"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ]);
        assert_eq!(got.headers["k"], "v");
        assert_eq!(got.timeout, Otlp::default().timeout);
        assert_eq!(got.protocol, Some(Protocol::Grpc));
        insta::assert_snapshot!(warnings.join("\n"), @r"
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is passed over: `thrift` is not one of `grpc`, `http/protobuf`, `http/json`
        OTEL_EXPORTER_OTLP_TIMEOUT is passed over: `soon` is not a number of milliseconds
        ");
    }

    #[test]
    fn percent_encoding() {
        for (text, decoded) in [
            ("a", Some("a")),
            ("%41%62", Some("Ab")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(decode_percent(text).as_deref(), decoded, "{text}");
        }
    }
}
