//! A client process: does the steps that the server names, in one of the [`Way`]s.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    net,
    script::{Action, Connection, Script},
    way::{End, Hands, Maker, Open, Way, fast_open, fork_on, keep},
};

/// In place of a step's number: the client process is to end.
pub(crate) const END: u32 = u32::MAX;

/// Steps after which somebody else goes on, where the way says so.
const STEPS: usize = 6;

/// A client process.
pub(crate) struct Client<'a> {
    script: &'a Script,
    way: &'static Way,
    /// The way to the server; a byte after each step.
    orders: UnixStream,
    sockets: Vec<Socket>,
    /// Steps done by this process.
    steps: usize,
    maker: Option<Maker>,
}

#[derive(Default)]
struct Socket {
    descriptor: Option<OwnedFd>,
    /// Sends and receives so far.
    calls: usize,
    /// The bytes of the next send have travelled with the SYN.
    is_ahead: bool,
}

impl<'a> Client<'a> {
    /// A client without connections. This process must have one thread.
    pub(crate) fn new(script: &'a Script, way: &'static Way, orders: UnixStream) -> Result<Client<'a>> {
        let connections = &script.connections;
        let maker = (way.hands == Hands::Passed)
            .then(|| {
                Maker::start(|number| {
                    let connection = connections.get(number);
                    let connection = connection.ok_or_else(|| io::Error::other("no such connection"))?;
                    connect(way, connection)
                })
            })
            .transpose()?;
        Ok(Client {
            script,
            way,
            orders,
            sockets: connections.iter().map(|_| Socket::default()).collect(),
            steps: 0,
            maker,
        })
    }

    /// Until it is told to end.
    pub(crate) fn play(mut self) -> Result<()> {
        loop {
            if self.steps == STEPS {
                self.hand_over()?;
            }
            let mut number = [0; 4];
            if self.orders.read_exact(&mut number).is_err() || u32::from_le_bytes(number) == END {
                return Ok(());
            }
            let number = u32::from_le_bytes(number) as usize;
            let script = self.script;
            let step = script.steps.get(number).context("no such step")?;
            self.step(number, &step.action)
                .with_context(|| format!("step {number}: {}", step.action))?;
            self.orders.write_all(&[1])?;
            self.steps += 1;
        }
    }

    fn step(&mut self, number: usize, action: &Action) -> Result<()> {
        match action {
            Action::Connect(connection) => self.connect(number, *connection),
            Action::Send(connection, bytes) => {
                let way = self.way;
                let socket = self.socket(*connection)?;
                if !std::mem::take(&mut socket.is_ahead) {
                    way.send(socket.raw()?, bytes, number, socket.calls)?;
                }
                socket.calls += 1;
                if way.end == End::Half && !self.sends_after(number, *connection) {
                    // SAFETY: takes no pointer.
                    unsafe { libc::shutdown(self.socket(*connection)?.raw()?, libc::SHUT_WR) };
                }
                Ok(())
            }
            Action::Receive(connection, bytes) => {
                let way = self.way;
                let socket = self.socket(*connection)?;
                let read = way.receive(socket.raw()?, bytes.len(), number, socket.calls)?;
                socket.calls += 1;
                ensure!(read == *bytes, "it read something else");
                Ok(())
            }
            Action::Close(connection) => {
                let reset = self.way.end == End::Reset;
                let socket = self.socket(*connection)?;
                if reset {
                    linger_not(socket.raw()?)?;
                }
                socket.descriptor = None;
                Ok(())
            }
            Action::Exit => Ok(()),
        }
    }

    fn connect(&mut self, number: usize, connection: usize) -> Result<()> {
        let it = self.script.connections.get(connection);
        let it = it.context("no such connection")?;
        let descriptor = match (&mut self.maker, self.way.open) {
            (Some(maker), _) => maker.make(connection)?,
            (None, Open::Connect) => connect(self.way, it)?,
            (None, open) => {
                let first = self
                    .script
                    .steps
                    .iter()
                    .skip(number)
                    .find_map(|step| match &step.action {
                        Action::Send(of, bytes) if *of == connection => Some(bytes),
                        _ => None,
                    });
                let first = first.context("nothing to open it with")?;
                self.socket(connection)?.is_ahead = true;
                fast_open(self.way, it.local, it.remote, first, open == Open::InSynAtOnce)?
            }
        };
        self.socket(connection)?.descriptor = Some(descriptor);
        Ok(())
    }

    /// Whether something is still to be sent on a connection.
    fn sends_after(&self, number: usize, connection: usize) -> bool {
        let later = self.script.steps.iter().skip(number + 1);
        later
            .take_while(|step| !matches!(step.action, Action::Close(of) if of == connection))
            .any(|step| matches!(step.action, Action::Send(of, _) if of == connection))
    }

    fn socket(&mut self, connection: usize) -> Result<&mut Socket> {
        self.sockets.get_mut(connection).context("no such connection")
    }

    /// Somebody else goes on, where the way says so.
    fn hand_over(&mut self) -> Result<()> {
        match self.way.hands {
            Hands::Own | Hands::Passed => Ok(()),
            Hands::Forked => {
                let sockets = &mut self.sockets;
                fork_on(|| sockets.clear()).context("fork")
            }
            Hands::Replaced => self.replace(),
        }
    }

    /// The same program anew, with the descriptors that it needs.
    fn replace(&self) -> Result<()> {
        keep(self.orders.as_raw_fd())?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("client").arg(&self.script.path).arg(self.way.name);
        command.arg(self.orders.as_raw_fd().to_string());
        for (number, socket) in self.sockets.iter().enumerate() {
            if let Some(descriptor) = &socket.descriptor {
                keep(descriptor.as_raw_fd())?;
                command.arg(format!("{number}={}", descriptor.as_raw_fd()));
            }
        }
        Err(command.exec()).context("exec")
    }
}

impl Client<'_> {
    /// Goes on where a process that is now this program was: with these descriptors, as [`Client::replace`] names them.
    pub(crate) fn resume(capture: &Path, way: &'static Way, orders: &str, sockets: &[&str]) -> Result<()> {
        let script = Script::read(capture)?;
        let owned = |number: &str| -> Result<OwnedFd> {
            let number: RawFd = number.parse()?;
            // SAFETY: the program before this one let it live on for this, and nobody else has it.
            Ok(unsafe { OwnedFd::from_raw_fd(number) })
        };
        let mut client = Client::new(&script, way, owned(orders)?.into())?;
        for socket in sockets {
            let (number, descriptor) = socket.split_once('=').context("a socket without number")?;
            client.socket(number.parse()?)?.descriptor = Some(owned(descriptor)?);
        }
        client.steps = STEPS + 1;
        client.play()
    }
}

impl Socket {
    fn raw(&self) -> Result<RawFd> {
        let descriptor = self.descriptor.as_ref();
        descriptor
            .map(AsRawFd::as_raw_fd)
            .context("the connection is not open")
    }
}

fn connect(way: &Way, it: &Connection) -> io::Result<OwnedFd> {
    let socket = net::socket(it.local, way.socket)?;
    net::connect(&socket, it.remote)?;
    Ok(socket)
}

/// `close` will reset the connection.
fn linger_not(socket: RawFd) -> Result<()> {
    let value = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the value lives on, and has the length that is said.
    let failed = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    } != 0;
    ensure!(!failed, "SO_LINGER: {}", io::Error::last_os_error());
    Ok(())
}
