//! The exporter against receivers that behave and misbehave as told.

mod grpc;
mod http;
mod tls;

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::{Barrier, Mutex, mpsc},
    time::timeout,
};

use super::{Target, Transport, worker};
use crate::{
    config::schema::Otlp,
    export::{
        queue::{Cause, Counters, Stats},
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
    /// As `OK`, once so many requests wait for it.
    Together(Arc<Barrier>),
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
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
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
            Answer::Together(others) => {
                others.wait().await;
                stream
                    .write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n")
                    .await?;
            }
        }
    }
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
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
    let transport = Transport::new(settings, &target, super::tls::client(settings).unwrap()).unwrap();
    let (sender, queue) = mpsc::channel(spans);
    for _ in 0..spans {
        sender.try_send(sample::finished("t")).unwrap();
    }
    drop(sender);
    let counters = Counters::default();
    let limit = Duration::from_secs(30);
    timeout(limit, worker::run(queue, &counters, settings, transport))
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
