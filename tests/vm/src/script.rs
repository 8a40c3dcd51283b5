//! What the clients of a capture did, as steps that can be played.
//!
//! A capture is what `rmqtrace record` wrote: operations on sockets, each with its bytes but for message bodies. Sends are
//! ordered by their start and receives by their end, so that a request always comes before its answer. In place of message
//! bodies, which no recording has, stand as many other bytes.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use tracer_abi::Direction;
use tracer_core::{
    model::{ProcessId, Timestamp},
    record::{ConnectionId, Data, Open, Record},
};
use tracer_pcap::{Event, Input, Replay};

/// What stands for bytes that were not recorded.
const FILLER: u8 = b'.';

/// The clients of a capture.
#[derive(Default)]
pub(crate) struct Script {
    /// The capture.
    pub(crate) path: PathBuf,
    /// Number of client processes.
    pub(crate) processes: usize,
    /// Connections, by number.
    pub(crate) connections: Vec<Connection>,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
    /// Nanoseconds from the first step to the end of the recording.
    pub(crate) length: u64,
}

/// A connection of a client.
pub(crate) struct Connection {
    /// Address of the client.
    pub(crate) local: SocketAddr,
    /// Address of the server.
    pub(crate) remote: SocketAddr,
}

/// Something that happens.
pub(crate) struct Step {
    /// Nanoseconds since the first step.
    pub(crate) at: u64,
    /// Number of the process that does it.
    pub(crate) process: usize,
    /// What it does.
    pub(crate) action: Action,
}

/// What a client does.
pub(crate) enum Action {
    /// Opens this connection.
    Connect(usize),
    /// Writes these bytes in one call.
    Send(usize, Vec<u8>),
    /// Reads these bytes, which the server wrote before.
    Receive(usize, Vec<u8>),
    /// Closes this connection.
    Close(usize),
    /// Ends.
    Exit,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Connect(connection) => write!(f, "connection {connection} opens"),
            Action::Send(connection, bytes) => write!(f, "connection {connection} sends {}", bytes.len()),
            Action::Receive(connection, bytes) => {
                write!(f, "connection {connection} receives {}", bytes.len())
            }
            Action::Close(connection) => write!(f, "connection {connection} closes"),
            Action::Exit => write!(f, "the process ends"),
        }
    }
}

/// One call of a client that moved bytes.
struct Operation {
    connection: ConnectionId,
    direction: Direction,
    /// Order among everything else: the start of a send, the end of a receive.
    at: Timestamp,
    end: Timestamp,
    next: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Reading {
    opens: HashMap<ConnectionId, Open>,
    operations: Vec<Operation>,
    /// Ends of connections and of processes.
    closes: Vec<(Timestamp, ConnectionId)>,
    exits: Vec<(Timestamp, ProcessId)>,
    /// Where each direction has come to.
    offsets: HashMap<(ConnectionId, u16), u64>,
    holes: u64,
}

impl Script {
    /// Reads a capture.
    ///
    /// # Errors
    /// No capture of `rmqtrace record`, or one with holes.
    pub(crate) fn read(path: &Path) -> Result<Script> {
        let mut reading = Reading::default();
        let end = records(path, |record| reading.record(record))?;
        ensure!(
            reading.holes == 0,
            "{}: {} bytes are missing",
            path.display(),
            reading.holes
        );
        let script = reading.script(end).with_context(|| path.display().to_string())?;
        Ok(Script {
            path: path.to_owned(),
            ..script
        })
    }
}

/// Reads a recording, record by record. Returns when it ends.
///
/// # Errors
/// It is none.
pub(crate) fn records(path: &Path, mut read: impl FnMut(&Record<'_>)) -> Result<Timestamp> {
    let mut replay = Replay::new(vec![Input::Path(path.to_owned())])?;
    while replay.step(|event| {
        if let Event::Record(record) = event {
            read(&record);
        }
    })? {}
    Ok(replay.end())
}

impl Reading {
    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Open(open) => {
                self.opens.insert(open.connection, *open);
            }
            Record::Data(data) => self.data(data),
            Record::Close(close) => self.closes.push((close.time, close.connection)),
            Record::Process(process) if process.ended => self.exits.push((process.time, process.process)),
            Record::Process(_) => {}
        }
    }

    /// Several records may come of one call: they have its end.
    fn data(&mut self, data: &Data<'_>) {
        let key = (data.connection, data.direction.0.into());
        let expected = self.offsets.insert(key, data.offset + u64::from(data.length));
        self.holes += expected.map_or(0, |expected| data.offset.abs_diff(expected));
        let mut bytes = data.bytes.to_vec();
        bytes.resize(data.length as usize, FILLER);
        let same = |op: &&mut Operation| {
            (op.connection, op.direction, op.end, op.next)
                == (data.connection, data.direction, data.end, data.offset)
        };
        match self.operations.iter_mut().rev().take(64).find(same) {
            Some(operation) => {
                operation.bytes.extend(bytes);
                operation.next += u64::from(data.length);
            }
            None => self.operations.push(Operation {
                connection: data.connection,
                direction: data.direction,
                at: if data.direction == Direction::SEND {
                    data.start
                } else {
                    data.end
                },
                end: data.end,
                next: data.offset + u64::from(data.length),
                bytes,
            }),
        }
    }

    fn script(mut self, end: Timestamp) -> Result<Script> {
        let mut script = Script::default();
        let mut processes = HashMap::new();
        let mut process = |id: ProcessId| {
            let next = processes.len();
            *processes.entry(id).or_insert(next)
        };
        let mut numbers: HashMap<ConnectionId, usize> = HashMap::new();
        let mut steps: Vec<(Timestamp, usize, Action)> = Vec::new();
        self.operations.sort_by_key(|operation| operation.at);
        for operation in self.operations {
            let open = self.opens.get(&operation.connection);
            let open = open.context("bytes of a connection that was not announced")?;
            let number = *numbers.entry(operation.connection).or_insert_with(|| {
                let number = script.connections.len();
                script.connections.push(Connection {
                    local: open.local,
                    remote: open.remote,
                });
                steps.push((operation.at, process(open.process), Action::Connect(number)));
                number
            });
            let action = if operation.direction == Direction::SEND {
                Action::Send(number, operation.bytes)
            } else {
                Action::Receive(number, operation.bytes)
            };
            // where two processes share a socket, the one that opened it plays both
            steps.push((operation.at, process(open.process), action));
        }
        for (time, connection) in self.closes {
            if let (Some(&number), Some(open)) = (numbers.get(&connection), self.opens.get(&connection)) {
                steps.push((time, process(open.process), Action::Close(number)));
            }
        }
        let known: HashSet<ProcessId> = self.opens.values().map(|open| open.process).collect();
        for (time, id) in self.exits {
            if known.contains(&id) {
                steps.push((time, process(id), Action::Exit));
            }
        }
        // stable: of the same moment, connections are opened first
        steps.sort_by_key(|(time, ..)| *time);
        let Some(&(Timestamp(first), ..)) = steps.first() else {
            bail!("nothing to play");
        };
        script.processes = processes.len();
        script.length = end.0.saturating_sub(first);
        script.steps = steps
            .into_iter()
            .map(|(time, process, action)| Step {
                at: time.0 - first,
                process,
                action,
            })
            .collect();
        Ok(script)
    }
}
