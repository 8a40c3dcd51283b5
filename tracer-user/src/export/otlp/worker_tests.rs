//! The worker against a small HTTP receiver that misbehaves as told.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::{
    config::schema::Protocol,
    export::{
        otlp::{Target, transport},
        queue::Stats,
        sample,
    },
};

/// What the receiver does with a request.
#[derive(Clone)]
enum Answer {
    /// Status, more headers, body.
    Status(u16, &'static str, Vec<u8>),
    /// Nothing, with the connection left open.
    Silence,
    /// Close it.
    Close,
}

const OK: Answer = Answer::Status(200, "", Vec::new());

/// A receiver that gives these answers, then `OK` for ever. Request lines and headers come out of the channel.
fn receiver(listener: TcpListener, answers: Vec<Answer>) -> mpsc::UnboundedReceiver<String> {
    let (seen, requests) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone(), seen.clone()));
        }
    });
    requests
}

async fn serve(
    mut stream: TcpStream,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: mpsc::UnboundedSender<String>,
) -> io::Result<()> {
    loop {
        let head = head(&mut stream).await?;
        let length = head
            .lines()
            .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        let _ = seen.send(head);
        let answer = answers.lock().await.pop_front().unwrap_or(OK);
        match answer {
            Answer::Status(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            Answer::Silence => std::future::pending().await,
            Answer::Close => return Ok(()),
        }
    }
}

async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn settings(address: SocketAddr) -> Otlp {
    let mut otlp = Otlp {
        batch_size: 4,
        ..Otlp::default()
    };
    otlp.endpoint = Some(format!("http://{address}").parse().unwrap());
    otlp.interval = "1ms".parse().unwrap();
    otlp.timeout = "300ms".parse().unwrap();
    otlp
}

/// Exports this many spans and tells what became of them.
async fn export(settings: &Otlp, spans: usize) -> Stats {
    let target = Target::resolve(settings).unwrap();
    let (exporter, failures) =
        transport::exporter(settings, &target, transport::tls(settings).unwrap()).unwrap();
    let (sender, queue) = mpsc::channel(spans);
    for _ in 0..spans {
        sender.try_send(sample::finished("t")).unwrap();
    }
    drop(sender);
    let counters = Counters::default();
    let limit = Duration::from_secs(30);
    timeout(limit, run(queue, &counters, settings, exporter, &failures))
        .await
        .expect("the worker ends");
    counters.snapshot()
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn dropped(stats: &Stats) -> Vec<(Cause, u64)> {
    stats.dropped().collect()
}

#[tokio::test]
async fn batches_arrive_with_their_headers() {
    let (listener, address) = bound().await;
    let mut requests = receiver(listener, vec![]);
    let mut settings = settings(address);
    settings.headers = [("Authorization".to_owned(), "Basic eHg=".to_owned())].into();
    settings.compression = crate::config::schema::Compression::Gzip;
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
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(RejectedSpans));
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

/// The exporter's messages, and whether the failure passes.
#[test]
fn failures_are_told_apart() {
    for (message, expected) in [
        ("HTTP export failed with status code: 503", true),
        ("HTTP export failed with status code: 429", true),
        ("HTTP export failed with status code: 500", false),
        ("HTTP export failed with status code: 404", false),
        ("HTTP export failed: network error", true),
        (
            "TonicTracesClient export failed with gRPC code: Unavailable: transport error",
            true,
        ),
        (
            "TonicTracesClient export failed with gRPC code: ResourceExhausted",
            true,
        ),
        (
            "TonicTracesClient export failed with gRPC code: Unknown: transport error: broken pipe",
            true,
        ),
        ("TonicTracesClient export failed with gRPC code: Unknown", false),
        (
            "TonicTracesClient export failed with gRPC code: InvalidArgument",
            false,
        ),
        (
            "TonicTracesClient export failed with gRPC code: Unauthenticated",
            false,
        ),
        ("anything else", false),
    ] {
        assert_eq!(
            passing(&OTelSdkError::InternalFailure(message.into())),
            expected,
            "{message}"
        );
    }
    assert!(passing(&OTelSdkError::Timeout(Duration::ZERO)));
}
