//! Export to an OTLP receiver: gRPC, or HTTP with protobuf or JSON.
//!
//! | Module | What |
//! |---|---|
//! | [`encode`] | spans as protobuf |
//! | [`grpc`], [`http`] | a request and its answer; which failures pass |
//! | [`transport`] | either of them, and what they share |
//! | [`tls`], [`target`] | certificates; where to |
//! | [`worker`] | batches, patience, the count of what a receiver rejects |
//!
//! Transports, TLS, compression and the messages' types are those of tonic, hyper, rustls and `opentelemetry-proto`.

mod encode;
mod grpc;
mod http;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod worker;

pub(crate) use target::{Target, local_listener_pid};

use anyhow::Context;

use self::transport::Transport;
use super::queue::Output;
use crate::config::schema;

/// Starts the thread that exports. Fails where the settings cannot work at all, such as a certificate
/// that cannot be read; a receiver that is not there is no failure.
pub(crate) fn start(settings: &schema::Otlp) -> anyhow::Result<Output> {
    let target = Target::resolve(settings).context("export.otlp.endpoint is not set")?;
    let tls = tls::client(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let settings = settings.clone();
    tracing::info!(endpoint = %target.uri, protocol = %target.protocol, "spans go to an OTLP receiver");
    let output = Output::spawn("otlp", settings.queue_size, move |queue, counters| {
        runtime.block_on(async {
            match Transport::new(&settings, &target, tls) {
                Ok(transport) => worker::run(queue, counters, &settings, transport).await,
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "spans cannot be exported by OTLP");
                    worker::refuse(queue, counters).await;
                }
            }
        });
    })?;
    Ok(output)
}
