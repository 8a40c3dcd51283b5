//! Spans on standard output: a line each, aligned text or JSON.

use std::{
    fmt::{self, Write as _},
    io::{self, BufWriter, Write},
    sync::Arc,
};

use tokio::sync::mpsc::error::TryRecvError;
use tracer_core::model::{Operation, Span, Status, Value, attribute as key};

use super::{
    Finished, convert,
    queue::{Cause, Counters, Output, Queue, WAITING},
};
use crate::config::schema::Print;

/// Starts the printing thread, unless nothing is to be printed.
pub(crate) fn start(print: Print) -> io::Result<Option<Output>> {
    let line: fn(&Arc<Finished>) -> String = match print {
        Print::None | Print::Auto => return Ok(None),
        Print::Text => |finished| text(finished),
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

/// ```text
/// 22:13:20.123Z  shop             send     orders                 broker-a:3@1234   7F…00     1.234 ms  SEND_OK   trace …
/// ```
fn text(finished: &Finished) -> String {
    let span = &finished.span;
    let get = |key: &str| span.attributes.iter().find(|a| a.key == key).map(|a| &a.value);
    let string = |key: &str| get(key).and_then(Value::as_str);
    let mut place = String::new();
    let queue = (
        string(key::MESSAGING_ROCKETMQ_BROKER_NAME),
        string(key::MESSAGING_DESTINATION_PARTITION_ID),
    );
    if let (_, Some(queue)) = queue {
        let _ = write!(
            place,
            "{}:{queue}",
            queue_broker(string(key::MESSAGING_ROCKETMQ_BROKER_NAME))
        );
        if let Some(Value::Int(offset)) = get(key::MESSAGING_ROCKETMQ_QUEUE_OFFSET) {
            let _ = write!(place, "@{offset}");
        }
    }
    let message = match (
        string(key::MESSAGING_MESSAGE_ID),
        get(key::MESSAGING_BATCH_MESSAGE_COUNT),
    ) {
        (Some(id), _) => id.to_owned(),
        (None, Some(Value::Int(n))) => format!("({n} messages)"),
        _ => "-".to_owned(),
    };
    let nanoseconds = finished.end.0.saturating_sub(finished.start.0);
    let line = format!(
        "{}  {:<16} {:<7} {:<24} {:<20} {:<32} {:>10}  {:<22} trace {}",
        time_of_day(finished.start.0),
        finished.process.resource.service,
        span.operation.name(),
        span.topic,
        place,
        message,
        format!("{} ms", Milliseconds(nanoseconds)),
        outcome(span),
        span.context.trace_id,
    );
    printable(line)
}

fn queue_broker(name: Option<&str>) -> &str {
    name.unwrap_or("?")
}

/// How it went, in a word or two.
fn outcome(span: &Span) -> String {
    let string = |key: &str| {
        span.attributes
            .iter()
            .find(|a| a.key == key)
            .and_then(|a| a.value.as_str())
    };
    let is = |key: &str| {
        span.attributes
            .iter()
            .any(|a| a.key == key && a.value == Value::Bool(true))
    };
    let mut words = match span.operation {
        Operation::Process => string(key::RMQTRACE_PROCESS_EVIDENCE).unwrap_or("-").to_owned(),
        _ if is(key::RMQTRACE_SEND_ONE_WAY) => "one-way".to_owned(),
        _ => string(key::MESSAGING_ROCKETMQ_SEND_STATUS)
            .unwrap_or_default()
            .to_owned(),
    };
    if matches!(span.status, Status::Error(_)) {
        let gap = if words.is_empty() { "" } else { " " };
        let _ = write!(words, "{gap}{}", string(key::ERROR_TYPE).unwrap_or("error"));
    }
    if is(key::RMQTRACE_INCOMPLETE) {
        words.push_str(" incomplete");
    }
    words
}

/// UTC time of day with milliseconds.
fn time_of_day(wall_ns: u64) -> String {
    let (seconds, milliseconds) = (wall_ns / 1_000_000_000, wall_ns / 1_000_000 % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{milliseconds:03}Z", seconds % 60)
}

/// Nanoseconds as milliseconds, with digits that matter.
struct Milliseconds(u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0 / 1_000_000, self.0 / 1_000 % 1_000);
        if whole < 1_000 {
            write!(f, "{whole}.{micro:03}")
        } else {
            write!(f, "{whole}")
        }
    }
}

/// Names come from the wire: control characters must not reach a terminal.
fn printable(line: String) -> String {
    if !line.contains(char::is_control) {
        return line;
    }
    line.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::Instant;

    use super::*;
    use crate::export::sample;

    #[test]
    fn lines() {
        let mut wild = sample::owned("orders\u{1b}[2J\n");
        wild.span.attributes.clear();
        let lines = [
            sample::finished("orders"),
            sample::failed("orders"),
            Arc::new(wild),
        ]
        .map(|f| text(&f));
        insta::assert_snapshot!(lines.join("\n"));
    }

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
            write(out, queue, counters, |f| text(f))
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
