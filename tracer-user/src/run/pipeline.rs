//! From records to finished spans: process filter, engine, message filter, resource.
//!
//! Knows neither where records come from nor where spans go, so that tests hand in the one and look at
//! the other.

use std::{collections::HashMap, time::Duration};

use tracer_abi::{Protocol, Role};
use tracer_core::{
    Config as EngineConfig, Engine, Output,
    model::{Bounds, Naming, Span, Timestamp},
    record::{Foreign, Record, RecordError},
    sampling::Sampler,
};
use tracer_pcap::ProcessNote;

use super::{settings, unreadable::Unreadable};
use crate::{
    clock::{Anchor, Clock},
    config::Config,
    enrich::{Processes, Replayed, Who, facts::start_ticks, library},
    export::Finished,
    filter::{MessageFilter, ProcessFilter, RateLimits, ServiceRules, Verdict},
    record::{self, Tape},
};

/// What happened to records and spans between the ring and the outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Records that could not be read: kernel side and user side are not of the same build.
    pub(crate) bad_records: u64,
    /// Records of processes that the filter denies, made before the kernel side knew.
    pub(crate) filtered_records: u64,
    /// Spans that the filter of topics and groups left out.
    pub(crate) filtered_spans: u64,
    /// TLS connections to RocketMQ servers, and of processes that hold RocketMQ client libraries.
    pub(crate) tls_connections: u64,
    /// Likewise HTTP/2 connections, as gRPC makes them.
    pub(crate) grpc_connections: u64,
    /// Spans that the sampler left out.
    pub(crate) unsampled_spans: u64,
    /// Spans of processes that make their own.
    pub(crate) instrumented_spans: u64,
    /// Spans that the limits by topic left out.
    pub(crate) rate_limited_spans: u64,
    /// Values of attributes that were shortened.
    pub(crate) cut_values: u64,
    /// Attributes that were left out.
    pub(crate) dropped_attributes: u64,
    /// Links that were left out.
    pub(crate) dropped_links: u64,
}

/// The middle of the daemon.
#[derive(Debug)]
pub(crate) struct Pipeline {
    engine: Engine,
    processes: Who,
    messages: MessageFilter,
    sampler: Sampler,
    rates: RateLimits,
    naming: Naming,
    bounds: Bounds,
    avoid_instrumented: bool,
    unreadable: Unreadable,
    clock: Clock,
    /// What the filter said of each process, until it ends or runs another program.
    decided: HashMap<u32, Verdict>,
    /// What the kernel side has not been told yet.
    verdicts: Vec<(u32, Verdict)>,
    counts: Counts,
    /// Keeps what comes in.
    tape: Option<Tape>,
}

impl Pipeline {
    /// For records of this machine's kernel, by the settings. `seed` is that of the engine's random ids.
    pub(crate) fn new(config: &Config, seed: u64) -> anyhow::Result<Pipeline> {
        let processes = Processes::new(
            ProcessFilter::new(&config.filter)?,
            ServiceRules::new(&config.services)?,
            config.attributes.resource.clone().into_iter().collect(),
            // the last span of a process that ended: a send without answer, a delivery without evidence
            config.correlate.timeout.0.max(config.process.ttl.0) + Duration::from_secs(60),
            config.limits.processes,
        );
        Pipeline::of(config, seed, Who::Live(Box::new(processes)), Anchor::read())
    }

    /// For records of capture files, whose times are those of the wall clock.
    pub(crate) fn replaying(config: &Config, seed: u64, processes: Replayed) -> anyhow::Result<Pipeline> {
        Pipeline::of(config, seed, Who::Replayed(processes), Anchor::WALL)
    }

    fn of(config: &Config, seed: u64, processes: Who, anchor: Anchor) -> anyhow::Result<Pipeline> {
        let (timeout, ttl) = (config.correlate.timeout.0, config.process.ttl.0);
        let mut engine = Engine::new(EngineConfig {
            correlate_timeout: timeout,
            process_ttl: ttl,
            derive_ids: config.trace.derive_ids,
            context_properties: settings::context_properties(config),
            captured_properties: settings::captured_properties(config),
            receive: config.spans.receive,
            settle: config.spans.settle,
            broker_side: config.spans.broker_side,
            seed,
            ..EngineConfig::default()
        });
        engine.set_wall_offset(anchor.offset_ns());
        let messages = MessageFilter::new(&config.filter)?;
        Ok(Pipeline {
            engine,
            processes,
            messages,
            sampler: settings::sampler(config),
            rates: RateLimits::new(&config.sampling)?,
            naming: settings::naming(config),
            bounds: settings::bounds(config),
            avoid_instrumented: config.avoid_instrumented,
            unreadable: Unreadable::new(),
            clock: Clock::new(anchor),
            decided: HashMap::new(),
            verdicts: Vec::new(),
            counts: Counts::default(),
            tape: None,
        })
    }

