//! `rmqtrace replay`: capture files in place of the kernel, at the speed of the slowest output.
//!
//! ```text
//! files → tracer_pcap::Replay → Pipeline (engine, filter, who) → Outputs, which are waited for
//! ```

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use tracer_pcap::{Event, FileError, Input};

use crate::{
    cli,
    config::{Config, Loaded, schema::Filter},
    enrich::Replayed,
    export::{Finished, Outputs, queue::Cause},
    run::{
        Signals,
        pipeline::Pipeline,
        totals::{Source, Totals},
    },
};

/// Packets read before signals get a turn.
const TURN: usize = 1024;
/// How long outputs may take at the end: in effect as long as they try. A signal ends the wait.
const AT_THE_END: Duration = Duration::from_secs(24 * 60 * 60);

/// Files were damaged or cut; what they hold was replayed.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the files damaged or cut; what they hold was replayed")]
pub(crate) struct Damaged(usize);

/// Replays until the files end or a signal comes.
pub(crate) fn run(loaded: Loaded, options: &cli::Replay) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(replay(loaded, options));
    // an output that is stuck in a write must not hold up the end
    runtime.shutdown_background();
    result
}

async fn replay(loaded: Loaded, options: &cli::Replay) -> anyhow::Result<()> {
    let Loaded { config, warnings } = loaded;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if names_processes(&config.filter) {
        tracing::warn!("filters by process do not apply to capture files; filters by topic and group do");
    }
    let mut signals = Signals::listen().context("signals cannot be waited for")?;
    let mut files = tracer_pcap::Replay::new(inputs(options))?;
    let mut pipeline = Pipeline::replaying(&config, options.seed, processes(&config, options))?;
    let mut outputs = Outputs::start(&config.export)?;

    let mut damaged = 0;
    let ended = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "ending; a second signal ends at once");
            false
        }
        () = read(&mut files, &mut pipeline, &outputs, &mut damaged) => true,
    };
    let mut ready = Vec::new();
    pipeline.finish(files.end(), &mut |finished| ready.push(finished));
    let limit = if ended {
        AT_THE_END
    } else {
        config.shutdown.timeout.0
    };
    let end = async {
        for finished in ready {
            outputs.deliver(finished).await;
        }
        outputs.finish(limit).await;
    };
    tokio::select! {
        () = end => {}
        name = signals.next() => tracing::warn!(signal = name, "ended at once; what waited is lost"),
    }
    outputs.abandon();
    if let Some(warning) = cut(files.totals().cut_bytes) {
        tracing::warn!("{warning}");
    }
    let totals = Totals {
        source: Source::Files(files.totals()),
        engine: pipeline.totals(),
        pipeline: pipeline.counts(),
        outputs: outputs.stats().collect(),
    };
    // where standard error is closed, nobody reads them
    let _ = writeln!(io::stderr(), "{}", totals.line(config.log.format));
    if damaged > 0 {
        return Err(Damaged(damaged).into());
    }
    match unexported(&totals) {
        0 => Ok(()),
        spans => bail!("{spans} spans were not exported"),
    }
}

/// What to say about bytes that a snap length cut off: with them go headers, and the spans of their messages.
fn cut(bytes: u64) -> Option<String> {
    (bytes > 0).then(|| {
        format!(
            "a snap length cut {bytes} bytes off the packets; messages whose headers are not whole have no span: capture with `-s 0`"
        )
    })
}

/// Spans that should have gone somewhere. A reader of the terminal's that has seen enough, as with `| head`, is none.
fn unexported(totals: &Totals) -> u64 {
    let outputs = totals.outputs.iter();
    let lost = outputs.flat_map(|(output, stats)| stats.dropped().map(move |(cause, n)| (*output, cause, n)));
    lost.filter(|(output, cause, _)| (*output, *cause) != ("print", Cause::Closed))
        .map(|(_, _, n)| n)
        .sum()
}

/// Reads the files to their ends.
async fn read(
    files: &mut tracer_pcap::Replay,
    pipeline: &mut Pipeline,
    outputs: &Outputs,
    damaged: &mut usize,
) {
    let mut ready: Vec<Finished> = Vec::new();
    let mut more = true;
    while more {
        for _ in 0..TURN {
            let step = files.step(|event| {
                let emit = &mut |finished| ready.push(finished);
                match event {
                    Event::Record(record) => pipeline.take(record, emit),
                    Event::Process(note) => pipeline.introduce(&note),
                    Event::Time(now) => pipeline.time(now, emit),
                }
            });
            more = step.unwrap_or_else(|error| {
                *damaged += 1;
                tell(&error);
                true
            });
            for finished in ready.drain(..) {
                outputs.deliver(finished).await;
            }
            if !more {
                break;
            }
        }
        // nobody else is to be told
        pipeline.verdicts().for_each(drop);
        tokio::task::yield_now().await;
    }
}

fn tell(error: &FileError) {
    tracing::error!("{error}");
}

fn inputs(options: &cli::Replay) -> Vec<Input> {
    let input = |path: &std::path::PathBuf| {
        if path == Path::new("-") {
            Input::Open("standard input".to_owned(), Box::new(io::stdin()))
        } else {
            Input::Path(path.clone())
        }
    };
    options.files.iter().map(input).collect()
}

fn processes(config: &Config, options: &cli::Replay) -> Replayed {
    Replayed::new(
        options.service_name.clone(),
        config.attributes.resource.clone().into_iter().collect(),
        config.limits.processes,
    )
}

fn names_processes(filter: &Filter) -> bool {
    let Filter {
        pid,
        exclude_pid,
        exe,
        exclude_exe,
        cmdline,
        exclude_cmdline,
        container,
        exclude_container,
        cgroup,
        exclude_cgroup,
        ..
    } = filter;
    let numbers = [pid, exclude_pid].iter().any(|list| !list.is_empty());
    let patterns = [exe, exclude_exe, cmdline, exclude_cmdline, cgroup, exclude_cgroup];
    let containers = [container, exclude_container].iter().any(|list| !list.is_empty());
    numbers || containers || patterns.iter().any(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snap_length_is_told_of() {
        assert_eq!(cut(0), None);
        let warning = cut(7).unwrap();
        assert!(
            warning.contains("cut 7 bytes") && warning.contains("-s 0"),
            "{warning}"
        );
    }
}
