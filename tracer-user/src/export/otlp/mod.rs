//! Export to an OTLP receiver by `opentelemetry-otlp`.
//!
//! What that crate does: the requests, their encoding and compression, quick retries within the timeout of one
//! batch with `Retry-After` and `RetryInfo`. What is done here, because it does not: the choice of the transport,
//! TLS with certificate files, a limit on connecting, patience beyond one timeout, and the count of spans that
//! a receiver rejects.

mod partial;
mod target;
#[cfg(test)]
mod tests;
mod transport;
mod worker;

pub(crate) use partial::RejectedSpans;
pub(crate) use target::{Target, local_listener_pid};

use anyhow::Context;

use super::queue::Output;
use crate::config::schema;

/// Starts the thread that exports. Fails where the settings cannot work at all, such as a certificate
/// that cannot be read; a receiver that is not there is no failure.
pub(crate) fn start(settings: &schema::Otlp) -> anyhow::Result<Output> {
    let target = Target::resolve(settings).context("export.otlp.endpoint is not set")?;
    let tls = transport::tls(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let settings = settings.clone();
    tracing::info!(endpoint = %target.uri, protocol = %target.protocol, "spans go to an OTLP receiver");
    let output = Output::spawn("otlp", settings.queue_size, move |queue, counters| {
        runtime.block_on(async {
            match transport::exporters(&settings, &target, tls) {
                Ok((exporters, failures)) => {
                    worker::run(queue, counters, &settings, exporters, &failures).await
                }
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "spans cannot be exported by OTLP");
                    worker::refuse(queue, counters).await;
                }
            }
        });
    })?;
    Ok(output)
}
