//! The transports: gRPC by tonic, HTTP by hyper, both over one kind of connection with one TLS configuration.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use rustls::ClientConfig;

use super::{Target, grpc::Grpc, http::Http};
use crate::config::schema::{Otlp, Protocol};

/// Most of a receiver's answer that is read (recommended by OTLP).
pub(super) const MOST_ANSWER: usize = 4 << 20;
/// Most time for one connection to be made, within the timeout of a request.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);
/// What OTLP asks exporters to call themselves.
pub(super) const USER_AGENT: &str = concat!("rmqtrace/", env!("CARGO_PKG_VERSION"));

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// For the log.
    pub(super) reason: String,
    /// The receiver may take the same request later (OTLP's retryable failures).
    pub(super) passing: bool,
    /// How long the receiver asks to wait.
    pub(super) wait: Option<Duration>,
}

impl Failure {
    pub(super) fn new(reason: String, passing: bool) -> Failure {
        let wait = None;
        Failure {
            reason,
            passing,
            wait,
        }
    }

    /// With what the receiver asks for, within reason.
    pub(super) fn after(self, wait: Option<Duration>) -> Failure {
        let wait = wait.map(|wait| wait.min(LONGEST_ASKED));
        Failure { wait, ..self }
    }
}

/// What sends requests. Clones share their connections.
#[derive(Clone)]
pub(super) enum Transport {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

impl Transport {
    /// Must be called within the runtime that it is used in.
    pub(super) fn new(settings: &Otlp, target: &Target, tls: ClientConfig) -> anyhow::Result<Transport> {
        Ok(match target.protocol {
            Protocol::Grpc => Transport::Grpc(Box::new(Grpc::new(settings, target, tls)?)),
            Protocol::HttpProtobuf => Transport::Http(Box::new(Http::new(settings, target, tls, false))),
            Protocol::HttpJson => Transport::Http(Box::new(Http::new(settings, target, tls, true))),
        })
    }

    /// Whether requests are JSON instead of protobuf.
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Transport::Http(http) if http.is_json())
    }

    /// Sends a request once. Without an answer within `limit` it has failed.
    pub(super) async fn send(
        &mut self,
        request: Bytes,
        limit: Duration,
    ) -> Result<ExportTraceServiceResponse, Failure> {
        let exchange = async {
            match self {
                Transport::Grpc(grpc) => grpc.send(request).await,
                Transport::Http(http) => http.send(request).await,
            }
        };
        let answer = tokio::time::timeout(limit, exchange).await;
        answer.unwrap_or_else(|_| Err(Failure::new(format!("no answer within {limit:?}"), true)))
    }
}

pub(super) type Connector = HttpsConnector<HttpConnector>;

/// Connections, plain or with TLS by the address's scheme. gRPC speaks HTTP/2 only.
pub(super) fn connector(tls: ClientConfig, http2_only: bool) -> Connector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if http2_only {
        builder.enable_http2().wrap_connector(tcp)
    } else {
        builder.enable_all_versions().wrap_connector(tcp)
    }
}

/// Headers of every request. Those of the settings were checked when they were read, and win.
pub(super) fn headers(settings: &Otlp) -> HeaderMap {
    let pair = |(name, value): (&String, &String)| {
        let name = HeaderName::try_from(name).ok()?;
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let user_agent = (http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    std::iter::once(user_agent)
        .chain(settings.headers.iter().filter_map(pair))
        .collect()
}

/// An error and its causes in one line, each said once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
