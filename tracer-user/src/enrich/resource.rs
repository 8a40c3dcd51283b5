//! The OpenTelemetry resource of a traced process, in rmqtrace's own terms.

use std::{sync::Arc, time::SystemTime};

use tracer_core::model::Value;
use uuid::Uuid;

use super::{Facts, Host, service};
use crate::config::otel_env::decode_percent;

/// Namespace of `service.instance.id` values (semantic conventions, resource `service`).
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63009a_8d0f_11ee_aad7_4c796ed8e320);

/// Who made a span.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Resource {
    /// `service.name`, for the terminal.
    pub(crate) service: Arc<str>,
    /// All attributes, `service.name` among them, each name once.
    pub(crate) attributes: Vec<(String, Value)>,
}

/// What a resource is made of besides the process itself.
pub(crate) struct Context<'a> {
    /// The machine.
    pub(crate) host: &'a Host,
    /// The configuration's word on the service's name.
    pub(crate) rule: Option<&'a str>,
    /// Attributes from the configuration.
    pub(crate) configured: &'a [(String, String)],
    /// When the process started, wall-clock time.
    pub(crate) started: Option<SystemTime>,
}

impl Resource {
    /// What the process says of itself wins over the configuration's attributes, those over nothing; what is
    /// observed wins over both, but for the service's own identity.
    pub(crate) fn new(facts: &Facts, context: &Context<'_>) -> Resource {
        let own = resource_attributes(facts.otel_resource_attributes.as_deref().unwrap_or_default());
        let name = service::name(facts, &own, context.rule);
        let mut set = Set::default();
        for (key, value) in context.configured.iter().chain(&own) {
            set.put(key, value.clone());
        }
        set.put("service.name", name.clone());
        if !set.has("service.instance.id") {
            set.put("service.instance.id", instance_id(facts, context.host));
        }
        observed(&mut set, facts, context);
        set.put("telemetry.sdk.name", "rmqtrace");
        set.put("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
        Resource {
            service: name.into(),
            attributes: set.0,
        }
    }
}

fn observed(set: &mut Set, facts: &Facts, context: &Context<'_>) {
    set.put("process.pid", i64::from(facts.pid));
    if let Some(name) = facts.exe_name() {
        set.put("process.executable.name", name.to_owned());
        if let Some(language) = service::Language::of(name) {
            set.put("telemetry.sdk.language", language.name());
            if let Some(runtime) = language.runtime(name) {
                set.put("process.runtime.name", runtime);
            }
        }
    }
    if let Some(started) = context.started {
        set.put(
            "process.creation.time",
            humantime::format_rfc3339_millis(started).to_string(),
        );
    }
    if let Some(uid) = facts.uid {
        set.put("process.user.id", i64::from(uid));
    }
    if let Some(id) = &facts.container {
        set.put("container.id", id.clone());
    }
    let host = context.host;
    if let Some(name) = &host.name {
        set.put("host.name", name.clone());
    }
    if let Some(id) = &host.id {
        set.put("host.id", id.clone());
    }
    set.put("host.arch", host.arch);
    set.put("os.type", "linux");
}

/// The same process gets the same id from every tracer that ever looks at it.
fn instance_id(facts: &Facts, host: &Host) -> String {
    let host_id = host.id.as_deref().or(host.name.as_deref()).unwrap_or_default();
    let boot_id = host.boot_id.as_deref().unwrap_or_default();
    let name = format!(
        "{host_id}/{boot_id}/{}/{}",
        facts.pid,
        facts.start_ticks.unwrap_or_default()
    );
    Uuid::new_v5(&INSTANCE_NAMESPACE, name.as_bytes()).to_string()
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `k=v,k2=v2`, both percent-encoded. An error discards the whole (specification,
/// resource SDK); an unexpanded reference (`$(X)`) names nothing.
pub(crate) fn resource_attributes(text: &str) -> Vec<(String, String)> {
    let pair = |item: &str| {
        let (key, value) = item.split_once('=')?;
        let (key, value) = (decode_percent(key.trim())?, decode_percent(value.trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    let items = text.split(',').filter(|item| !item.trim().is_empty());
    let pairs: Option<Vec<_>> = items.map(pair).collect();
    pairs
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, v)| !v.is_empty() && !v.starts_with('$'))
        .collect()
}

/// Attributes in the order of their first appearance, the last value winning.
#[derive(Default)]
struct Set(Vec<(String, Value)>);

impl Set {
    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((key.to_owned(), value.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn attributes_of_the_environment() {
        let pairs = |text: &str| resource_attributes(text);
        assert_eq!(
            pairs("a=b, c=d%2Ce ,"),
            [("a".into(), "b".into()), ("c".into(), "d,e".into())]
        );
        assert_eq!(pairs("a=b=c"), [("a".into(), "b=c".into())]);
        assert_eq!(pairs("a=$(X),b=1"), [("b".into(), "1".into())]);
        for nothing in ["", "a", "a=%", "a=b,c", "=b"] {
            assert!(pairs(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_whole_resource() {
        let host = Host {
            name: Some("node-1".into()),
            id: Some("cafe".into()),
            boot_id: Some("b007".into()),
            arch: "amd64",
        };
        let facts = Facts {
            pid: 42,
            start_ticks: Some(1234),
            exe: Some("/usr/lib/jvm/bin/java".into()),
            args: ["java", "-jar", "/opt/shop.jar", "--password=secret"]
                .map(str::to_owned)
                .into(),
            otel_resource_attributes: Some(
                "deployment.environment.name=prod,process.pid=1,service.version=2".into(),
            ),
            container: Some("ab".repeat(32)),
            uid: Some(1000),
            ..Facts::default()
        };
        let configured = [
            ("deployment.environment.name".into(), "test".into()),
            ("team".into(), "shop".into()),
        ];
        let started = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        let resource = Resource::new(
            &facts,
            &Context {
                host: &host,
                rule: None,
                configured: &configured,
                started,
            },
        );
        let lines: Vec<_> = resource
            .attributes
            .iter()
            .map(|(k, v)| format!("{k} = {v:?}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        deployment.environment.name = Str("prod")
        team = Str("shop")
        process.pid = Int(42)
        service.version = Str("2")
        service.name = Str("shop")
        service.instance.id = Str("c6bb0574-5f7f-55da-8669-aaf8e8dab77b")
        process.executable.name = Str("java")
        telemetry.sdk.language = Str("java")
        process.creation.time = Str("2023-11-14T22:13:20.123Z")
        process.user.id = Int(1000)
        container.id = Str("abababababababababababababababababababababababababababababababab")
        host.name = Str("node-1")
        host.id = Str("cafe")
        host.arch = Str("amd64")
        os.type = Str("linux")
        telemetry.sdk.name = Str("rmqtrace")
        telemetry.sdk.version = Str("0.1.0")
        "#);
        assert!(!lines.join("").contains("secret"));
    }
}
