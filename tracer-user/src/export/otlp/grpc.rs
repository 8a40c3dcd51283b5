//! OTLP over gRPC. Requests come encoded, so that the client is tonic's generic one with a codec that passes bytes on.

use std::{error::Error, time::Duration};

use bytes::{BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::ClientConfig;
use tonic::{
    Code, Request, Status,
    client::Grpc as Client,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use super::{
    Target,
    transport::{Failure, MOST_ANSWER, USER_AGENT, chain, connector, headers},
};
use crate::config::schema::{Compression, Otlp};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Calls the service. Clones share their connection.
#[derive(Clone)]
pub(super) struct Grpc {
    client: Client<Channel>,
    metadata: MetadataMap,
}

impl Grpc {
    pub(super) fn new(settings: &Otlp, target: &Target, tls: ClientConfig) -> anyhow::Result<Grpc> {
        let endpoint = Endpoint::from(target.uri.clone())
            .user_agent(USER_AGENT)?
            .timeout(settings.timeout.0)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(false);
        let channel = endpoint.connect_with_connector_lazy(connector(tls, true));
        let mut client = Client::new(channel).max_decoding_message_size(MOST_ANSWER);
        if settings.compression == Compression::Gzip {
            client = client
                .send_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Gzip);
        }
        Ok(Grpc {
            client,
            metadata: MetadataMap::from_headers(headers(settings)),
        })
    }

    pub(super) async fn send(&mut self, request: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        let mut request = Request::new(request);
        *request.metadata_mut() = self.metadata.clone();
        self.client
            .ready()
            .await
            .map_err(|error| Failure::new(chain(&error), true))?;
        let path = PathAndQuery::from_static(EXPORT);
        let answer = self.client.unary(request, path, Encoded).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| failure(&status))
    }
}

/// OTLP's retryable codes. A connection that broke comes as `Unknown` with its cause, a receiver's `Unknown` without.
fn failure(status: &Status) -> Failure {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let passing = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => asked.is_some(),
        Code::Unknown => status.source().is_some(),
        _ => false,
    };
    let code = status.code();
    let reason = match status.source() {
        Some(source) => format!("{code:?}: {}", chain(source)),
        None if status.message().is_empty() => format!("{code:?}"),
        None => format!("{code:?}: {}", status.message()),
    };
    Failure::new(reason, passing).after(asked)
}

/// Requests are bytes of a message already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Encoded;
    type Decoder = Encoded;

    fn encoder(&mut self) -> Encoded {
        Encoded
    }

    fn decoder(&mut self) -> Encoded {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        Message::decode(input)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn codes_that_pass() {
        let passing: Vec<Code> = (0..=16)
            .map(Code::from)
            .filter(|code| failure(&Status::new(*code, "as told")).passing)
            .collect();
        let expected = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        assert!(passing.iter().all(|code| expected.contains(code)) && passing.len() == expected.len());
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(
            failure(&broken),
            Failure::new("Unknown: broken pipe".to_owned(), true)
        );
    }

    #[test]
    fn exhausted_with_leave_to_try_again() {
        let delay = Duration::from_secs(3);
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let failure = failure(&status);
        assert_eq!((failure.passing, failure.wait), (true, Some(delay)));
    }
}
