//! A client and a server of RocketMQ remoting that do nothing but move frames, as fast as loopback goes, and account for
//! every byte of every connection. For what no real broker can do: rates far above what the tracer can bear, tens of
//! thousands of connections and topics, frames of the largest size.
//!
//! ```text
//! load --connections 100 --messages 50 --body 1024 …
//! → ready             every connection is open, nothing has moved but `--before` bytes of the first frames
//! ← go
//! → {"connections":[{"local":40000,"sent":…,"received":…,"first":0,"messages":50},…]}     when all are closed
//! ← (end of input)    the process ends
//! ```
//!
//! Message number `n` has the id [`frames::id`] of `n`; those of a connection follow one another.

mod frames;

use std::{
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;

/// What to do. Each is an argument `--name N`.
#[derive(Clone, Copy)]
struct Plan {
    /// Connections, shared out among the threads.
    connections: usize,
    /// Threads of clients, and as many of servers.
    threads: usize,
    /// Messages sent over each connection.
    messages: usize,
    /// Bytes of each body.
    body: usize,
    /// Requests that are written before their answers are read.
    burst: usize,
    /// Topics, one after the other for one message each.
    topics: usize,
    /// Bytes of the first frame of each connection that are sent before `go`.
    before: usize,
    /// Messages of all connections in a second; 0: as many as go.
    rate: usize,
}

impl Plan {
    fn parse(words: &[String]) -> Result<Plan> {
        let mut plan = Plan {
            connections: 1,
            threads: 1,
            messages: 1,
            body: 1024,
            burst: 1,
            topics: 1,
            before: 0,
            rate: 0,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                bail!("{pair:?}: a value is missing")
            };
            let value = value.parse().with_context(|| format!("{name} {value}"))?;
            let field = match name.as_str() {
                "--connections" => &mut plan.connections,
                "--threads" => &mut plan.threads,
                "--messages" => &mut plan.messages,
                "--body" => &mut plan.body,
                "--burst" => &mut plan.burst,
                "--topics" => &mut plan.topics,
                "--before" => &mut plan.before,
                "--rate" => &mut plan.rate,
                _ => bail!("{name}: no such argument"),
            };
            *field = value;
        }
        ensure!(plan.threads > 0 && plan.burst > 0 && plan.topics > 0, "a zero");
        Ok(plan)
    }

    /// Connections of a thread.
    fn share(self, thread: usize) -> std::ops::Range<usize> {
        let start = |thread| self.connections * thread / self.threads;
        start(thread)..start(thread + 1)
    }
}

/// What went over a connection.
#[derive(Serialize)]
struct Account {
    /// Port of the client's end.
    local: u16,
    /// Bytes that the client wrote.
    sent: u64,
    /// Bytes that it read.
    received: u64,
    /// Number of its first message.
    first: usize,
    /// How many it sent.
    messages: usize,
}

/// A client's end.
struct Client {
    stream: TcpStream,
    account: Account,
    /// Messages written so far.
    written: usize,
    /// Bytes of the next frame that are written already.
    ahead: usize,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    allow_sockets()?;
    match words.split_first() {
        Some((first, words)) if first == SERVE => serve_all(Plan::parse(words)?),
        _ => drive_all(Plan::parse(&words)?, &words),
    }
}

/// First word of the process that has the servers' ends.
const SERVE: &str = "serve";

