//! Plays a script on loopback: a process for each recorded client, and this one as the server.
//!
//! The server tells a client to do its next step and waits until it has, so that everything happens in the recorded order
//! and, on a machine that is fast enough, at the recorded time. System calls change from step to step, so that each
//! way of reading and writing is used.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    call, net,
    script::{Action, Connection, Script, Step},
};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers up to this size are written before the client is told to read them, so that one call can read them.
const AT_ONCE: usize = 64 << 10;

/// In place of a step's number: the client process is to end.
const END: u32 = u32::MAX;

/// A client process and the way to it.
struct Child {
    pid: libc::pid_t,
    orders: UnixStream,
}

/// The server's ends of connections.
struct Server {
    listeners: Vec<(SocketAddr, TcpListener)>,
    /// Where each connection goes.
    remotes: Vec<SocketAddr>,
    streams: Vec<Option<TcpStream>>,
}

/// The processes of a script that was played; they live until this is dropped.
pub(crate) struct Played {
    children: Vec<Option<Child>>,
}

/// Plays a script from the first to the last step. Must be called before this process has a second thread.
///
/// # Errors
/// A step that could not be done, or took too long.
pub(crate) fn play(script: &Script) -> Result<Played> {
    let mut server = Server::listen(&script.connections)?;
    let mut played = Played { children: Vec::new() };
    for _ in 0..script.processes {
        let child = start(script)?;
        played.children.push(Some(child));
    }
    let begun = Instant::now();
    for (i, step) in script.steps.iter().enumerate() {
        wait_until(begun, step.at);
        let child = played.children.get_mut(step.process);
        let child = child.context("no such process")?;
        server
            .step(i, step, child)
            .with_context(|| format!("step {i} ({})", step.action))?;
    }
    wait_until(begun, script.length);
    Ok(played)
}

fn wait_until(begun: Instant, at: u64) {
    thread::sleep(Duration::from_nanos(at).saturating_sub(begun.elapsed()));
}

impl Server {
    fn listen(connections: &[Connection]) -> Result<Server> {
        let mut listeners: Vec<(SocketAddr, TcpListener)> = Vec::new();
        for connection in connections {
            let address = connection.remote;
            ensure!(
                address.ip().is_loopback() && connection.local.ip().is_loopback(),
                "{address} is not on this machine: only captures of loopback can be played"
            );
            if listeners.iter().all(|(known, _)| *known != address) {
                let listener =
                    TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
                listeners.push((address, listener));
            }
        }
        Ok(Server {
            listeners,
            remotes: connections.iter().map(|connection| connection.remote).collect(),
            streams: connections.iter().map(|_| None).collect(),
        })
    }

    /// Does the server's part of a step, and lets the client do its own.
    fn step(&mut self, number: usize, step: &Step, child: &mut Option<Child>) -> Result<()> {
        if let Action::Exit = step.action {
            return child.take().map_or(Ok(()), Child::end);
        }
        let child = child.as_mut().context("the process has ended")?;
        match &step.action {
            Action::Exit => Ok(()),
            Action::Connect(connection) => {
                child.tell(number)?;
                let address = self.remotes.get(*connection);
                let listener = self.listeners.iter().find(|(known, _)| Some(known) == address);
                let (stream, _) = listener.context("nobody listens")?.1.accept()?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                *self.streams.get_mut(*connection).context("no such connection")? = Some(stream);
                child.wait()
            }
            Action::Send(connection, bytes) => {
                child.tell(number)?;
                let mut read = vec![0; bytes.len()];
                self.stream(*connection)?.read_exact(&mut read)?;
                ensure!(read == *bytes, "the server read something else");
                child.wait()
            }
            Action::Receive(connection, bytes) => {
                let at_once = bytes.len() <= AT_ONCE;
                if !at_once {
                    child.tell(number)?;
                }
                self.stream(*connection)?.write_all(bytes)?;
                if at_once {
                    child.tell(number)?;
                }
                child.wait()
            }
            Action::Close(connection) => {
                child.tell(number)?;
                child.wait()?;
                *self.streams.get_mut(*connection).context("no such connection")? = None;
                Ok(())
            }
        }
    }

    fn stream(&mut self, connection: usize) -> Result<&mut TcpStream> {
        let stream = self.streams.get_mut(connection).and_then(Option::as_mut);
        stream.context("the connection is not open")
    }
}

impl Child {
    /// Tells it the number of its next step.
    fn tell(&mut self, number: usize) -> Result<()> {
        Ok(self.orders.write_all(&u32::try_from(number)?.to_le_bytes())?)
    }

    /// Waits until it has done it.
    fn wait(&mut self) -> Result<()> {
        let mut done = [0];
        self.orders
            .read_exact(&mut done)
            .context("the client process did not do it")
    }

    /// Ends it and waits for its end.
    fn end(mut self) -> Result<()> {
        self.orders.write_all(&END.to_le_bytes())?;
        let mut status = 0;
        // SAFETY: a child of this process that nobody else waits for.
        let ended = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        ensure!(
            ended == self.pid && status == 0,
            "a client process ended with status {status}"
        );
        Ok(())
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        for child in self.children.drain(..).flatten() {
            if let Err(error) = child.end() {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Starts a client process, which knows the script and waits for the numbers of its steps.
fn start(script: &Script) -> Result<Child> {
    let (orders, mine) = UnixStream::pair()?;
    // SAFETY: this process has one thread, so the child may go on as it is.
    match unsafe { libc::fork() } {
        -1 => bail!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            drop(orders);
            let failed = client(script, mine).is_err_and(|error| {
                eprintln!("client process: {error:#}");
                true
            });
            std::process::exit(failed.into())
        }
        pid => {
            orders.set_read_timeout(Some(PATIENCE))?;
            Ok(Child { pid, orders })
        }
    }
}

/// A client process, until it is told to end.
fn client(script: &Script, mut orders: UnixStream) -> Result<()> {
    let mut sockets: Vec<Option<OwnedFd>> = script.connections.iter().map(|_| None).collect();
    let mut number = [0; 4];
    while orders.read_exact(&mut number).is_ok() && u32::from_le_bytes(number) != END {
        let number = u32::from_le_bytes(number) as usize;
        let step = script.steps.get(number).context("no such step")?;
        let socket = |connection: usize| {
            let socket = sockets.get(connection).and_then(Option::as_ref);
            socket
                .context("the connection is not open")
                .map(AsRawFd::as_raw_fd)
        };
        match &step.action {
            Action::Connect(connection) => {
                let it = script
                    .connections
                    .get(*connection)
                    .context("no such connection")?;
                let connected = net::connect(it.local, it.remote)
                    .with_context(|| format!("connecting {} to {}", it.local, it.remote))?;
                *sockets.get_mut(*connection).context("no such connection")? = Some(connected);
            }
            Action::Send(connection, bytes) => call::send(socket(*connection)?, bytes, number)?,
            Action::Receive(connection, bytes) => {
                let read = call::receive(socket(*connection)?, bytes.len(), number)?;
                ensure!(read == *bytes, "step {number} read something else");
            }
            Action::Close(connection) => {
                *sockets.get_mut(*connection).context("no such connection")? = None;
            }
            Action::Exit => {}
        }
        orders.write_all(&[1])?;
    }
    Ok(())
}
