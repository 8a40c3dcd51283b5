//! Does a process make RocketMQ spans itself?
//!
//! | sign | where |
//! |---|---|
//! | OpenTelemetry's Java agent, by the path of a `-javaagent` that has `opentelemetry` or `otel` in it | command line, argument files, `JAVA_TOOL_OPTIONS`, `JDK_JAVA_OPTIONS` |
//! | SkyWalking's Java agent, by `skywalking` likewise | likewise |
//! | a mapping named `OTEL_CTX`, by which an OpenTelemetry SDK tells readers outside about itself | `/proc/<pid>/maps` |
//!
//! An OpenTelemetry agent that is switched off, whose RocketMQ instrumentation is, or that exports no traces, makes
//! none. Its settings are system properties, the agent's own arguments, which win, or environment variables, which
//! lose.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Facts, java};

/// Who makes a process's RocketMQ spans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Agent {
    /// OpenTelemetry's Java agent, or a distribution of it.
    OpenTelemetry,
    /// SkyWalking's Java agent.
    Skywalking,
    /// An OpenTelemetry SDK that shares its context.
    Sdk,
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Agent::OpenTelemetry => "the OpenTelemetry Java agent",
            Agent::Skywalking => "the SkyWalking Java agent",
            Agent::Sdk => "an OpenTelemetry SDK (OTEL_CTX)",
        })
    }
}

/// Variables of a process's environment that are looked at here.
pub(crate) const VARIABLES: [&str; 5] = [
    "OTEL_JAVAAGENT_ENABLED",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_INSTRUMENTATION_COMMON_DEFAULT_ENABLED",
    "OTEL_INSTRUMENTATION_ROCKETMQ_CLIENT_ENABLED",
];

/// The agent that makes this process's RocketMQ spans.
pub(crate) fn agent(facts: &Facts) -> Option<Agent> {
    let command = java::parse(&facts.args, &|file| facts.read_file(file));
    let options = facts.java_options.iter().flat_map(|line| line.split_whitespace());
    let further = java::options(options);
    let agents = || command.agents.iter().chain(&further.agents);
    let is = |agent: &&String, words: &[&str]| {
        let path = agent.split('=').next().unwrap_or_default().to_lowercase();
        words.iter().any(|word| path.contains(word))
    };
    if agents().any(|agent| is(&agent, &["skywalking"])) {
        return Some(Agent::Skywalking);
    }
    let Some(agent) = agents().find(|agent| is(agent, &["opentelemetry", "otel"])) else {
        return facts.otel_context.then_some(Agent::Sdk);
    };
    let mut settings = Settings::default();
    for (name, value) in &facts.agent_variables {
        settings.set(name, value);
    }
    // `JAVA_TOOL_OPTIONS` is read before the command line, of which the last word counts
    for (name, value) in further.properties.iter().chain(&command.properties) {
        settings.set(name, value);
    }
    let arguments = agent.split_once('=').map_or("", |(_, arguments)| arguments);
    for (name, value) in arguments.split(';').filter_map(|pair| pair.split_once('=')) {
        settings.set(name, value);
    }
    settings.makes_spans().then_some(Agent::OpenTelemetry)
}

/// Settings of the OpenTelemetry agent, by names that a property and a variable have in common.
#[derive(Debug, Default)]
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn set(&mut self, name: &str, value: &str) {
        let name = name.trim().to_lowercase().replace(['.', '-'], "_");
        self.0.insert(name, value.trim().to_lowercase());
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|text| text == value)
    }

    fn makes_spans(&self) -> bool {
        const ROCKETMQ: &str = "otel_instrumentation_rocketmq_client_enabled";
        let instruments = if self.is("otel_instrumentation_common_default_enabled", "false") {
            self.is(ROCKETMQ, "true")
        } else {
            !self.is(ROCKETMQ, "false")
        };
        instruments
            && !self.is("otel_javaagent_enabled", "false")
            && !self.is("otel_sdk_disabled", "true")
            && !self.is("otel_traces_exporter", "none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Command line, `JAVA_TOOL_OPTIONS`, one variable, and who makes spans.
    #[test]
    fn agents() {
        const OTEL: &str = "java -javaagent:/opt/opentelemetry-javaagent-2.33.1.jar";
        let some = Some(Agent::OpenTelemetry);
        for (line, options, variable, expected) in [
            ("java -jar shop.jar", "", "", None),
            ("java -javaagent:/opt/jolokia.jar -jar shop.jar", "", "", None),
            (&format!("{OTEL} -jar shop.jar"), "", "", some),
            (
                "java -javaagent:/otel-auto-instrumentation-java/javaagent.jar Shop",
                "",
                "",
                some,
            ),
            ("java Shop", "-Xmx1g -javaagent:/x/OpenTelemetry.jar", "", some),
            // arguments of the program are none of the machine
            (
                "java Shop -javaagent:/opt/opentelemetry-javaagent.jar",
                "",
                "",
                None,
            ),
            (
                "java -javaagent:/sky/skywalking-agent/skywalking-agent.jar=a=b Shop",
                "",
                "",
                Some(Agent::Skywalking),
            ),
            (
                &format!("{OTEL} Shop"),
                "",
                "OTEL_INSTRUMENTATION_ROCKETMQ_CLIENT_ENABLED=false",
                None,
            ),
            (&format!("{OTEL} Shop"), "", "OTEL_JAVAAGENT_ENABLED=False", None),
            (&format!("{OTEL} Shop"), "", "OTEL_TRACES_EXPORTER=none", None),
            (&format!("{OTEL} Shop"), "", "OTEL_TRACES_EXPORTER=otlp", some),
            (
                &format!("{OTEL} Shop"),
                "",
                "OTEL_INSTRUMENTATION_COMMON_DEFAULT_ENABLED=false",
                None,
            ),
            (&format!("{OTEL} -Dotel.sdk.disabled=true Shop"), "", "", None),
            (
                &format!("{OTEL} Shop"),
                "-Dotel.javaagent.enabled=false",
                "",
                None,
            ),
            (
                &format!("{OTEL} -Dotel.instrumentation.rocketmq-client.enabled=true Shop"),
                "",
                "OTEL_INSTRUMENTATION_ROCKETMQ_CLIENT_ENABLED=false",
                some,
            ),
            (
                &format!("{OTEL}=otel.javaagent.enabled=false;a=b Shop"),
                "",
                "",
                None,
            ),
        ] {
            let facts = Facts {
                args: line.split(' ').map(str::to_owned).collect(),
                java_options: vec![options.to_owned()],
                agent_variables: variable
                    .split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into_iter()
                    .collect(),
                ..Facts::default()
            };
            assert_eq!(agent(&facts), expected, "{line} {options} {variable}");
        }
    }

    #[test]
    fn a_shared_context() {
        let mut facts = Facts {
            otel_context: true,
            ..Facts::default()
        };
        assert_eq!(agent(&facts), Some(Agent::Sdk));
        // of an agent that is known to make none
        facts.args = ["java", "-javaagent:/otel.jar", "-Dotel.javaagent.enabled=false"]
            .map(str::to_owned)
            .into();
        assert_eq!(agent(&facts), None);
    }
}
