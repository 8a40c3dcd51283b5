//! The transports: gRPC by tonic, HTTP by hyper, both over one kind of connection with one TLS configuration.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tonic::{
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use super::Target;
use crate::config::schema::{Compression, Otlp, Protocol};

/// Most of a receiver's answer that is read (recommended by OTLP).
const MOST_ANSWER: usize = 4 << 20;
/// Most time for one connection to be made, within the timeout of a batch.
const CONNECT: Duration = Duration::from_secs(5);
/// What OTLP asks exporters to call themselves.
const USER_AGENT: &str = concat!(
    "rmqtrace/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust/0.33"
);

/// What the last request failed of, in more words than the exporter's error has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(Arc<Mutex<Option<String>>>);

impl Failures {
    fn set(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// The words, once.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The TLS configuration: the files of the settings, else the system's certificates.
pub(crate) fn tls(settings: &Otlp) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &settings.certificate {
        Some(path) => {
            for certificate in certificates(path, "export.otlp.certificate")? {
                roots
                    .add(certificate)
                    .with_context(|| format!("{} (export.otlp.certificate)", path.display()))?;
            }
        }
        // a machine without certificates can still talk plain HTTP; https says so when it is tried
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match (&settings.client_certificate, &settings.client_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "export.otlp.client_certificate")?;
            let key = PrivateKeyDer::from_pem_slice(&read(key, "export.otlp.client_key")?).map_err(|e| {
                anyhow::anyhow!("{} (export.otlp.client_key) holds no PEM key: {e}", key.display())
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .context("export.otlp.client_certificate and client_key")?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(path, key)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => bail!("{} ({key}) holds no PEM certificate", path.display()),
        Err(error) => bail!("{} ({key}) holds no PEM certificate: {error}", path.display()),
    }
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} ({key}) cannot be read", path.display()))
}

/// As many exporters as requests may be under way at a time; they share their connections. Must be called within the
/// runtime that they are used in.
pub(crate) fn exporters(
    settings: &Otlp,
    target: &Target,
    tls: ClientConfig,
) -> anyhow::Result<(Vec<SpanExporter>, Failures)> {
    use opentelemetry_otlp::Protocol::{HttpBinary, HttpJson};
    let failures = Failures::default();
    let form = match target.protocol {
        Protocol::Grpc => None,
        Protocol::HttpProtobuf => Some(HttpBinary),
        Protocol::HttpJson => Some(HttpJson),
    };
    let lanes = 0..settings.concurrency;
    let exporters: anyhow::Result<_> = match form {
        None => {
            let channel = channel(settings, target, tls)?;
            lanes.map(|_| grpc(settings, channel.clone())).collect()
        }
        Some(form) => {
            let client = HyperClient {
                client: Client::builder(TokioExecutor::new()).build(connector(tls, false)),
                headers: headers(settings),
                timeout: settings.timeout.0,
                failures: failures.clone(),
            };
            lanes
                .map(|_| http(settings, target, form, client.clone()))
                .collect()
        }
    };
    Ok((exporters?, failures))
}

/// Quick retries within one timeout; the worker is patient beyond.
fn quick_retries() -> RetryPolicy {
    RetryPolicy::recommended()
        .with_max_retries(6)
        .with_initial_delay(Duration::from_millis(250))
        // the crate adds no jitter at the limit, so the limit is out of reach
        .with_max_delay(Duration::from_secs(30))
        .with_max_jitter(Duration::from_millis(250))
}

type Connector = HttpsConnector<HttpConnector>;

/// Connections, plain or with TLS by the address's scheme. gRPC speaks HTTP/2 only.
fn connector(tls: ClientConfig, http2_only: bool) -> Connector {
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
fn headers(settings: &Otlp) -> HeaderMap {
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

fn channel(settings: &Otlp, target: &Target, tls: ClientConfig) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from(target.uri.clone())
        .user_agent(USER_AGENT)?
        .timeout(settings.timeout.0)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(false);
    Ok(endpoint.connect_with_connector_lazy(connector(tls, true)))
}

fn grpc(settings: &Otlp, channel: Channel) -> anyhow::Result<SpanExporter> {
    let metadata = MetadataMap::from_headers(headers(settings));
    // the crate reads OTEL_EXPORTER_OTLP_HEADERS again and adds them; these are the settled ones
    let settle = move |mut request: tonic::Request<()>| {
        for item in metadata.iter() {
            match item {
                tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                    request.metadata_mut().insert(key, value.clone());
                }
                tonic::metadata::KeyAndValueRef::Binary(key, value) => {
                    request.metadata_mut().insert_bin(key, value.clone());
                }
            }
        }
        Ok(request)
    };
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_timeout(settings.timeout.0)
        .with_interceptor(settle)
        .with_retry_policy(quick_retries());
    if settings.compression == Compression::Gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    Ok(builder.build()?)
}

fn http(
    settings: &Otlp,
    target: &Target,
    form: opentelemetry_otlp::Protocol,
    client: HyperClient,
) -> anyhow::Result<SpanExporter> {
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(form)
        .with_endpoint(target.uri.to_string())
        .with_timeout(settings.timeout.0)
        .with_retry_policy(quick_retries());
    if settings.compression == Compression::Gzip {
        builder = builder.with_compression(opentelemetry_otlp::Compression::Gzip);
    }
    Ok(builder.build()?)
}

/// An HTTP client with a limit on time and on the answer's size. Clones share their connections.
#[derive(Clone, Debug)]
struct HyperClient {
    client: Client<Connector, Full<Bytes>>,
    headers: HeaderMap,
    timeout: Duration,
    failures: Failures,
}

#[async_trait]
impl HttpClient for HyperClient {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let exchange = async {
            let response = self.client.request(request.map(Full::new)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MOST_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        };
        let result = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
        };
        result.inspect_err(|error| self.failures.set(chain(&**error)))
    }
}

/// An error and its causes in one line, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        fs::write(&path, "no certificate").unwrap();
        let problem = |settings: Otlp| {
            format!("{:#}", tls(&settings).unwrap_err()).replace(dir.path().to_str().unwrap(), "DIR")
        };
        let said = [
            problem(Otlp {
                certificate: Some(path.clone()),
                ..Otlp::default()
            }),
            problem(Otlp {
                certificate: Some(dir.path().join("none.pem")),
                ..Otlp::default()
            }),
            problem(Otlp {
                client_certificate: Some(path.clone()),
                client_key: Some(path.clone()),
                ..Otlp::default()
            }),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
