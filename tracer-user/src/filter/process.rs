//! The filter by process, and the rules that name services: both look at a process's facts.

use globset::{GlobMatcher, GlobSet};

use super::Patterns;
use crate::{
    config::schema::{Filter, ServiceRule},
    enrich::Facts,
};

/// Whether a process is traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is.
    Allow,
    /// It is not; the kernel side leaves it alone from now on.
    Deny,
}

/// Which processes. Of several kinds of condition all that are given must hold; an exclusion wins.
#[derive(Clone, Debug)]
pub(crate) struct ProcessFilter {
    pid: Vec<u32>,
    exclude_pid: Vec<u32>,
    exe: Patterns,
    cmdline: Patterns,
    container: Vec<String>,
    exclude_container: Vec<String>,
    cgroup: Patterns,
}

impl ProcessFilter {
    /// Compiles the settings.
    pub(crate) fn new(filter: &Filter) -> Result<ProcessFilter, globset::Error> {
        Ok(ProcessFilter {
            pid: filter.pid.clone(),
            exclude_pid: filter.exclude_pid.clone(),
            exe: Patterns::new(&filter.exe, &filter.exclude_exe)?,
            cmdline: Patterns::new(&filter.cmdline, &filter.exclude_cmdline)?,
            container: filter.container.clone(),
            exclude_container: filter.exclude_container.clone(),
            cgroup: Patterns::new(&filter.cgroup, &filter.exclude_cgroup)?,
        })
    }

    /// What becomes of this process.
    pub(crate) fn verdict(&self, facts: &Facts) -> Verdict {
        let pid =
            !self.exclude_pid.contains(&facts.pid) && (self.pid.is_empty() || self.pid.contains(&facts.pid));
        let exe = || self.exe.pass(exe_names(facts));
        let cmdline = || self.cmdline.is_empty() || self.cmdline.pass([facts.command_line().as_str()]);
        let container = || {
            let id = facts.container.as_deref();
            !begins(id, &self.exclude_container) && (self.container.is_empty() || begins(id, &self.container))
        };
        let cgroup = || self.cgroup.pass(facts.cgroup.as_deref());
        if pid && exe() && cmdline() && container() && cgroup() {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }
}

/// An executable goes by its path and by its file name.
fn exe_names(facts: &Facts) -> impl Iterator<Item = &str> + Clone {
    facts.exe.as_deref().into_iter().chain(facts.exe_name())
}

fn begins(id: Option<&str>, prefixes: &[String]) -> bool {
    id.is_some_and(|id| {
        prefixes
            .iter()
            .any(|p| !p.is_empty() && id.starts_with(p.as_str()))
    })
}

/// The configuration's names for services.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    exe: Option<GlobSet>,
    cmdline: Option<GlobMatcher>,
    container: Option<String>,
    cgroup: Option<GlobMatcher>,
}

impl ServiceRules {
    /// Compiles the settings.
    pub(crate) fn new(rules: &[ServiceRule]) -> Result<ServiceRules, globset::Error> {
        let rule = |rule: &ServiceRule| {
            let exe = rule
                .exe
                .as_ref()
                .map(|p| super::set(std::slice::from_ref(p)))
                .transpose()?;
            Ok(Rule {
                name: rule.name.clone(),
                exe,
                cmdline: rule.cmdline.as_ref().map(|p| p.glob().compile_matcher()),
                container: rule.container.clone(),
                cgroup: rule.cgroup.as_ref().map(|p| p.glob().compile_matcher()),
            })
        };
        rules.iter().map(rule).collect::<Result<_, _>>().map(ServiceRules)
    }

    /// The name of the first rule whose conditions all hold.
    pub(crate) fn name(&self, facts: &Facts) -> Option<&str> {
        let holds = |rule: &&Rule| {
            rule.exe
                .as_ref()
                .is_none_or(|set| exe_names(facts).any(|n| set.is_match(n)))
                && rule
                    .cmdline
                    .as_ref()
                    .is_none_or(|m| m.is_match(facts.command_line()))
                && rule
                    .container
                    .as_ref()
                    .is_none_or(|c| begins(facts.container.as_deref(), std::slice::from_ref(c)))
                && rule
                    .cgroup
                    .as_ref()
                    .is_none_or(|m| facts.cgroup.as_deref().is_some_and(|g| m.is_match(g)))
        };
        self.0.iter().find(holds).map(|rule| rule.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            pid: 7,
            exe: Some("/usr/lib/jvm/bin/java".into()),
            args: ["java", "-jar", "/opt/shop.jar"].map(str::to_owned).into(),
            cgroup: Some("/system.slice/shop.service".into()),
            container: Some("3f1c".repeat(16)),
            ..Facts::default()
        }
    }

    /// Settings, and whether the process above passes.
    #[test]
    fn processes() {
        for (settings, allowed) in [
            ("{}", true),
            ("{pid: [7, 8]}", true),
            ("{pid: [8]}", false),
            ("{exclude_pid: [7]}", false),
            ("{exe: [java]}", true),
            ("{exe: ['/usr/*/java']}", true),
            ("{exe: [go]}", false),
            ("{exclude_exe: ['j*']}", false),
            ("{exe: [java], exclude_exe: ['/usr/*']}", false),
            ("{cmdline: ['*shop.jar']}", true),
            ("{cmdline: ['shop.jar']}", false),
            ("{exclude_cmdline: ['*-jar*']}", false),
            ("{container: ['3f1c']}", true),
            ("{container: ['f1c']}", false),
            ("{container: ['']}", false),
            ("{exclude_container: ['3f']}", false),
            ("{cgroup: ['/system.slice/*']}", true),
            ("{exclude_cgroup: ['*shop*']}", false),
            ("{exe: [java], pid: [8]}", false),
        ] {
            let filter: Filter = serde_saphyr::from_str(settings).unwrap();
            let verdict = ProcessFilter::new(&filter).unwrap().verdict(&facts());
            assert_eq!(verdict == Verdict::Allow, allowed, "{settings}");
        }
    }

    /// A process of which nothing is known passes only where nothing is asked for.
    #[test]
    fn unknown_processes() {
        for (settings, allowed) in [
            ("{}", true),
            ("{exclude_exe: [java]}", true),
            ("{exe: ['*']}", false),
        ] {
            let filter: Filter = serde_saphyr::from_str(settings).unwrap();
            let verdict = ProcessFilter::new(&filter).unwrap().verdict(&Facts::default());
            assert_eq!(verdict == Verdict::Allow, allowed, "{settings}");
        }
    }

    #[test]
    fn the_first_rule_that_holds_names_the_service() {
        let rules: Vec<ServiceRule> = serde_saphyr::from_str(
            "[{name: a, exe: go}, {name: b, exe: java, cmdline: '*billing*'}, {name: c, exe: java, container: 3f1c}, {name: d, cgroup: '*'}]",
        )
        .unwrap();
        let rules = ServiceRules::new(&rules).unwrap();
        assert_eq!(rules.name(&facts()), Some("c"));
        assert_eq!(
            rules.name(&Facts {
                cgroup: Some("/x".into()),
                ..Facts::default()
            }),
            Some("d")
        );
        assert_eq!(rules.name(&Facts::default()), None);
    }
}
