//! OTLP/gRPC, against the service of `opentelemetry-proto`.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tonic::{
    Code, Request, Response, Status,
    codec::CompressionEncoding,
    transport::server::{Router, Server, TcpIncoming},
};

use super::*;
use crate::config::schema::{Compression, Protocol};

/// Gives these answers, then success for ever.
pub(super) struct Receiver {
    answers: Mutex<VecDeque<Result<ExportTraceServiceResponse, Code>>>,
    seen: mpsc::UnboundedSender<Request<ExportTraceServiceRequest>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let _ = self.seen.send(request);
        let answer = self.answers.lock().await.pop_front();
        match answer.unwrap_or(Ok(ExportTraceServiceResponse::default())) {
            Ok(response) => Ok(Response::new(response)),
            Err(code) => Err(Status::new(code, "as told")),
        }
    }
}

pub(super) type Requests = mpsc::UnboundedReceiver<Request<ExportTraceServiceRequest>>;

/// A server with that service, and the requests that it gets.
pub(super) fn service(answers: Vec<Result<ExportTraceServiceResponse, Code>>) -> (Router, Requests) {
    let (seen, requests) = mpsc::unbounded_channel();
    let receiver = Receiver {
        answers: Mutex::new(answers.into()),
        seen,
    };
    let service = TraceServiceServer::new(receiver).accept_compressed(CompressionEncoding::Gzip);
    (Server::builder().add_service(service), requests)
}

async fn receiver(answers: Vec<Result<ExportTraceServiceResponse, Code>>) -> (Otlp, Requests) {
    let (listener, address) = bound().await;
    let (router, requests) = service(answers);
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    (
        Otlp {
            protocol: Some(Protocol::Grpc),
            ..settings(address)
        },
        requests,
    )
}

#[tokio::test]
async fn batches_arrive_with_their_headers() {
    let (mut settings, mut requests) = receiver(vec![]).await;
    settings.headers = [("Authentication".to_owned(), "token".to_owned())].into();
    settings.compression = Compression::Gzip;
    let stats = export(&settings, 6).await;
    assert_eq!((stats.exported, dropped(&stats)), (6, vec![]));
    let request = requests.recv().await.unwrap();
    assert_eq!(request.metadata().get("authentication").unwrap(), "token");
    assert!(
        request
            .metadata()
            .get("user-agent")
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("rmqtrace/")
    );
    let resource = request.get_ref().resource_spans[0].resource.as_ref().unwrap();
    assert!(resource.attributes.iter().any(|a| a.key == "service.name"));
    assert_eq!(request.get_ref().resource_spans[0].scope_spans[0].spans.len(), 4);
}

#[tokio::test]
async fn passing_failures_are_tried_again() {
    let (settings, _requests) = receiver(vec![Err(Code::Unavailable), Err(Code::Aborted)]).await;
    let stats = export(&settings, 4).await;
    assert_eq!((stats.exported, dropped(&stats)), (4, vec![]));
}

/// `ResourceExhausted` without `RetryInfo` must not be tried again, says OTLP.
#[tokio::test]
async fn refused_for_good_is_dropped_at_once() {
    let codes = [
        Code::InvalidArgument,
        Code::Unauthenticated,
        Code::ResourceExhausted,
        Code::Unknown,
    ];
    let (settings, mut requests) = receiver(codes.map(Err).into()).await;
    let stats = export(&settings, 20).await;
    assert_eq!((stats.exported, dropped(&stats)), (4, vec![(Cause::Refused, 16)]));
    assert_eq!(std::iter::from_fn(|| requests.try_recv().ok()).count(), 5);
}

#[tokio::test]
async fn rejected_spans_are_counted() {
    let partial = ExportTracePartialSuccess {
        rejected_spans: 3,
        error_message: "too old".into(),
    };
    let (settings, _requests) = receiver(vec![Ok(ExportTraceServiceResponse {
        partial_success: Some(partial),
    })])
    .await;
    let stats = export(&settings, 4).await;
    assert_eq!((stats.exported, dropped(&stats)), (1, vec![(Cause::Rejected, 3)]));
}