    /// Keeps what comes in from now on. Its times and those of the spans go by one reading of the clocks.
    pub(crate) fn record_to(&mut self, options: &record::Options) -> anyhow::Result<()> {
        self.tape = Some(Tape::create(options, self.clock.now())?);
        Ok(())
    }

    /// Whether the recording has come to its end.
    pub(crate) fn is_recorded(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::is_done)
    }

    /// What became of the recording, where there is one.
    pub(crate) fn recorded(&mut self) -> anyhow::Result<()> {
        self.tape.take().map_or(Ok(()), Tape::result)
    }

    /// Takes in one record of the ring.
    pub(crate) fn record(&mut self, bytes: &[u8], emit: &mut impl FnMut(Finished)) {
        match Foreign::parse(bytes) {
            Some(Ok(foreign)) => return self.foreign(&foreign),
            Some(Err(error)) => return self.bad_record(error),
            None => {}
        }
        let record = match Record::parse(bytes) {
            Ok(record) => record,
            Err(error) => return self.bad_record(error),
        };
        self.take(record, emit);
    }

    /// Takes in a record.
    pub(crate) fn take(&mut self, record: Record<'_>, emit: &mut impl FnMut(Finished)) {
        if !self.wanted(&record) {
            self.counts.filtered_records += 1;
            return;
        }
        if self.tape.as_mut().is_some_and(|tape| !tape.record(&record)) {
            return;
        }
        self.engine.handle_record(record);
        self.drain(emit);
    }

    /// Takes in what a recording says about a process.
    pub(crate) fn introduce(&mut self, process: &ProcessNote<'_>) {
        if let Who::Replayed(replayed) = &mut self.processes {
            replayed.introduce(process);
        }
    }

    fn bad_record(&mut self, error: RecordError) {
        if self.counts.bad_records == 0 {
            tracing::error!(%error, "a record cannot be read; kernel side and user side are not of one build");
        }
        self.counts.bad_records += 1;
    }

    /// A connection that cannot be read, which may hide messages.
    fn foreign(&mut self, foreign: &Foreign) {
        let pid = foreign.open.process.0;
        let ticks = start_ticks(pid);
        let found = self.unreadable.look(foreign, ticks, || library::rocketmq(pid));
        let Some((reason, first)) = found else { return };
        if self.decide(pid, foreign.open.time) == Verdict::Deny {
            return;
        }
        let (name, total) = match foreign.protocol {
            Protocol::TLS => ("TLS", &mut self.counts.tls_connections),
            _ => ("HTTP/2 (gRPC)", &mut self.counts.grpc_connections),
        };
        *total += 1;
        if first {
            let process = self.processes.of(pid, foreign.open.time, self.clock.now());
            let service = &*process.resource.service;
            tracing::warn!(
                pid, service, remote = %foreign.open.remote, %reason,
                "this process talks {name} to a server, which rmqtrace cannot read: messages that travel so make no spans"
            );
        }
    }

    /// Lets the engine's time pass, where it has something to do.
    pub(crate) fn time(&mut self, now: Timestamp, emit: &mut impl FnMut(Finished)) {
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            if self.tape.as_mut().is_some_and(|tape| !tape.time(now)) {
                return;
            }
            self.engine.handle_timeout(now);
            self.drain(emit);
        }
    }

    /// Once a second, and when the wall clock was set: the clocks.
    pub(crate) fn tick(&mut self) {
        if self.tape.is_some() {
            return;
        }
        if let Some(step) = self.clock.renew(Anchor::read()) {
            let seconds = Duration::from_nanos(step.unsigned_abs())
                .as_secs_f64()
                .copysign(step as f64);
            tracing::info!(seconds, "the wall clock was set");
        }
        self.engine.set_wall_offset(self.clock.now().offset_ns());
    }

    /// Now and then: processes that are gone.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.processes.sweep(now);
        // the record that told of a process's end may have been lost
        self.decided.retain(|pid, _| self.processes.is_running(*pid));
    }

    /// Ends what is open.
    pub(crate) fn finish(&mut self, now: Timestamp, emit: &mut impl FnMut(Finished)) {
        if let Some(tape) = &mut self.tape {
            tape.end(now);
        }
        self.engine.finish(now);
        self.drain(emit);
    }

    /// Decisions for the kernel side since the last time.
    pub(crate) fn verdicts(&mut self) -> impl Iterator<Item = (u32, Verdict)> {
        self.verdicts.drain(..)
    }

    /// What the engine counted.
    pub(crate) fn totals(&self) -> tracer_core::engine::Totals {
        self.engine.totals()
    }

    /// What was counted here.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Processes that are remembered.
    pub(crate) fn processes(&self) -> usize {
        self.processes.len()
    }

    /// The process filter: decided at the first connection, until the process runs another program.
    fn wanted(&mut self, record: &Record<'_>) -> bool {
        let verdict = match record {
            // also for a known process: its id may have been given to another one
            Record::Open(open) => {
                if let Who::Replayed(replayed) = &mut self.processes {
                    replayed.announce(open);
                }
                let verdict = self.decide(open.process.0, open.time);
                if open.role == Role::CLIENT {
                    self.unreadable.server(open.remote);
                }
                if verdict == Verdict::Allow {
                    let connection = open.connection.0;
                    tracing::debug!(connection, pid = open.process.0, local = %open.local, remote = %open.remote, "connection");
                }
                verdict
            }
            Record::Data(data) => match self.decided.get(&data.process.0) {
                Some(verdict) => *verdict,
                // the announcement was lost, or this program inherited the connection
                None => self.decide(data.process.0, data.end),
            },
            Record::Close(_) => Verdict::Allow,
            Record::Process(process) => {
                let pid = process.process.0;
                self.processes.replaced(pid, process.time);
                self.verdicts.retain(|(of, _)| *of != pid);
                self.decided.remove(&pid).unwrap_or(Verdict::Allow)
            }
        };
        verdict == Verdict::Allow
    }

    fn decide(&mut self, pid: u32, time: Timestamp) -> Verdict {
        let process = self.processes.opened(pid, time, self.clock.now());
        let verdict = process.verdict;
        if let Some(tape) = self.tape.as_mut().filter(|_| verdict == Verdict::Allow) {
            tape.process(pid, &process);
        }
        self.verdicts.push((pid, verdict));
        if self.decided.insert(pid, verdict) != Some(verdict) {
            let service = &*process.resource.service;
            tracing::debug!(pid, service, ?verdict, "process");
            if let Some(agent) = process
                .agent
                .filter(|_| self.avoid_instrumented && verdict == Verdict::Allow)
            {
                tracing::info!(
                    pid,
                    service,
                    %agent,
                    "this process makes RocketMQ spans itself; it is measured, and gets none from here (avoid_instrumented)"
                );
            }
        }
        verdict
    }

    fn drain(&mut self, emit: &mut impl FnMut(Finished)) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Span(span) => {
                    if let Some(finished) = self.finished(span) {
                        emit(finished);
                    }
                }
                Output::Opened(_) => {}
                Output::Ended(ended) => tracing::debug!(
                    connection = ended.connection.0,
                    why = ?ended.why,
                    sent = ended.sent.seen,
                    sent_lost = ended.sent.lost,
                    received = ended.received.seen,
                    received_lost = ended.received.lost,
                    "connection ended"
                ),
            }
        }
    }

    /// What leaves of a span; nothing, where it is not wanted. All its times are by one anchor.
    fn finished(&mut self, mut span: Span) -> Option<Finished> {
        let counts = &mut self.counts;
        if !self.messages.allows(&span) {
            counts.filtered_spans += 1;
            return None;
        }
        if !self.sampler.keeps(&span) {
            counts.unsampled_spans += 1;
            return None;
        }
        let anchor = self.clock.at(span.end);
        let process = self.processes.of(span.process.0, span.start, anchor);
        if self.avoid_instrumented && process.agent.is_some() {
            counts.instrumented_spans += 1;
            return None;
        }
        if !self.rates.keeps(&span) {
            counts.rate_limited_spans += 1;
            return None;
        }
        self.naming.apply(&mut span);
        let cut = self.bounds.apply(&mut span);
        counts.cut_values += u64::from(cut.values);
        counts.dropped_attributes += u64::from(cut.attributes);
        counts.dropped_links += u64::from(cut.links);
        let (start, end) = (anchor.wall(span.start), anchor.wall(span.end));
        Some(Finished {
            span,
            naming: self.naming,
            cut,
            process,
            start,
            end,
        })
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
