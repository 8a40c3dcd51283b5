//! What was sent is what was seen and what was declared lost, to the byte and for each connection, whatever is done to the
//! tracer. The traffic is of the testbed's `load` program, which knows what it moved over each connection.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use testbed::{
    Load, Span,
    load::Moved,
    spans::SpanFile,
    totals::{no_loss_except, total},
    usage,
};

use crate::{scene::Filed, trial, world::World};

/// How long the traffic, and the tracer behind it, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most memory of the tracer, whatever happens: its tables, the queues of its outputs when they are full, and the ring.
const MOST_KIB: u64 = 256 * 1024;

/// What happens to the tracer while frames move.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// It does not run for so long.
    Stopped(Duration),
    /// It starts when connections are open and the first frame of each is under way.
    Late,
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Every message has its span, but the first of each connection where the tracer came late, and nothing is named lost.
    Everything,
    /// Something is lost: the test would show nothing if nothing were.
    Loss,
    /// Either.
    Accounts,
}

struct Case {
    name: &'static str,
    /// Arguments of `load`.
    load: &'static [(&'static str, usize)],
    /// Further arguments of the tracer.
    tracer: &'static [&'static str],
    fault: Fault,
    wanted: Wanted,
}

const SMALL_RING: &[&str] = &["--ring-bytes", "64KiB"];

const CASES: &[Case] = &[
    Case {
        name: "many connections at once",
        load: &[("connections", 200), ("threads", 2), ("messages", 100)],
        tracer: &[],
        fault: Fault::None,
        wanted: Wanted::Everything,
    },
    Case {
        name: "bodies left out in user space",
        load: &[
            ("connections", 20),
            ("threads", 2),
            ("messages", 100),
            ("body", 30_000),
            // 60 MB a second through the ring: what is asked here is whether all is there, not how fast
            ("rate", 2_000),
        ],
        tracer: &["--set", "capture.bodies=user"],
        fault: Fault::None,
        wanted: Wanted::Everything,
    },
    Case {
        name: "ten thousand connections",
        load: &[
            ("connections", 10_000),
            ("threads", 2),
            ("messages", 4),
            ("rate", 5_000),
        ],
        tracer: &[],
        fault: Fault::None,
        wanted: Wanted::Everything,
    },
    Case {
        name: "fifty thousand topics",
        load: &[
            ("connections", 10),
            ("threads", 2),
            ("messages", 5_000),
            ("topics", 50_000),
            ("rate", 10_000),
        ],
        tracer: &[],
        fault: Fault::None,
        wanted: Wanted::Everything,
    },
    Case {
        name: "frames of 16 MiB",
        load: &[
            ("connections", 4),
            ("threads", 2),
            ("messages", 10),
            ("body", (16 << 20) - 1024),
        ],
        tracer: &[],
        fault: Fault::None,
        wanted: Wanted::Everything,
    },
    Case {
        name: "a ring that is too small",
        load: &[
            ("connections", 50),
            ("threads", 2),
            ("messages", 2_000),
            ("burst", 32),
        ],
        tracer: SMALL_RING,
        fault: Fault::None,
        wanted: Wanted::Loss,
    },
    Case {
        name: "a tracer that stands still for three seconds",
        load: &[
            ("connections", 50),
            ("threads", 2),
            ("messages", 2_000),
            ("rate", 15_000),
        ],
        tracer: &[],
        fault: Fault::Stopped(Duration::from_secs(3)),
        wanted: Wanted::Loss,
    },
    Case {
        name: "a tracer that comes in the midst of frames",
        load: &[
            ("connections", 100),
            ("threads", 2),
            ("messages", 50),
            ("before", 10),
            ("rate", 5_000),
        ],
        tracer: &[],
        fault: Fault::Late,
        wanted: Wanted::Everything,
    },
    Case {
        name: "as fast as frames can be made",
        load: &[
            ("connections", 50),
            ("threads", 2),
            ("messages", 8_000),
            ("burst", 32),
            ("body", 256),
        ],
        tracer: &[],
        fault: Fault::None,
        wanted: Wanted::Accounts,
    },
];

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in CASES {
        let world = Arc::clone(world);
        trials.push(trial(format!("accounting: {}", case.name), move || {
            run(&world, case)
        }));
    }
    trials
}

/// What the tracer says became of a connection's bytes: seen and lost, of what was sent and of what was received.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Its end was seen. The kernel skips a program that would run in the midst of itself, and counts that.
    closed: bool,
    sent: (u64, u64),
    received: (u64, u64),
}

impl Seen {
    fn lost(self) -> u64 {
        self.sent.1 + self.received.1
    }
}

