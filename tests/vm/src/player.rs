//! Plays a script on loopback: a process for each recorded client, and this one as the server.
//!
//! The server tells a client to do its next step and waits until it has, so that everything happens in the recorded order
//! and, on a machine that is fast enough, at the recorded time. How clients read and write is a matter of [`Way`].

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{Client, END},
    script::{Action, Connection, Script, Step},
    way::{self, End, Open, Pace, Way},
};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers up to this size are written before the client is told to read them, so that one call can read them.
const AT_ONCE: usize = 64 << 10;

/// How long a client that waits for the server is given to come so far.
const HEAD_START: Duration = Duration::from_millis(30);
/// How long nothing more comes where a client cannot write any more.
const STUCK: Duration = Duration::from_millis(400);
/// What a client leaves unread.
const UNREAD: [u8; 100] = [b'u'; 100];

/// A client process and the way to it.
struct Child {
    pid: libc::pid_t,
    orders: UnixStream,
}

/// The server's ends of connections.
struct Server {
    way: &'static Way,
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
pub(crate) fn play(script: &Script, way: &'static Way) -> Result<Played> {
    let mut server = Server::listen(&script.connections, way)?;
    let mut played = Played { children: Vec::new() };
    for _ in 0..script.processes {
        let child = start(script, way)?;
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
    fn listen(connections: &[Connection], way: &'static Way) -> Result<Server> {
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
                if way.server == Pace::Slow {
                    way::small_window(listener.as_raw_fd()).context("a small window")?;
                }
                if way.open != Open::Connect {
                    way::allow_fast_open(listener.as_raw_fd()).context("allowing TCP fast open")?;
                }
                listeners.push((address, listener));
            }
        }
        Ok(Server {
            way,
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
                if self.way.server == Pace::Slow && bytes.len() > AT_ONCE {
                    wait_until_stuck(self.stream(*connection)?)?;
                }
                let mut read = vec![0; bytes.len()];
                self.stream(*connection)?.read_exact(&mut read)?;
                ensure!(read == *bytes, "the server read something else");
                child.wait()
            }
            Action::Receive(connection, bytes) => {
                let late = self.way.server == Pace::Late;
                let at_once = bytes.len() <= AT_ONCE && !late;
                if !at_once {
                    child.tell(number)?;
                }
                if late {
                    thread::sleep(HEAD_START);
                }
                self.stream(*connection)?.write_all(bytes)?;
                if at_once {
                    child.tell(number)?;
                }
                child.wait()
            }
            Action::Close(connection) => {
                if self.way.end == End::Reset {
                    self.stream(*connection)?.write_all(&UNREAD)?;
                }
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

/// Waits until bytes are there and no more come.
fn wait_until_stuck(stream: &TcpStream) -> Result<()> {
    let begun = Instant::now();
    let (mut there, mut since) = (0, Instant::now());
    while there == 0 || since.elapsed() < STUCK {
        ensure!(begun.elapsed() < PATIENCE, "the client does not write");
        thread::sleep(Duration::from_millis(10));
        let mut now: libc::c_int = 0;
        // SAFETY: the number lives on.
        let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut now) } != 0;
        ensure!(!failed, "FIONREAD: {}", std::io::Error::last_os_error());
        if now != there {
            (there, since) = (now, Instant::now());
        }
    }
    Ok(())
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
fn start(script: &Script, way: &'static Way) -> Result<Child> {
    let (orders, mine) = UnixStream::pair()?;
    // SAFETY: this process has one thread, so the child may go on as it is.
    match unsafe { libc::fork() } {
        -1 => bail!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            drop(orders);
            let played = Client::new(script, way, mine).and_then(Client::play);
            std::process::exit(match played {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("client process ({}): {error:#}", way.name);
                    1
                }
            })
        }
        pid => {
            orders.set_read_timeout(Some(PATIENCE))?;
            Ok(Child { pid, orders })
        }
    }
}