/// The clients; starts the servers.
fn drive_all(plan: Plan, words: &[String]) -> Result<()> {
    let mut servers = Command::new(std::env::current_exe()?)
        .arg(SERVE)
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the servers")?;
    let output = servers.stdout.take().context("no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port: u16 = line
        .trim_end()
        .parse()
        .with_context(|| format!("{line:?} is no port"))?;
    let mut threads = Vec::new();
    for thread in 0..plan.threads {
        let mut clients = Vec::new();
        for number in plan.share(thread) {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting")?;
            stream.set_nodelay(true)?;
            let account = Account {
                local: stream.local_addr()?.port(),
                sent: 0,
                received: 0,
                first: number * plan.messages,
                messages: plan.messages,
            };
            let mut client = Client {
                stream,
                account,
                written: 0,
                ahead: 0,
            };
            client.begin(plan)?;
            clients.push(client);
        }
        threads.push(clients);
    }
    println!("ready");
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    ensure!(line.trim_end() == "go", "{line:?} instead of go");

    let accounts = thread::scope(|scope| -> Result<Vec<Account>> {
        let drive = |clients| scope.spawn(move || drive(plan, clients));
        let threads: Vec<_> = threads.into_iter().map(drive).collect();
        let mut accounts = Vec::new();
        for thread in threads {
            accounts.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(accounts)
    })?;
    let status = servers.wait()?;
    ensure!(status.success(), "the servers ended with {status}");
    let line = serde_json::json!({ "connections": accounts });
    writeln!(stdout().lock(), "{line}")?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The servers. The clients connect one after the other, so the number of a connection is the same at both ends.
fn serve_all(plan: Plan) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..plan.threads {
            let mut streams = Vec::new();
            for _ in plan.share(thread) {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                streams.push(stream);
            }
            threads.push(scope.spawn(move || serve(plan, streams)));
        }
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// As many open sockets as a process may have at all.
fn allow_sockets() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills, then reads, a structure that lives on the stack.
    let failed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 || {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0
        }
    };
    ensure!(
        !failed,
        "the limit of open files: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// The clients of a thread: a burst on each connection in turn.
fn drive(plan: Plan, mut clients: Vec<Client>) -> Result<Vec<Account>> {
    let begun = Instant::now();
    let mut done = 0;
    while clients.iter().any(|client| client.written < plan.messages) {
        for client in &mut clients {
            done += client.burst(plan)?;
            if plan.rate != 0 {
                let due = Duration::from_secs_f64(done as f64 * plan.threads as f64 / plan.rate as f64);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
    }
    // closing comes last: the tracer must know of each connection's end
    Ok(clients.into_iter().map(|client| client.account).collect())
}

impl Client {
    fn frame(&self, plan: Plan, index: usize) -> Vec<u8> {
        let number = self.account.first + index;
        frames::send(number, number % plan.topics, plan.body)
    }

    /// The first bytes of the first frame.
    fn begin(&mut self, plan: Plan) -> Result<()> {
        if plan.before == 0 {
            return Ok(());
        }
        let frame = self.frame(plan, 0);
        let start = frame
            .get(..plan.before)
            .context("the frame is shorter than --before")?;
        self.stream.write_all(start)?;
        self.account.sent += start.len() as u64;
        self.ahead = start.len();
        Ok(())
    }

    /// Writes a burst of requests and reads their answers. Returns how many.
    fn burst(&mut self, plan: Plan) -> Result<usize> {
        let n = plan.burst.min(plan.messages - self.written);
        let mut requests = Vec::new();
        for index in self.written..self.written + n {
            requests.extend(self.frame(plan, index));
        }
        self.written += n;
        let rest = requests.get(self.ahead..).unwrap_or_default();
        self.ahead = 0;
        self.stream.write_all(rest)?;
        self.account.sent += rest.len() as u64;
        for _ in 0..n {
            let (_, read) = frames::read(&mut self.stream)?;
            self.account.received += read;
        }
        Ok(n)
    }
}

/// The servers of a thread: they do what its clients do, in the same order.
fn serve(plan: Plan, mut servers: Vec<TcpStream>) -> Result<()> {
    let mut left = vec![plan.messages; servers.len()];
    while left.iter().any(|left| *left > 0) {
        for (stream, left) in servers.iter_mut().zip(&mut left) {
            let n = plan.burst.min(*left);
            let mut answers = Vec::new();
            for _ in 0..n {
                let (opaque, _) = frames::read(stream)?;
                answers.extend(frames::sent(opaque));
            }
            stream.write_all(&answers)?;
            *left -= n;
        }
    }
    Ok(())
}
