//! Only what the filters let through; all the same traffic, one tracer for each filter.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use testbed::{Mode, Send, client::Library};

use crate::{
    scene::Scene,
    trial,
    world::{NEWEST, World},
};

const LIBRARY: Library = Library::Java(testbed::artifacts::CLIENT_VERSIONS[0]);
/// Messages of each client to each topic.
const EACH: usize = 3;

/// One of three programs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Who {
    /// Java, running before the tracers.
    Java,
    /// Go, running before the tracers.
    Go,
    /// Go, started after them.
    LateGo,
}

/// What a filter lets through: the program and the topic's first letter.
type Seen = BTreeSet<(Who, char)>;

struct Filter {
    name: &'static str,
    /// `{java}` stands for the Java program's process id, `{go}` for the Go program's file.
    args: &'static [&'static str],
    wanted: &'static [(Who, char)],
}

const FILTERS: [Filter; 7] = [
    Filter {
        name: "none",
        args: &[],
        wanted: &[
            (Who::Java, 'a'),
            (Who::Java, 'b'),
            (Who::Go, 'a'),
            (Who::Go, 'b'),
            (Who::LateGo, 'a'),
            (Who::LateGo, 'b'),
        ],
    },
    Filter {
        name: "--topic 'a*'",
        args: &["--topic", "a*"],
        wanted: &[(Who::Java, 'a'), (Who::Go, 'a'), (Who::LateGo, 'a')],
    },
    Filter {
        name: "--exclude-topic 'a*'",
        args: &["--exclude-topic", "a*"],
        wanted: &[(Who::Java, 'b'), (Who::Go, 'b'), (Who::LateGo, 'b')],
    },
    Filter {
        name: "--pid",
        args: &["--pid", "{java}"],
        wanted: &[(Who::Java, 'a'), (Who::Java, 'b')],
    },
    Filter {
        name: "--exe",
        args: &["--exe", "go-client*"],
        wanted: &[
            (Who::Go, 'a'),
            (Who::Go, 'b'),
            (Who::LateGo, 'a'),
            (Who::LateGo, 'b'),
        ],
    },
    Filter {
        name: "--exclude-exe and --topic",
        args: &["--exclude-exe", "go-client*", "--topic", "b*"],
        wanted: &[(Who::Java, 'b')],
    },
    Filter {
        name: "--group",
        args: &["--group", "*-late"],
        wanted: &[(Who::LateGo, 'a'), (Who::LateGo, 'b')],
    },
];

type Shared = OnceLock<Result<Vec<(Seen, usize)>, String>>;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let shared: Arc<Mutex<Shared>> = Arc::default();
    FILTERS
        .iter()
        .enumerate()
        .map(|(i, filter)| {
            let (world, shared) = (Arc::clone(world), Arc::clone(&shared));
            trial(format!("filters: {}", filter.name), move || {
                let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let results = shared.get_or_init(|| traffic(&world).map_err(|error| format!("{error:#}")));
                let (seen, count) = results
                    .as_ref()
                    .map_err(|error| anyhow!("{error}"))?
                    .get(i)
                    .context("no result")?;
                let wanted: Seen = filter.wanted.iter().copied().collect();
                ensure!(*seen == wanted, "seen {seen:?}, wanted {wanted:?}");
                ensure!(*count == EACH * wanted.len(), "{count} spans");
                Ok(())
            })
        })
        .collect()
}

/// All programs send to both topics while all tracers watch; gives what each tracer saw.
fn traffic(world: &World) -> Result<Vec<(Seen, usize)>> {
    let server = world.server(NEWEST)?;
    let topics = [world.topic(server, "a-filter")?, world.topic(server, "b-filter")?];
    let mut java = world.client(LIBRARY, server, "producer")?;
    let mut go = world.client(Library::Go, server, "producer")?;
    java.producer("filter-java")?;
    go.producer("filter-go")?;
    // Their connections to the broker are open before the tracers start.
    for (client, group) in [(&mut java, "filter-java"), (&mut go, "filter-go")] {
        client.send(Send::new(group, &world.topic(server, "before")?, Mode::Sync, 1))?;
    }
    let java_pid = java.pid().to_string();
    let mut scenes = Vec::new();
    for filter in &FILTERS {
        let args: Vec<&str> = filter
            .args
            .iter()
            .map(|arg| if *arg == "{java}" { java_pid.as_str() } else { arg })
            .collect();
        scenes.push(Scene::start(world, "filter", &args)?);
    }
    let mut late = world.client(Library::Go, server, "late")?;
    late.producer("filter-late")?;
    for (client, group) in [
        (&mut java, "filter-java"),
        (&mut go, "filter-go"),
        (&mut late, "filter-late"),
    ] {
        for topic in &topics {
            client.send(Send::new(group, topic, Mode::Sync, EACH))?;
        }
    }
    let pids = [
        (java.pid(), Who::Java),
        (go.pid(), Who::Go),
        (late.pid(), Who::LateGo),
    ];
    for client in [java, go, late] {
        client.finish()?;
    }
    scenes
        .into_iter()
        .map(|scene| {
            let (spans, _) = scene.finish(world)?;
            let mut seen = Seen::new();
            for span in &spans {
                let (_, who) = pids
                    .iter()
                    .find(|(pid, _)| span.pid() == Some(i64::from(*pid)))
                    .with_context(|| format!("of another process: {span:#?}"))?;
                seen.insert((*who, span.topic().chars().next().context("no topic")?));
            }
            Ok((seen, spans.len()))
        })
        .collect()
}
