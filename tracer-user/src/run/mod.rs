//! `rmqtrace run`: the wiring, the clockwork and the end.
//!
//! One task owns everything from the ring to the outputs' queues:
//!
//! ```text
//! ring → Pipeline (filter, engine, enrich) → Outputs (bounded queues) → a thread for each output
//! ```
//!
//! It waits for the ring, a second's tick and signals, and for nothing else.

mod handover;
pub(crate) mod pipeline;
mod settings;
pub(crate) mod totals;
mod unreadable;
mod watch;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tracer_abi::Counter;

use self::{
    handover::Handover,
    pipeline::Pipeline,
    totals::{Source, Totals},
    watch::Watch,
};
use crate::{
    capture::{Capture, CaptureConfig, KernelCounters, Strategy, is_host_pid_namespace, kernel_release},
    clock::{Steps, boot_now},
    config::{
        Loaded,
        schema::{Bodies, Config, KernelLog, Level, Print, Strategy as Wanted},
    },
    export::{self, Outputs, otlp},
    filter::Verdict,
    record,
};

/// Records read before signals and ticks get a turn.
const TURN: usize = 4096;
/// Ticks between two looks at which processes are gone.
const SWEEP_TICKS: u64 = 10;
/// Ticks after which a run that shows nothing says why that may be.
const HINT_TICKS: u64 = 30;
/// Longest wait for the receiver's name, which is only wanted to leave a process of this machine alone.
const NAME_LOOKUP: Duration = Duration::from_millis(200);

/// Traces until a signal comes, or until the recording ends where there is one.
pub(crate) fn run(loaded: Loaded, recording: Option<&record::Options>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(trace(loaded, recording));
    // an output that is stuck in a write must not hold up the end
    runtime.shutdown_background();
    result
}

async fn trace(loaded: Loaded, recording: Option<&record::Options>) -> anyhow::Result<()> {
    let started = Instant::now();
    let Loaded { config, warnings } = loaded;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    // threads that are started from here on have it too
    if let Err(error) = rustix::process::setpriority_process(None, config.capture.nice) {
        let nice = config.capture.nice;
        tracing::info!(
            nice,
            %error,
            "the priority stays as it is (capture.nice): where the machine has more to do than it can, records may be lost"
        );
    }
    let mut signals = Signals::listen().context("signals cannot be waited for")?;
    let seed = recording.and_then(|recording| recording.seed);
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let mut pipeline = Pipeline::new(&config, seed)?;
    let capture = CaptureConfig {
        strategy: match config.capture.strategy {
            Wanted::Auto => None,
            Wanted::Socktrace => Some(Strategy::Socktrace),
            Wanted::Fentry => Some(Strategy::Fentry),
        },
        ring_bytes: u32::try_from(config.capture.ring_bytes.0).unwrap_or(u32::MAX),
        kernel_log: kernel_log(config.capture.kernel_log),
        broker_side: config.spans.broker_side,
        verifier_log: config.log.level == Level::Trace,
        copy_bodies: config.capture.bodies == Bodies::User,
    };
    let mut capture = Capture::start(&capture, &receivers(&config).await)?;
    let mut spans = Handover::new(Outputs::start(&config.export)?);
    if let Some(recording) = recording {
        pipeline.record_to(recording)?;
    }
    announce(&config, &capture, recording, started);

    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ticks, mut watch, steps) = (0_u64, Watch::default(), Steps::watch());
    loop {
        tokio::select! {
            biased;
            name = signals.next() => {
                tracing::info!(signal = name, "ending; a second signal ends at once");
                break;
            }
            _ = tick.tick() => {
                ticks += 1;
                pipeline.tick();
                watch.look(Instant::now(), &capture.counters(), &pipeline.totals(), spans.outputs.stats());
                if ticks == HINT_TICKS {
                    hint(&pipeline, &capture.counters());
                }
                if ticks.is_multiple_of(SWEEP_TICKS) {
                    pipeline.sweep(boot_now());
                    tracing::debug!(processes = pipeline.processes(), totals = ?pipeline.totals(), "so far");
                }
            }
            () = steps.next() => pipeline.tick(),
            () = capture.wait() => {}
        }
        read(&mut capture, &mut pipeline, &mut spans).await;
        if pipeline.is_recorded() {
            break;
        }
    }

    let end = end(&mut capture, &mut pipeline, &mut spans, config.shutdown.timeout.0);
    tokio::select! {
        () = end => {}
        name = signals.next() => tracing::warn!(signal = name, "ended at once; what waited is lost"),
    }
    spans.outputs.abandon();
    let outputs = spans.outputs.stats().collect();
    let totals = Totals {
        source: Source::Kernel(capture.counters()),
        engine: pipeline.totals(),
        pipeline: pipeline.counts(),
        outputs,
    };
    // where standard error is closed, nobody reads them
    let _ = writeln!(std::io::stderr(), "{}", totals.line(config.log.format));
    pipeline.recorded()
}

