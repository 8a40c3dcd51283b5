//! OTLP over HTTP, with protobuf or JSON.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::ClientConfig;

use super::{
    Target,
    transport::{Connector, Failure, MOST_ANSWER, chain, connector, headers},
};
use crate::config::schema::{Compression, Otlp};

/// Posts requests. Clones share their connections.
#[derive(Clone)]
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    json: bool,
    gzip: bool,
}

impl Http {
    pub(super) fn new(settings: &Otlp, target: &Target, tls: ClientConfig, json: bool) -> Http {
        let mut headers = headers(settings);
        let kind = if json {
            "application/json"
        } else {
            "application/x-protobuf"
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let gzip = settings.compression == Compression::Gzip;
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Http {
            client: Client::builder(TokioExecutor::new()).build(connector(tls, false)),
            uri: target.uri.clone(),
            headers,
            json,
            gzip,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) async fn send(&self, request: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        let body = if self.gzip { gzip(&request) } else { request };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = self.client.request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MOST_ANSWER).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((parts, body))
        };
        let (parts, body) = exchange
            .await
            .map_err(|error| Failure::new(chain(&*error), true))?;
        if !parts.status.is_success() {
            let asked = parts
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let passing = is_passing(parts.status);
            let failure = Failure::new(format!("status code {}", parts.status.as_u16()), passing);
            return Err(failure.after(asked.and_then(retry_after)));
        }
        // what cannot be read says nothing about rejected spans
        Ok(if self.json {
            serde_json::from_slice(&body).unwrap_or_default()
        } else {
            ExportTraceServiceResponse::decode(body).unwrap_or_default()
        })
    }
}

/// OTLP's retryable statuses.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut out = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Level::default());
    // a vector takes everything
    let _ = out.write_all(bytes);
    out.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_pass() {
        let passing: Vec<u16> = (100..600)
            .filter(|status| StatusCode::from_u16(*status).is_ok_and(is_passing))
            .collect();
        assert_eq!(passing, [429, 502, 503, 504]);
    }

    #[test]
    fn what_a_receiver_asks_for() {
        assert_eq!(retry_after(" 120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let asked = retry_after(&soon).unwrap();
        assert!((90..=100).contains(&asked.as_secs()), "{asked:?}");
        assert_eq!(retry_after("soon"), None);
    }
}
