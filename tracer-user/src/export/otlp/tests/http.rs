//! OTLP/HTTP.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};

use super::*;
use crate::config::schema::{Compression, Protocol};

#[tokio::test]
async fn batches_arrive_with_their_headers() {
    let (listener, address) = bound().await;
    let mut requests = receiver(listener, vec![]);
    let mut settings = settings(address);
    settings.headers = [("Authorization".to_owned(), "Basic eHg=".to_owned())].into();
    settings.compression = Compression::Gzip;
    let stats = export(&settings, 6).await;
    assert_eq!((stats.exported, dropped(&stats)), (6, vec![]));
    let head = requests.recv().await.unwrap().to_lowercase();
    for expected in [
        "post /v1/traces ",
        "authorization: basic ehg=",
        "content-type: application/x-protobuf",
        "content-encoding: gzip",
        "user-agent: rmqtrace/",
    ] {
        assert!(head.contains(expected), "{expected} in {head}");
    }
    assert!(requests.recv().await.is_some());
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn json_is_sent_as_json() {
    let (listener, address) = bound().await;
    let mut requests = receiver(listener, vec![]);
    let settings = Otlp {
        protocol: Some(Protocol::HttpJson),
        ..settings(address)
    };
    assert_eq!(export(&settings, 1).await.exported, 1);
    assert!(requests.recv().await.unwrap().contains("application/json"));
}

/// Overload, a broken connection and silence pass; nothing is lost.
#[tokio::test]
async fn passing_failures_are_tried_again() {
    let (listener, address) = bound().await;
    let answers = vec![
        Answer::Status(503, "retry-after: 0\r\n", vec![]),
        Answer::Status(429, "", vec![]),
        Answer::Close,
        Answer::Silence,
    ];
    let _requests = receiver(listener, answers);
    let stats = export(&settings(address), 8).await;
    assert_eq!((stats.exported, dropped(&stats)), (8, vec![]));
}

/// A receiver that is slow to answer gets the next request meanwhile.
#[tokio::test]
async fn several_requests_are_under_way_at_a_time() {
    let (listener, address) = bound().await;
    let both = Answer::Together(Arc::new(Barrier::new(2)));
    let mut requests = receiver(listener, vec![both.clone(), both]);
    let settings = Otlp {
        concurrency: 2,
        ..settings(address)
    };
    let stats = export(&settings, 128).await;
    assert_eq!((stats.exported, dropped(&stats)), (128, vec![]));
    for _ in 0..128 / settings.batch_size {
        assert!(requests.recv().await.is_some());
    }
    assert!(requests.try_recv().is_err(), "none had to be tried again");
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_everything() {
    let (listener, address) = bound().await;
    drop(listener);
    let settings = settings(address);
    let back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        receiver(TcpListener::bind(address).await.unwrap(), vec![])
    };
    let (stats, _requests) = tokio::join!(export(&settings, 8), back);
    assert_eq!((stats.exported, dropped(&stats)), (8, vec![]));
}

#[tokio::test]
async fn refused_for_good_is_dropped_at_once_and_the_next_batch_goes_on() {
    let (listener, address) = bound().await;
    let mut requests = receiver(listener, vec![Answer::Status(400, "", b"bad".to_vec())]);
    let stats = export(&settings(address), 8).await;
    assert_eq!((stats.exported, dropped(&stats)), (4, vec![(Cause::Refused, 4)]));
    assert!(requests.try_recv().is_ok() && requests.try_recv().is_ok() && requests.try_recv().is_err());
}

#[tokio::test]
async fn patience_ends() {
    let (listener, address) = bound().await;
    drop(listener);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let settings = Otlp {
            protocol: Some(protocol),
            retry_for: "1ms".parse().unwrap(),
            ..settings(address)
        };
        let stats = export(&settings, 4).await;
        assert_eq!(
            (stats.exported, dropped(&stats)),
            (0, vec![(Cause::Exhausted, 4)]),
            "{protocol}"
        );
    }
}

#[tokio::test]
async fn rejected_spans_are_counted() {
    let (listener, address) = bound().await;
    let partial = ExportTracePartialSuccess {
        rejected_spans: 3,
        error_message: "too old".into(),
    };
    let response = ExportTraceServiceResponse {
        partial_success: Some(partial),
    };
    let json = serde_json::to_vec(&response).unwrap();
    let _requests = receiver(listener, vec![Answer::Status(200, "", json)]);
    let settings = Otlp {
        protocol: Some(Protocol::HttpJson),
        ..settings(address)
    };
    let stats = export(&settings, 4).await;
    assert_eq!((stats.exported, dropped(&stats)), (1, vec![(Cause::Rejected, 3)]));
}
