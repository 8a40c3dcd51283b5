//! Spans on standard output: a line each, aligned text ([`line`]) or JSON.

mod line;

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use tokio::sync::mpsc::error::TryRecvError;

use super::{
    Finished, convert,
    queue::{Cause, Counters, Output, Queue, WAITING},
};
use crate::config::schema::Print;

/// Starts the printing thread, unless nothing is to be printed.
pub(crate) fn start(print: Print) -> io::Result<Option<Output>> {
    let line: fn(&Arc<Finished>) -> String = match print {
        Print::None | Print::Auto => return Ok(None),
        Print::Text => |finished| line::text(finished),
        Print::Json => json,
    };
    Output::spawn("print", WAITING, move |queue, counters| {
        write(io::stdout(), queue, counters, line)
    })
    .map(Some)
}

/// Writes lines until the queue ends or nobody reads any more. Flushes whenever nothing waits.
fn write(out: impl Write, mut queue: Queue, counters: &Counters, line: fn(&Arc<Finished>) -> String) {
    let mut out = BufWriter::new(out);
    let mut unflushed = 0;
    loop {
        let finished = match queue.try_recv() {
            Ok(finished) => Some(finished),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                if out.flush().is_err() {
                    break;
                }
                counters.exported(std::mem::take(&mut unflushed));
                queue.blocking_recv()
            }
        };
        let Some(finished) = finished else {
            if out.flush().is_err() {
                break;
            }
            counters.exported(unflushed);
            return;
        };
        unflushed += 1;
        if writeln!(out, "{}", line(&finished)).is_err() {
            break;
        }
    }
    // the reader is gone, as with `| head`
    counters.dropped(Cause::Closed, unflushed);
    queue.close();
    while queue.blocking_recv().is_some() {
        counters.dropped(Cause::Closed, 1);
    }
    tracing::warn!("standard output is closed; spans are not printed any more");
    // what it still holds cannot be written, and trying again at the end would only fail again
    let _ = out.into_parts();
}

fn json(finished: &Arc<Finished>) -> String {
    let request = convert::request(std::slice::from_ref(finished));
    serde_json::to_string(&request).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::Instant;

    use super::*;
    use crate::export::sample;

    #[test]
    fn a_json_line_is_a_request() {
        let line = json(&sample::finished("orders"));
        assert!(!line.contains('\n'));
        let request: serde_json::Value = serde_json::from_str(&line).unwrap();
        let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "ab".repeat(16));
        assert_eq!(span["startTimeUnixNano"], "1700000000123456789");
    }

    fn output(out: impl Write + Send + 'static) -> Output {
        Output::spawn("print", 4, move |queue, counters| {
            write(out, queue, counters, |f| line::text(f))
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_counted() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = output(Gone);
        output.send(&sample::finished("t"));
        output.finished(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(output.stats().dropped().collect::<Vec<_>>(), [(Cause::Closed, 1)]);
    }

    #[tokio::test]
    async fn a_terminal_that_takes_nothing_costs_spans_and_no_time() {
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // until the test ends
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (_hold, stuck) = mpsc::channel();
        let output = output(Stuck(stuck));
        for _ in 0..1_000 {
            output.send(&sample::finished("t"));
        }
        let (cause, dropped) = output.stats().dropped().next().unwrap();
        assert_eq!(cause, Cause::QueueFull);
        assert!(dropped >= 900, "{dropped}");
    }
}
