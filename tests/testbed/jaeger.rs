//! A real Jaeger: a back-end that is asked what arrived in it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    artifacts::{Artifacts, require},
    ports,
    process::Child,
    wait,
};

/// A Jaeger that keeps its traces in memory; dropping it stops it.
#[derive(Debug)]
pub struct Jaeger {
    /// Port of OTLP over gRPC.
    pub grpc: u16,
    /// Port of OTLP over HTTP.
    pub http: u16,
    query: u16,
    _process: Child,
}

impl Jaeger {
    /// Starts one and waits until it serves. Files go to `dir/name`.
    pub fn start(artifacts: &Artifacts, dir: &Path, name: &str) -> Result<Jaeger> {
        let program = require(artifacts.jaeger(), "Jaeger")?;
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let (grpc, http, query) = (ports::free()?, ports::free()?, ports::free()?);
        let (query_grpc, health) = (ports::free()?, ports::free()?);
        let config = config(grpc, http, query, query_grpc, health);
        fs::write(dir.join("jaeger.yaml"), config)?;
        let mut command = Command::new(program);
        command.args(["--config", "jaeger.yaml"]).current_dir(&dir);
        let mut process = Child::start("jaeger", command, &dir.join("jaeger.out"))?;
        wait::until(Duration::from_secs(30), "Jaeger serves", || {
            if !process.is_running()? {
                bail!("Jaeger ended: {}", process.log()?);
            }
            Ok(get(health, "/status")
                .map(drop)
                .map_err(|error| error.to_string()))
        })?;
        Ok(Jaeger {
            grpc,
            http,
            query,
            _process: process,
        })
    }

    /// Names of the services that have spans.
    pub fn services(&self) -> Result<Vec<String>> {
        let answer = self.get("/api/services")?;
        let names = answer["data"].as_array().cloned().unwrap_or_default();
        Ok(names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// The newest traces with a span of this service, in Jaeger's JSON: `traceID`, `spans` (`spanID`, `references`, `tags`, …),
    /// `processes`.
    pub fn traces(&self, service: &str, limit: usize) -> Result<Vec<Value>> {
        let answer = self.get(&format!(
            "/api/traces?service={service}&limit={limit}&lookback=1h"
        ))?;
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    /// A trace by its id (32 hex digits).
    pub fn trace(&self, id: &str) -> Result<Value> {
        let mut answer = self.get(&format!("/api/traces/{id}"))?;
        Ok(answer["data"][0].take())
    }

    /// The dependency graph of the last hour: caller, called one, how many calls.
    pub fn dependencies(&self) -> Result<Vec<(String, String, u64)>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let answer = self.get(&format!("/api/dependencies?endTs={now}&lookback=3600000"))?;
        let edges = answer["data"].as_array().cloned().unwrap_or_default();
        edges
            .iter()
            .map(|edge| {
                let end = |name: &str| edge[name].as_str().map(str::to_owned);
                Some((end("parent")?, end("child")?, edge["callCount"].as_u64()?))
            })
            .collect::<Option<_>>()
            .with_context(|| format!("not a dependency graph: {answer}"))
    }

    fn get(&self, path: &str) -> Result<Value> {
        let body = get(self.query, path)?;
        serde_json::from_str(&body).with_context(|| format!("Jaeger answered {path} with {body:?}"))
    }
}

/// One request; HTTP/1.0, so that the body ends with the connection.
fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    ensure!(
        status == "200",
        "{path}: {}: {body}",
        head.lines().next().unwrap_or_default()
    );
    Ok(body.to_owned())
}

/// No metrics of its own, which would open a port.
fn config(grpc: u16, http: u16, query: u16, query_grpc: u16, health: u16) -> String {
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: '127.0.0.1:{health}'}}}}
  jaeger_storage: {{backends: {{mem: {{memory: {{max_traces: 100000}}}}}}}}
  jaeger_query:
    storage: {{traces: mem}}
    http: {{endpoint: '127.0.0.1:{query}'}}
    grpc: {{endpoint: '127.0.0.1:{query_grpc}'}}
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: mem}}}}
"
    )
}
