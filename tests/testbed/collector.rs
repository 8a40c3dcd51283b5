//! A real OpenTelemetry Collector that writes every span it gets to a file.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    artifacts::{Artifacts, require},
    ports,
    process::Child,
    spans::{Span, SpanFile},
    wait,
};

/// The exporter of one that counts.
const COUNT: &str = "debug: {verbosity: basic, sampling_thereafter: 1}";
/// Its niceness.
const FIRST: i32 = -10;

/// Where its log goes.
const LOG: &str = "collector.out";

/// A collector with its ports and its file. It can be stopped and started again at the same ports.
#[derive(Debug)]
pub struct Collector {
    /// Port of OTLP over gRPC.
    pub grpc: u16,
    /// Port of OTLP over HTTP.
    pub http: u16,
    health: u16,
    program: PathBuf,
    dir: PathBuf,
    process: Option<Child>,
    goes_first: bool,
    spans: SpanFile,
}

impl Collector {
    /// Starts a collector and waits until it serves. Files go to `dir/name`.
    pub fn start(artifacts: &Artifacts, dir: &Path, name: &str) -> Result<Collector> {
        const FILE: &str = "file: {path: ./spans.jsonl, append: true, flush_interval: 100ms}";
        Collector::exporting(artifacts, dir, name, FILE)
    }

    /// Starts one that keeps no span and only [counts](Self::counted) them: for more than a disk takes. It goes before what
    /// else runs, where it may: it stands for one on a machine of its own.
    pub fn counting(artifacts: &Artifacts, dir: &Path, name: &str) -> Result<Collector> {
        Collector::exporting(artifacts, dir, name, COUNT)
    }

    fn exporting(artifacts: &Artifacts, dir: &Path, name: &str, exporter: &str) -> Result<Collector> {
        let program = require(artifacts.otelcol(), "the OpenTelemetry Collector")?;
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let (grpc, http, health) = (ports::free()?, ports::free()?, ports::free()?);
        fs::write(dir.join("collector.yaml"), config(grpc, http, health, exporter))?;
        let spans = SpanFile::new(&dir.join("spans.jsonl"));
        let mut collector = Collector {
            grpc,
            http,
            health,
            program,
            dir,
            process: None,
            goes_first: exporter == COUNT,
            spans,
        };
        collector.resume()?;
        Ok(collector)
    }

    /// Stops it; [`resume`](Self::resume) starts it again.
    pub fn pause(&mut self) {
        self.process = None;
    }

    /// Starts it (again) and waits until it serves. The file is continued.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["--config", "collector.yaml"])
            .current_dir(&self.dir);
        if self.goes_first {
            // SAFETY: between fork and exec only setpriority is called, a bare system call.
            unsafe {
                command.pre_exec(|| {
                    libc::setpriority(libc::PRIO_PROCESS, 0, FIRST);
                    Ok(())
                });
            }
        }
        let mut process = Child::start("collector", command, &self.dir.join(LOG))?;
        wait::until(Duration::from_secs(30), "the collector serves", || {
            if !process.is_running()? {
                bail!("the collector ended: {}", process.log()?);
            }
            Ok(healthy(self.health).map_err(|error| error.to_string()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// All spans so far.
    pub fn spans(&mut self) -> Result<&[Span]> {
        self.spans.refresh()
    }

    /// Ends it, which writes what it still holds, and gives all spans.
    pub fn finish(mut self) -> Result<Vec<Span>> {
        self.pause();
        self.spans.refresh()?;
        Ok(self.spans.into_spans())
    }

    /// How many spans one that [counts](Self::counting) has got so far: it logs how many there were in each request.
    pub fn counted(&self) -> Result<u64> {
        let log = fs::read_to_string(self.dir.join(LOG))?;
        let counts = log.split("\"spans\": ").skip(1);
        counts
            .map(|text| {
                let digits = text.split(|c: char| !c.is_ascii_digit()).next();
                Ok(digits.unwrap_or_default().parse::<u64>()?)
            })
            .sum()
    }

    /// The file of spans.
    pub fn file(&self) -> PathBuf {
        self.dir.join("spans.jsonl")
    }

    /// Waits until at least `count` spans satisfy `wanted`, and gives those.
    pub fn wait_for(
        &mut self,
        count: usize,
        limit: Duration,
        wanted: impl Fn(&Span) -> bool,
    ) -> Result<Vec<Span>> {
        wait::until(limit, &format!("{count} spans arrive"), || {
            let spans = self.spans.refresh()?;
            let found: Vec<&Span> = spans.iter().filter(|span| wanted(span)).collect();
            Ok(if found.len() >= count {
                Ok(found.into_iter().cloned().collect())
            } else {
                Err(format!(
                    "{} of {count} so far, {} spans in all",
                    found.len(),
                    spans.len()
                ))
            })
        })
    }
}

fn healthy(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.0 200") && !answer.starts_with("HTTP/1.1 200") {
        bail!("not ready: {answer:?}");
    }
    Ok(())
}

/// The file is appended to, so that a restarted collector goes on in the same; no metrics of its own, which would open a port.
fn config(grpc: u16, http: u16, health: u16, exporter: &str) -> String {
    let (name, _) = exporter.split_once(':').unwrap_or((exporter, ""));
    format!(
        "extensions:
  health_check: {{endpoint: '127.0.0.1:{health}'}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{grpc}', max_recv_msg_size_mib: 64}}
      http: {{endpoint: '127.0.0.1:{http}'}}
exporters:
  {exporter}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}, logs: {{level: info, sampling: {{enabled: false}}}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [{name}]}}
"
    )
}
