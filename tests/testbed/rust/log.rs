//! The program's own account: JSON lines, written by a thread of their own, so that a slow reader never shows in the times of
//! a send.

use std::{
    io::{BufWriter, Write},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// Writes events to standard output, in the order in which they happened. Clones write to the same.
#[derive(Clone)]
pub struct Log(mpsc::Sender<Value>);

impl Log {
    /// The log, and the thread that [`close`](Self::close) ends.
    pub fn start() -> (Log, JoinHandle<()>) {
        let (sender, events) = mpsc::channel::<Value>();
        let thread = thread::spawn(move || {
            let mut out = BufWriter::new(std::io::stdout());
            while let Ok(mut event) = events.recv() {
                loop {
                    if event.is_null() {
                        let _ = out.flush();
                        return;
                    }
                    let _ = writeln!(out, "{event}");
                    match events.try_recv() {
                        Ok(next) => event = next,
                        Err(_) => break,
                    }
                }
                let _ = out.flush();
            }
        });
        (Log(sender), thread)
    }

    /// Writes what is left. Clones may live on, in handlers that the library keeps.
    pub fn close(&self) {
        self.write(Value::Null);
    }

    /// Adds one line: an object.
    pub fn write(&self, event: Value) {
        let _ = self.0.send(event);
    }
}

/// Wall-clock time in nanoseconds since the epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
