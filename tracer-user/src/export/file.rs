//! A file in the form of OpenTelemetry's file exporter: one `ExportTraceServiceRequest` as JSON a line.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::mpsc::error::TryRecvError,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Finished, convert,
    queue::{Cause, Counters, Output, Queue, WAITING},
};

/// How long spans are collected into one line.
const COLLECT: Duration = Duration::from_millis(100);
/// Most spans in one line.
const MOST: usize = 512;

/// Opens the file to append to it.
pub(crate) fn start(path: &Path) -> anyhow::Result<Output> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write to {} (export.otlp_file)", path.display()))?;
    let path = path.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    Ok(Output::spawn("otlp_file", WAITING, move |queue, counters| {
        if let Err(error) = runtime.block_on(write(file, queue, counters)) {
            tracing::error!(path = %path.display(), %error, "the span file cannot be written to; its spans are dropped from now on");
        }
    })?)
}

async fn write(file: File, mut queue: Queue, counters: &Counters) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    while let Some(batch) = collect(&mut queue, MOST, COLLECT).await {
        let spans = batch.len() as u64;
        let written = serde_json::to_writer(&mut out, &convert::request(&batch))
            .map_err(std::io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush());
        match written {
            Ok(()) => counters.exported(spans),
            Err(error) => {
                counters.dropped(Cause::Closed, spans);
                queue.close();
                while queue.recv().await.is_some() {
                    counters.dropped(Cause::Closed, 1);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// How soon a batch in the making is looked at again when something came, and at the latest. A thread that waits for the
/// next span is woken for each, which costs it and the one that makes spans more than the spans do.
const LOOK: Duration = Duration::from_millis(5);
const LATEST_LOOK: Duration = Duration::from_millis(40);
/// The smallest queue that has room for what comes meanwhile. Spans of a smaller one are taken out one by one.
const ROOMY: usize = 32 * 1024;

/// The next batch: begins with the next span, ends when it is full or the time is up. `None`: nothing will come.
pub(crate) async fn collect(queue: &mut Queue, most: usize, wait: Duration) -> Option<Vec<Arc<Finished>>> {
    let mut batch = Vec::new();
    queue.recv_many(&mut batch, most).await;
    if batch.is_empty() {
        return None;
    }
    let deadline = Instant::now() + wait;
    let mut pause = LOOK;
    while batch.len() < most {
        match queue.try_recv() {
            Ok(span) => {
                batch.push(span);
                pause = LOOK;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if Instant::now() >= deadline => break,
            Err(TryRecvError::Empty) if queue.max_capacity() < ROOMY => {
                let room = most - batch.len();
                // nothing came, or nothing will: what is looked at next tells
                let _ = timeout_at(deadline, queue.recv_many(&mut batch, room)).await;
            }
            Err(TryRecvError::Empty) => {
                sleep_until(deadline.min(Instant::now() + pause)).await;
                pause = (2 * pause).min(LATEST_LOOK);
            }
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::sample;

    #[tokio::test]
    async fn spans_are_lines_of_requests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spans.jsonl");
        std::fs::write(&path, "before\n").unwrap();
        let mut output = start(&path).unwrap();
        for _ in 0..MOST + 1 {
            output.send(&sample::finished("orders"));
        }
        output.finished(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(output.stats().exported, MOST as u64 + 1);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("before"));
        let count = |line: &str| {
            let request: serde_json::Value = serde_json::from_str(line).unwrap();
            request["resourceSpans"][0]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!(lines.map(count).sum::<usize>(), MOST + 1);
    }

    #[tokio::test]
    async fn a_full_disk_is_counted_and_does_not_stop_anything() {
        let mut output = start(Path::new("/dev/full")).unwrap();
        output.send(&sample::finished("orders"));
        output.finished(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(output.stats().dropped().collect::<Vec<_>>(), [(Cause::Closed, 1)]);
    }

    #[tokio::test]
    async fn a_batch_ends_when_it_is_full_when_time_is_up_and_at_the_end() {
        for size in [ROOMY, 8] {
            let (sender, mut queue) = tokio::sync::mpsc::channel(size);
            let (finished, wait) = (sample::finished("orders"), Duration::from_millis(300));
            for _ in 0..5 {
                sender.try_send(finished.clone()).unwrap();
            }
            let began = Instant::now();
            assert_eq!(collect(&mut queue, 3, wait).await.unwrap().len(), 3);
            assert!(began.elapsed() < wait, "it was full");
            // two are there, one more comes late
            let late = tokio::spawn(async move {
                tokio::time::sleep(wait / 3).await;
                sender.try_send(finished).unwrap();
                tokio::time::sleep(wait * 2).await;
            });
            assert_eq!(collect(&mut queue, 9, wait).await.unwrap().len(), 3);
            assert!(began.elapsed() >= wait, "{size}");
            late.await.unwrap();
            assert_eq!(collect(&mut queue, 9, wait).await.map(|batch| batch.len()), None);
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_once() {
        let error = start(Path::new("/nonexistent/spans.jsonl")).unwrap_err();
        insta::assert_snapshot!(format!("{error:#}"), @"cannot write to /nonexistent/spans.jsonl (export.otlp_file): No such file or directory (os error 2)");
    }
}