fn kernel_log(setting: KernelLog) -> Option<log::Level> {
    match setting {
        KernelLog::Off => None,
        KernelLog::Error => Some(log::Level::Error),
        KernelLog::Warn => Some(log::Level::Warn),
        KernelLog::Info => Some(log::Level::Info),
        KernelLog::Debug => Some(log::Level::Debug),
    }
}

/// Everything that the ring holds now, then the engine's time.
async fn read(capture: &mut Capture, pipeline: &mut Pipeline, spans: &mut Handover) -> usize {
    // what the ring holds from before this moment must be read before time passes it
    let now = boot_now();
    let emit = &mut |finished| spans.take(finished);
    let n = capture.drain(TURN, |bytes| pipeline.record(bytes, emit));
    for (pid, verdict) in pipeline.verdicts() {
        match verdict {
            Verdict::Allow => capture.allow(pid),
            Verdict::Deny => capture.deny(pid),
        }
    }
    if n < TURN {
        pipeline.time(now, emit);
    }
    spans.settle().await;
    n
}

/// The rest of the ring, what is open, and what waits in the outputs.
async fn end(capture: &mut Capture, pipeline: &mut Pipeline, spans: &mut Handover, limit: Duration) {
    let deadline = Instant::now() + limit;
    // clients go on sending: this ends by the clock, if not by an empty ring
    while read(capture, pipeline, spans).await == TURN && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    pipeline.finish(boot_now(), &mut |finished| spans.take(finished));
    spans.settle_by(deadline.into()).await;
    spans
        .outputs
        .finish(deadline.saturating_duration_since(Instant::now()))
        .await;
}

/// The process of this machine that spans are exported to, where there is one: its own traffic is left alone.
async fn receivers(config: &Config) -> Vec<u32> {
    let Some(target) = otlp::Target::resolve(&config.export.otlp) else {
        return Vec::new();
    };
    let addresses = tokio::time::timeout(NAME_LOOKUP, target.local_addresses())
        .await
        .unwrap_or_default();
    let found = addresses.into_iter().find_map(otlp::local_listener_pid);
    if let Some(pid) = found {
        tracing::info!(pid, "spans are exported to this process; it is not traced");
    }
    found.into_iter().collect()
}

/// What is attached, what is missing, where spans go.
fn announce(config: &Config, capture: &Capture, recording: Option<&record::Options>, started: Instant) {
    let hooks = capture.hooks();
    for hook in &hooks.attached {
        let verified_instructions = hook.verified_instructions;
        let load_microseconds = hook.load_time.as_micros() as u64;
        tracing::debug!(
            program = hook.program,
            event = %hook.event,
            verified_instructions,
            load_microseconds,
            "attached"
        );
    }
    let strategy = hooks.strategy;
    tracing::info!(%strategy, reason = hooks.reason, "capture");
    if !hooks.sees_send_start {
        tracing::info!("this kernel does not tell when a send starts; sends start when their call ends");
    }
    if !is_host_pid_namespace() {
        tracing::warn!(
            "this is not the host's process-id namespace: processes cannot be told apart, so names of services and \
             process filters are wrong; run the container with the host's (hostPID, --pid=host)"
        );
    }
    match (config.export.print, export::effective_print(&config.export)) {
        (Print::Auto, Print::Text) => {
            tracing::info!("no OTLP endpoint is set (--endpoint): spans are printed on standard output");
        }
        (_, Print::None)
            if recording.is_none()
                && config.export.otlp.endpoint.is_none()
                && config.export.otlp_file.is_none() =>
        {
            tracing::warn!("spans go nowhere: neither an endpoint nor a file is set, and nothing is printed");
        }
        _ => {}
    }
    if let Some(recording) = recording {
        tracing::info!(file = %recording.file.display(), "records go to a file");
    }
    if let Some(path) = &config.export.otlp_file {
        tracing::info!(path = %path.display(), "spans go to a file");
    }
    let milliseconds = started.elapsed().as_millis() as u64;
    let kernel = kernel_release();
    tracing::info!(%strategy, programs = hooks.attached.len(), %kernel, milliseconds, "ready");
}

/// What someone who waits for spans wants to know when none have come.
fn hint(pipeline: &Pipeline, counters: &KernelCounters) {
    let totals = pipeline.totals();
    if totals.spans > 0 {
        return;
    }
    if totals.connections == 0 {
        let other_connections = counters.get(Counter::Foreign);
        let (tls, http2) = (
            counters.get(Counter::ForeignTls),
            counters.get(Counter::ForeignHttp2),
        );
        tracing::info!(
            other_connections,
            tls,
            http2,
            "no RocketMQ remoting connection of a traced process so far; TLS and gRPC (http2) cannot be read, \
             and a connection that was open before is joined at its next frame (within 30 s)"
        );
    } else {
        tracing::info!(
            connections = totals.connections,
            frames = totals.frames,
            "RocketMQ connections, but no message was sent or consumed so far"
        );
    }
}

/// The signals that end the program.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
