//! `rmqtrace run` under test.

use std::{
    path::Path,
    process::{ChildStdout, Command, ExitStatus},
    time::Duration,
};

use anyhow::Result;

use crate::{
    artifacts::{Artifacts, require},
    collector::Collector,
    process::Child,
};

/// What rmqtrace logs when it captures.
const READY_LINE: &str = " ready";

/// How spans travel to the collector.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Transport {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// OTLP over HTTP, with protobuf.
    Http,
}

/// How to start `rmqtrace run`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options<'a> {
    /// Transport to the collector.
    pub transport: Transport,
    /// Further arguments.
    pub args: &'a [&'a str],
    /// Environment variables.
    pub env: &'a [(&'a str, &'a str)],
}

/// A running daemon; dropping it stops it.
#[derive(Debug)]
pub struct Tracer {
    process: Child,
}

impl Tracer {
    /// Starts `rmqtrace run`, exporting to the collector, and waits until it captures. Its log goes to `dir/name.log`.
    pub fn start(
        artifacts: &Artifacts,
        dir: &Path,
        name: &str,
        collector: &Collector,
        options: Options<'_>,
    ) -> Result<Tracer> {
        let program = require(artifacts.rmqtrace(), "the rmqtrace binary")?;
        let (port, protocol) = match options.transport {
            Transport::Grpc => (collector.grpc, "grpc"),
            Transport::Http => (collector.http, "http/protobuf"),
        };
        let mut command = Command::new(program);
        command
            .arg("run")
            .args(options.args)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .envs(options.env.iter().copied());
        Tracer::launch(command, &dir.join(format!("{name}.log")))
    }

    /// Starts a prepared command and waits until it captures.
    pub fn launch(command: Command, log: &Path) -> Result<Tracer> {
        Tracer::ready(Child::start("rmqtrace", command, log)?)
    }

    /// Starts a prepared command whose standard output is wanted, and waits until it captures.
    pub fn launch_piped(command: Command, log: &Path) -> Result<(Tracer, ChildStdout)> {
        let (process, _, output) = Child::start_piped("rmqtrace", command, log)?;
        Ok((Tracer::ready(process)?, output))
    }

    fn ready(process: Child) -> Result<Tracer> {
        let mut process = process.with_grace(Duration::from_secs(20));
        process.wait_for_log(READY_LINE, Duration::from_secs(20))?;
        Ok(Tracer { process })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGTERM; gives the exit status and everything that it logged, the totals last.
    pub fn stop(mut self) -> Result<(ExitStatus, String)> {
        let status = self.process.stop()?;
        Ok((status, self.process.log()?))
    }
}