fn run(world: &World, case: &Case) -> Result<()> {
    let dir = world.dir()?;
    let name = world.fresh("accounting");
    let args = [&["--exe", env!("CARGO_BIN_EXE_load")], case.tracer].concat();
    let start_load = || Load::start(Path::new(env!("CARGO_BIN_EXE_load")), dir, &name, case.load);
    let early = matches!(case.fault, Fault::Late).then(start_load).transpose()?;
    let Filed {
        mut tracer, spans, ..
    } = Filed::start(world, &name, &args)?;
    let mut load = early.map_or_else(start_load, Ok)?;
    load.go()?;
    if let Fault::Stopped(time) = case.fault {
        // it has begun when the first connections are known
        tracer.process().wait_for_log("remote=", PATIENCE)?;
        tracer.process().signal(libc::SIGSTOP)?;
        thread::sleep(time);
        tracer.process().signal(libc::SIGCONT)?;
    }
    let moved = load.accounts()?;
    let most = usage::most_resident_kib(tracer.pid())?;
    ensure!(most <= MOST_KIB, "{most} KiB of memory, {MOST_KIB} at most");
    let (status, log) = tracer.stop()?;
    ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
    let seen = connections(&log, load.pid())?;
    let late = matches!(case.fault, Fault::Late);
    let lost = bytes(&moved, &seen, late)?;
    let named = |name| total(&log, name).unwrap_or_default();
    let declared = named("bytes_lost");
    // other processes' connections are captured until it is known that they are not wanted
    let others = named("records_filtered") > 0;
    ensure!(
        lost == declared || (others && lost < declared),
        "{lost} bytes are missing, the totals name {declared}"
    );
    let unended = seen.values().filter(|seen| !seen.closed).count() as u64;
    let skipped = named("recursion_misses");
    ensure!(
        unended <= skipped,
        "{unended} connections have no end, and the kernel skipped {skipped} programs"
    );
    let mut file = SpanFile::new(&spans);
    file.refresh()?;
    let missing = messages(&moved, &seen, late, &file.into_spans())?;
    let all: usize = moved.iter().map(|moved| moved.messages).sum();
    println!(
        "{}: {all} messages, {missing} without a span; {lost} bytes lost; {most} KiB of memory at most",
        case.name
    );
    match case.wanted {
        Wanted::Everything => {
            let passed = if late { moved.len() } else { 0 };
            ensure!(missing == passed, "{missing} messages have no span");
            // which cost connections their end, and nothing else: that was looked at
            no_loss_except(&log, "recursion_misses=")
        }
        Wanted::Loss => {
            ensure!(lost > 0, "nothing was lost, so nothing was tested");
            Ok(())
        }
        Wanted::Accounts => Ok(()),
    }
}

/// The connections of a process that the tracer saw the end of, by the client's port.
fn connections(log: &str, pid: u32) -> Result<HashMap<u16, Seen>> {
    let mut ports = HashMap::new();
    let mut closed = HashMap::new();
    for line in log.lines() {
        let word = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str| word(name).and_then(|value| value.parse::<u64>().ok());
        let Some(connection) = number("connection") else {
            continue;
        };
        if let Some(local) = word("local").filter(|_| number("pid") == Some(pid.into())) {
            let port = local.rsplit_once(':').context("no port")?.1.parse()?;
            ports.insert(connection, port);
        } else if let (Some(sent), Some(sent_lost), Some(received), Some(received_lost)) = (
            number("sent"),
            number("sent_lost"),
            number("received"),
            number("received_lost"),
        ) && let Some(port) = ports.get(&connection)
        {
            closed.insert(
                *port,
                Seen {
                    closed: word("why") == Some("Closed"),
                    sent: (sent, sent_lost),
                    received: (received, received_lost),
                },
            );
        }
    }
    Ok(closed)
}

/// Checks every connection's bytes; gives how many are lost in all. `late`: what was left of the first frame that was sent when
/// the tracer came is nobody's.
fn bytes(moved: &[Moved], seen: &HashMap<u16, Seen>, late: bool) -> Result<u64> {
    let mut lost = 0;
    for connection in moved {
        let seen = seen
            .get(&connection.local)
            .with_context(|| format!("nothing is said of port {}", connection.local))?;
        let begun = match seen.sent {
            (bytes, missing) if late => connection.sent.saturating_sub(bytes + missing),
            _ => 0,
        };
        // frames differ by the digits in them
        let frame = connection.sent / connection.messages.max(1) as u64 + 16;
        ensure!(
            begun <= frame,
            "port {}: {begun} bytes are nobody's",
            connection.local
        );
        for (moved, (bytes, missing)) in [
            (connection.sent - begun, seen.sent),
            (connection.received, seen.received),
        ] {
            // what is missing at the end of a connection is known by its end
            let told = bytes + missing == moved || (!seen.closed && bytes + missing < moved);
            ensure!(told, "port {}: {moved} bytes, {seen:?}", connection.local);
            lost += moved - bytes;
        }
    }
    Ok(lost)
}

/// Checks every span, and that messages are missing only on connections that lost bytes, and the first of each where the tracer
/// came `late`; gives how many are missing.
fn messages(moved: &[Moved], seen: &HashMap<u16, Seen>, late: bool, spans: &[Span]) -> Result<usize> {
    let mut found = HashSet::new();
    for span in spans {
        let number = number(span).with_context(|| format!("not one of ours: {span:#?}"))?;
        ensure!(found.insert(number), "two spans of message {number}");
        ensure!(span.operation() == "send", "{span:#?}");
        // what the answer said belongs to the request
        let queue = i64::try_from(number % 8)?;
        let partition = span.text("messaging.destination.partition.id").parse().ok();
        ensure!(partition == Some(queue), "{span:#?}");
    }
    let mut missing = 0;
    for connection in moved {
        let end = connection.first + connection.messages;
        let without = (connection.first..end)
            .filter(|number| !found.contains(number))
            .count();
        let first = usize::from(late && !found.contains(&connection.first));
        let lost = seen.get(&connection.local).map_or(0, |seen| seen.lost());
        ensure!(
            without == first || lost > 0,
            "port {}: {without} messages have no span, and no byte is lost",
            connection.local
        );
        missing += without;
    }
    Ok(missing)
}

/// The number in a message's id.
fn number(span: &Span) -> Option<usize> {
    let hex = span.message_id().strip_prefix("7F00000100002A139A55")?;
    usize::from_str_radix(hex, 16).ok()
}
