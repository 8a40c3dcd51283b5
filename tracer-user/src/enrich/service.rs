//! The name and language of a traced program.

use super::{Facts, java, script};

/// Programming language of a process, where its executable tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    /// A Java virtual machine.
    Java,
    /// CPython or PyPy.
    Python,
    /// Node.js.
    Node,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// .NET.
    Dotnet,
}

impl Language {
    /// By the executable's file name.
    pub(crate) fn of(executable: &str) -> Option<Language> {
        let base = executable.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Some(match base {
            "java" => Language::Java,
            "python" | "pypy" => Language::Python,
            "node" | "nodejs" => Language::Node,
            "ruby" => Language::Ruby,
            "php" | "php-fpm" => Language::Php,
            "dotnet" => Language::Dotnet,
            _ => return None,
        })
    }

    /// `telemetry.sdk.language`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Java => "java",
            Language::Python => "python",
            Language::Node => "nodejs",
            Language::Ruby => "ruby",
            Language::Php => "php",
            Language::Dotnet => "dotnet",
        }
    }

    /// `process.runtime.name`, where the executable alone says it.
    pub(crate) fn runtime(self, executable: &str) -> Option<&'static str> {
        match self {
            Language::Python if executable.starts_with("pypy") => Some("pypy"),
            Language::Python => Some("cpython"),
            Language::Node => Some("nodejs"),
            Language::Ruby => Some("ruby"),
            Language::Php => Some("php"),
            Language::Dotnet => Some("dotnet"),
            // which virtual machine it is, the file name `java` does not say
            Language::Java => None,
        }
    }
}

/// The service's name by the documented order; `rule` is the configuration's word.
pub(crate) fn name(facts: &Facts, attributes: &[(String, String)], rule: Option<&str>) -> String {
    let said = |name: &Option<String>| name.clone().filter(|n| !n.is_empty());
    let attribute = || {
        attributes
            .iter()
            .find(|(k, _)| k == "service.name")
            .map(|(_, v)| v.clone())
    };
    said(&facts.otel_service_name)
        .or_else(attribute)
        .or_else(|| rule.map(str::to_owned))
        .or_else(|| program(facts))
        .or_else(|| facts.exe_name().map(str::to_owned))
        .unwrap_or_else(|| "unknown_service".to_owned())
}

/// The program that an interpreter or virtual machine runs.
fn program(facts: &Facts) -> Option<String> {
    let executable = facts.exe_name()?;
    if Language::of(executable) == Some(Language::Java) {
        let command = java::parse(&facts.args, &|file| facts.read_file(file));
        let words = facts.java_options.iter().flat_map(|o| o.split_whitespace());
        let environment = words
            .filter_map(|o| o.strip_prefix("-Dotel.service.name="))
            .next_back();
        let own = command
            .properties
            .iter()
            .rev()
            .find(|(k, _)| k == "otel.service.name")
            .map(|(_, v)| v.as_str());
        return own
            .or(environment)
            .filter(|n| !n.is_empty())
            .map(str::to_owned)
            .or(command.program);
    }
    script::program(executable, &facts.args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(exe: &str, line: &str) -> Facts {
        Facts {
            exe: Some(exe.into()),
            args: line.split(' ').map(str::to_owned).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn the_documented_order() {
        let attributes = [("service.name".to_owned(), "attributes".to_owned())];
        let mut f = facts(
            "/usr/lib/jvm/bin/java",
            "java -Dotel.service.name=property -jar shop.jar",
        );
        f.otel_service_name = Some("variable".into());
        assert_eq!(name(&f, &attributes, Some("rule")), "variable");
        f.otel_service_name = None;
        assert_eq!(name(&f, &attributes, Some("rule")), "attributes");
        assert_eq!(name(&f, &[], Some("rule")), "rule");
        assert_eq!(name(&f, &[], None), "property");
        f.args.remove(1);
        assert_eq!(name(&f, &[], None), "shop");
        f.java_options = vec!["-Xmx1g -Dotel.service.name=tool".into()];
        assert_eq!(name(&f, &[], None), "tool");
    }

    #[test]
    fn the_executable_is_the_last_resort() {
        assert_eq!(name(&facts("/opt/shop", "/opt/shop -x"), &[], None), "shop");
        assert_eq!(
            name(&facts("/usr/bin/python3.11", "python3 -c x"), &[], None),
            "python3.11"
        );
        assert_eq!(name(&facts("/usr/bin/java", "java -version"), &[], None), "java");
        assert_eq!(name(&Facts::default(), &[], None), "unknown_service");
    }

    #[test]
    fn languages() {
        for (exe, language) in [
            ("java", Some("java")),
            ("python3.11", Some("python")),
            ("node", Some("nodejs")),
            ("shop", None),
        ] {
            assert_eq!(Language::of(exe).map(Language::name), language, "{exe}");
        }
    }
}
