//! `rmqtrace record`: a live run whose records are kept, as a pcapng file that replays to the same spans.
//!
//! What the pipeline takes in goes to the file first, in the same order: records of processes that the filter lets through,
//! who those processes are, and the moments at which time passed without a record.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use anyhow::Context;
use tracer_core::{
    model::{ProcessId, Timestamp},
    record::Record,
};
use tracer_pcap::{Host, Recorder};

use crate::{
    clock::Anchor,
    config::{Config, Loaded, schema::Print},
    enrich::{self, Process, replayed::Note},
};

/// What to record.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The file; `-` is standard output.
    pub(crate) file: PathBuf,
    /// Ends after this time.
    pub(crate) duration: Option<Duration>,
    /// Ends before the file is longer.
    pub(crate) max_bytes: Option<u64>,
    /// Seed of random ids, in spans that are exported at the same time.
    pub(crate) seed: Option<u64>,
}

/// Spans go where the settings say, and nowhere if they say nothing. Filters of spans do not choose what is recorded.
pub(crate) fn settle(loaded: &mut Loaded) {
    let Config { export, filter, .. } = &mut loaded.config;
    if export.print == Print::Auto {
        export.print = Print::None;
    }
    let spans = [
        &filter.topics,
        &filter.exclude_topics,
        &filter.groups,
        &filter.exclude_groups,
    ];
    if spans.iter().any(|list| !list.is_empty()) {
        loaded.warnings.push(
            "filters by topic and group choose spans; the recording holds whole connections, so that replay can choose".to_owned(),
        );
    }
}

/// Room that is kept for what ends a recording.
const END_BYTES: u64 = 64;
/// More than what a record takes in the file beyond its bytes.
const OVERHEAD: u64 = 512;
/// The same for each further packet of a record, and how much of it one stands for at least.
const PACKET: u64 = 256;
const PACKET_STANDS_FOR: u64 = 60_000;

/// A recording under way.
pub(crate) struct Tape {
    recorder: Recorder<BufWriter<Box<dyn Write + Send>>>,
    file: PathBuf,
    /// Processes that the file names, as they were then.
    named: HashMap<u32, Weak<Process>>,
    records: u64,
    until: Option<Instant>,
    most: u64,
    state: State,
}

enum State {
    Running,
    /// The next record would have made the file too long.
    Full,
    Failed(io::Error),
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Tape {
    /// Creates the file, or empties it. `anchor` is what the run's times go by to its end.
    pub(crate) fn create(options: &Options, anchor: &Anchor) -> anyhow::Result<Tape> {
        let writing = || format!("cannot write to {}", options.file.display());
        let out: Box<dyn Write + Send> = if options.file == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(&options.file).with_context(writing)?)
        };
        let out = BufWriter::with_capacity(256 * 1024, out);
        let host = enrich::Host::read();
        let boot = host.boot_id.as_deref().unwrap_or("unknown");
        let application = concat!("rmqtrace ", env!("CARGO_PKG_VERSION"));
        let recorder = Recorder::new(out, Host(boot), application, anchor.offset_ns());
        Ok(Tape {
            recorder: recorder.with_context(writing)?,
            file: options.file.clone(),
            named: HashMap::new(),
            records: 0,
            until: options.duration.map(|duration| Instant::now() + duration),
            most: options
                .max_bytes
                .map_or(u64::MAX, |most| most.saturating_sub(END_BYTES)),
            state: State::Running,
        })
    }

    /// Whether there is nothing more to be done: the time is up, the file is full or cannot be written to.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(self.state, State::Running) || self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Keeps a record. Returns whether it is in the file; if not, the engine is not to see it either.
    pub(crate) fn record(&mut self, record: &Record<'_>) -> bool {
        let kept = self.keep(bytes_of(record), |recorder| recorder.record(record));
        self.records += u64::from(kept);
        kept
    }

    /// Says who a process is, unless the file says so already.
    pub(crate) fn process(&mut self, pid: u32, process: &Arc<Process>) {
        if self
            .named
            .get(&pid)
            .is_some_and(|named| named.as_ptr() == Arc::as_ptr(process))
        {
            return;
        }
        self.named.insert(pid, Arc::downgrade(process));
        let since = self.recorder.wall(process.since()).0;
        let note = serde_json::to_string(&Note::of(process, since)).unwrap_or_default();
        self.keep(note.len() as u64, |recorder| {
            recorder.process(ProcessId(pid), &note)
        });
    }

    /// The engine's time passes without a record.
    pub(crate) fn time(&mut self, now: Timestamp) -> bool {
        self.keep(0, |recorder| recorder.time(now))
    }

    /// The engine ends.
    pub(crate) fn end(&mut self, now: Timestamp) {
        if !matches!(self.state, State::Failed(_))
            && let Err(error) = self.recorder.end(now)
        {
            self.state = State::Failed(error);
        }
    }

    /// What became of it.
    pub(crate) fn result(self) -> anyhow::Result<()> {
        let (file, bytes, records) = (self.file.display(), self.recorder.written(), self.records);
        match self.state {
            State::Failed(error) => {
                Err(error).with_context(|| format!("cannot write to {file}; the recording ends there"))
            }
            State::Full => {
                tracing::info!(%file, bytes, records, "recorded; it ended at the size that was allowed");
                Ok(())
            }
            State::Running => {
                tracing::info!(%file, bytes, records, "recorded");
                Ok(())
            }
        }
    }

    fn keep(
        &mut self,
        bytes: u64,
        write: impl FnOnce(&mut Recorder<BufWriter<Box<dyn Write + Send>>>) -> io::Result<()>,
    ) -> bool {
        if !matches!(self.state, State::Running) {
            return false;
        }
        if self.recorder.written().saturating_add(bytes + OVERHEAD) > self.most {
            self.state = State::Full;
            return false;
        }
        match write(&mut self.recorder) {
            Ok(()) => true,
            Err(error) => {
                self.state = State::Failed(error);
                false
            }
        }
    }
}

/// More than what a record takes in the file beyond [`OVERHEAD`].
fn bytes_of(record: &Record<'_>) -> u64 {
    match record {
        Record::Data(data) => data.bytes.len() as u64 + PACKET * (u64::from(data.length) / PACKET_STANDS_FOR),
        _ => 0,
    }
}
