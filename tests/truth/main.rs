//! Every kind of message and consumption, from every client, through every server: what rmqtrace says is compared, message by
//! message, with what the client programs logged (`testbed::compare` says how).
//!
//! One run of a pairing of client and server drives all its scenarios, many at a time, each with topics and groups of its
//! own; then each test looks at its part. `TRUTH_FORM` chooses the pairings (`quick`, `full`), `TRUTH_PAGE` names
//! a file for the table.

mod bench;
mod captures;
mod report;
mod row;
mod rows;

use std::{
    env,
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::{Arguments, Trial};
use testbed::{
    artifacts::{CLIENT_VERSIONS, SERVER_VERSIONS},
    client::Library,
    compare::{Agent, Story, compare, is_agent},
    totals,
};

use crate::{
    bench::{Bench, Flavour, Outcome, Pairing},
    report::{Line, Report},
    row::Row,
};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if env::var_os("TRUTH_RECORD").is_some() {
        return record(&arguments);
    }
    let report = Arc::new(Mutex::new(Report::default()));
    let mut trials = Vec::new();
    for pairing in pairings() {
        let lacks = rows::all().filter_map(|row| Some((row.name, row.lacks(pairing)?)));
        for (scenario, why) in lacks.filter(|_| pairing.flavour != Flavour::Steady) {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.lacks(pairing.name(), scenario, why);
        }
        trials.extend(self::trials(pairing, &arguments, &report));
    }
    trials.extend(captures::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let report = report.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = env::var_os("TRUTH_PAGE")
        && let Err(error) = std::fs::write(&path, report.to_string())
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Makes the captures anew, of the scenarios that were asked for.
fn record(arguments: &Arguments) -> ExitCode {
    for pairing in pairings() {
        let filter = arguments.filter.as_deref().unwrap_or_default();
        let rows = rows::all().filter(|row| {
            row.lacks(pairing).is_none()
                && captures::is_kept(pairing, row)
                && scenario(pairing, row).contains(filter)
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            continue;
        }
        if let Err(error) = captures::record(pairing, &rows) {
            eprintln!("{}: {error:#}", pairing.name());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A scenario's full name.
fn scenario(pairing: Pairing, row: &Row) -> String {
    format!("{}: {}", pairing.name(), row.name)
}

fn pairings() -> Vec<Pairing> {
    let [new, old] = CLIENT_VERSIONS.map(Library::Java);
    let [new_server, old_server] = SERVER_VERSIONS;
    let pairing = |library, server, flavour| Pairing {
        library,
        server,
        flavour,
    };
    let quick = vec![
        pairing(new, new_server, Flavour::Plain),
        pairing(old, old_server, Flavour::Plain),
        pairing(Library::Go, new_server, Flavour::Plain),
    ];
    let main = pairing(new, new_server, Flavour::Steady);
    match env::var("TRUTH_FORM").as_deref() {
        Ok("full") => {}
        Ok("quick") => return [main].into_iter().chain(quick).collect(),
        _ => return quick,
    }
    let rest = [
        pairing(new, old_server, Flavour::Plain),
        pairing(old, new_server, Flavour::Plain),
        pairing(Library::Go, old_server, Flavour::Plain),
        pairing(Library::Cpp, new_server, Flavour::Plain),
        pairing(Library::Cpp, old_server, Flavour::Plain),
        pairing(Library::Node, new_server, Flavour::Plain),
        pairing(Library::Node, old_server, Flavour::Plain),
        pairing(Library::Rust, new_server, Flavour::Plain),
        pairing(new, new_server, Flavour::Binary),
        pairing(old, old_server, Flavour::Binary),
        pairing(new, new_server, Flavour::Proxy),
        pairing(new, new_server, Flavour::Agent),
        pairing(old, old_server, Flavour::Agent),
    ];
    [main].into_iter().chain(quick).chain(rest).collect()
}

/// The scenarios of one pairing. The first that runs makes the traffic of all that were asked for.
fn trials(pairing: Pairing, arguments: &Arguments, report: &Arc<Mutex<Report>>) -> Vec<Trial> {
    let wanted = |row: &&'static Row| {
        let filter = arguments.filter.as_deref().unwrap_or_default();
        row.lacks(pairing).is_none() && scenario(pairing, row).contains(filter)
    };
    let steady = std::iter::once(&rows::steady::STEADY);
    let rows: Arc<Vec<&'static Row>> = Arc::new(match pairing.flavour {
        Flavour::Steady => steady.filter(wanted).collect(),
        _ => rows::all().filter(wanted).collect(),
    });
    let outcome: Arc<OnceLock<Result<Outcome, String>>> = Arc::default();
    let mut trials = Vec::new();
    for row in rows.iter().copied() {
        let (rows, outcome, report) = (Arc::clone(&rows), Arc::clone(&outcome), Arc::clone(report));
        trials.push(Trial::test(scenario(pairing, row), move || {
            let outcome =
                outcome.get_or_init(|| Bench::run(pairing, &rows).map_err(|error| format!("{error:#}")));
            judge(pairing, row, outcome, &report).map_err(|error| format!("{error:#}").into())
        }));
    }
    if !rows.is_empty() {
        let outcome = Arc::clone(&outcome);
        trials.push(Trial::test(
            format!("{}: nothing else", pairing.name()),
            move || {
                let outcome = outcome.get().context("no scenario ran");
                let result = outcome.and_then(nothing_else);
                result.map_err(|error| format!("{error:#}").into())
            },
        ));
    }
    trials
}

/// How far from the agent's spans 99 % of ours may begin and end in the full form of the main scenario.
const AGENT_NS: u64 = 1_000_000;

fn is_full() -> bool {
    env::var("TRUTH_FORM").is_ok_and(|form| form == "full")
}

fn judge(
    pairing: Pairing,
    row: &'static Row,
    outcome: &Result<Outcome, String>,
    report: &Mutex<Report>,
) -> Result<()> {
    let outcome = outcome.as_ref().map_err(|error| anyhow!("{error}"))?;
    let topics = outcome.driven.get(row.name).context("the scenario did not run")?;
    let topics = topics.as_ref().map_err(|error| anyhow!("{error}"))?;
    let agent = pairing.has_agent().then(|| Agent::new(&outcome.spans));
    let story = Story {
        topics,
        witnesses: &outcome.witnesses,
        rules: pairing.adapt(row.rules),
        proxy: outcome.proxy,
        agent: agent.as_ref(),
    };
    let mut verdict = compare(&story, &outcome.spans);
    if pairing.flavour == Flavour::Steady && is_full() {
        verdict.problems.extend(verdict.figures.over(AGENT_NS));
    }
    let problems = verdict.problems.len();
    let shown: Vec<String> = verdict.problems.iter().take(3).cloned().collect();
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    let line = Line {
        pairing: pairing.name(),
        scenario: row.name,
        figures: verdict.figures,
        problems,
    };
    println!("{line}");
    report.add(line);
    ensure!(problems == 0, "{problems} problems:\n{}", shown.join("\n"));
    Ok(())
}

/// Every span of this run's topics is some scenario's, and the tracer lost nothing.
fn nothing_else(outcome: &Result<Outcome, String>) -> Result<()> {
    let outcome = outcome.as_ref().map_err(|error| anyhow!("{error}"))?;
    let known: Vec<&String> = outcome.driven.values().flatten().flatten().collect();
    let stray = |span: &&testbed::Span| {
        !is_agent(span)
            && span.topic().contains(&bench::mark())
            && !known.iter().any(|topic| *topic == span.topic())
    };
    let strays: Vec<_> = outcome.spans.iter().filter(stray).collect();
    ensure!(
        strays.is_empty() || outcome.driven.values().any(Result::is_err),
        "{} spans of no scenario: {:?}",
        strays.len(),
        strays.first()
    );
    println!("{}", totals::totals(&outcome.log)?);
    totals::no_loss(&outcome.log)
}
