//! One pairing of client and server: everything that its scenarios share, and one run of all of them, many at a time.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use testbed::{
    Artifacts, Client, Collector, Mode, Proxy, Server, Span, Tracer,
    artifacts::CLIENT_VERSIONS,
    client::{self, Feature, Library},
    compare::{self, Rules, Witness},
    tracer::Options,
};

use crate::row::{Row, Stage};

/// A producer that scenarios share unless they need one of their own.
pub(crate) const PRODUCER: &str = "truth-producer";

/// What runs against what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pairing {
    pub(crate) library: Library,
    /// Version of name server and broker.
    pub(crate) server: &'static str,
    pub(crate) flavour: Flavour,
}

/// What is special about the client processes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Flavour {
    Plain,
    /// Headers in the binary form (§1.3).
    Binary,
    /// The OpenTelemetry agent in every client process.
    Agent,
    /// The same, for the main scenario alone.
    Steady,
    /// Clients know only a proxy in cluster mode.
    Proxy,
}

impl Pairing {
    pub(crate) fn name(self) -> String {
        let flavour = match self.flavour {
            Flavour::Plain => "",
            Flavour::Binary => ", binary headers",
            Flavour::Agent => ", with the OpenTelemetry agent",
            Flavour::Steady => ", steady load, with the OpenTelemetry agent",
            Flavour::Proxy => ", through a proxy",
        };
        format!("{} with server {}{flavour}", self.library.name(), self.server)
    }

    pub(crate) fn has_agent(self) -> bool {
        matches!(self.flavour, Flavour::Agent | Flavour::Steady)
    }

    /// Why the client, or what is before it, cannot do this; `None` if it can.
    pub(crate) fn lacks(self, feature: Feature) -> Option<&'static str> {
        use Feature::{
            BrokerAssignment, DelayLevel, DeliveryTime, DirectConsumption, InnerBatch, LitePull, Pop,
            ResetOffset, Send, StaticTopic,
        };

        let is_new = self.server.starts_with('5');
        let here = match (self.flavour, feature) {
            (_, DeliveryTime | BrokerAssignment | Pop | InnerBatch | StaticTopic | Send(Mode::Recall))
                if !is_new =>
            {
                Some("it came with the servers of the 5.x line")
            }
            (Flavour::Binary, Pop) => Some(
                "in the binary form its code loses the high bits (§1.3), and a broker takes it for an unknown one",
            ),
            (Flavour::Proxy, BrokerAssignment | Pop | Send(Mode::Request)) => {
                Some("the proxy does not know the request")
            }
            (Flavour::Proxy, DirectConsumption | ResetOffset) => {
                Some("the broker passes it on to its own connections, not to those of the proxy")
            }
            // Those of Java's 5.x client have a code of their own (361, §2.3).
            (_, LitePull)
                if !is_new && matches!(self.library, Library::Java(version) if version.starts_with('5')) =>
            {
                Some("a 4.9 broker does not know the code of its lite pulls")
            }
            // No id is made by the client (§3.4), nor by a 4.9 broker; the place in the store changes with the delay.
            (_, DelayLevel) if !is_new && self.library == Library::Node => Some(
                "nothing in its delayed messages tells them from one another: no id, and another place in the store",
            ),
            _ => None,
        };
        here.or_else(|| self.library.lacks(feature))
    }

    /// What is right with this client: C++'s and ali-ons write no sharding key (§3.2).
    pub(crate) fn adapt(self, rules: Rules) -> Rules {
        match (self.library, rules.kind) {
            (Library::Cpp | Library::Node, "fifo") => Rules {
                kind: "normal",
                ..rules
            },
            // Its acknowledgements come in batches that a broker does not take (§2.6): what it popped comes again when the
            // invisible time is over, also while it stops.
            (Library::Rust, _) if rules.success == ["ack"] => Rules {
                unhandled: true,
                ..rules
            },
            _ => rules,
        }
    }
}

/// The running parts of a pairing.
pub(crate) struct Bench {
    pub(crate) pairing: Pairing,
    pub(crate) producer: Client,
    pub(crate) consumers: [Client; 2],
    /// Accounts of clients that are gone.
    pub(crate) departed: Mutex<Vec<Witness>>,
    /// Scenarios run one after another and leave captures.
    pub(crate) recording: bool,
    /// Held while a client begins to produce or to consume: many beginnings at once make heartbeats late, and a late one
    /// leaves a broker with a consumer twice, of which one gets nothing.
    pub(crate) beginning: Mutex<()>,
    launch: Launch,
    names: AtomicU32,
    /// Declared before the server, so that it is stopped first.
    proxy: Option<Proxy>,
    pub(crate) server: Server,
}

/// What a pairing's run left behind.
pub(crate) struct Outcome {
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) spans: Vec<Span>,
    /// What each scenario came to before its spans were looked at: its topics.
    pub(crate) driven: HashMap<&'static str, Result<Vec<String>, String>>,
    /// Process of the proxy, if there was one.
    pub(crate) proxy: Option<u32>,
    /// What the tracer logged.
    pub(crate) log: String,
}

impl Bench {
    /// Starts the parts, drives all scenarios of the pairing, ends everything in order.
    pub(crate) fn run(pairing: Pairing, only: &[&'static Row]) -> Result<Outcome> {
        let artifacts = Artifacts::locate();
        let dir = directory(&artifacts, pairing)?;
        let collector = Collector::start(&artifacts, &dir, "collector")?;
        let config = dir.join("rmqtrace.yaml");
        // Of a process with an agent both are to be seen.
        fs::write(&config, "avoid_instrumented: false\n")?;
        let options = Options {
            args: &["--config", &config.display().to_string()],
            ..Options::default()
        };
        let tracer = Tracer::start(&artifacts, &dir, "rmqtrace", &collector, options)?;
        let bench = Bench::start(pairing, &artifacts, &dir, Some(collector.http))?;
        bench.producer.producer(PRODUCER)?;
        let driven = bench.drive_all(only);
        let proxy = bench.proxy.as_ref().map(Proxy::pid);
        let is_traced = only.iter().any(|row| row.rules.is_traced());
        let mut witnesses = bench.finish(is_traced)?;
        let (status, log) = tracer.stop()?;
        ensure!(status.success(), "rmqtrace ended with {status}:\n{log}");
        let spans = collector.finish()?;
        compare::learn_keys(&mut witnesses, &spans);
        Ok(Outcome {
            witnesses,
            spans,
            driven,
            proxy,
            log,
        })
    }

    /// Drives scenarios one after another. What `watch` gives is alive while one runs, and `look` gets it with the story
    /// when the scenario's clients have stopped.
    pub(crate) fn one_by_one<T>(
        pairing: Pairing,
        rows: &[&'static Row],
        watch: impl Fn(&Bench, &Row, &Path) -> Result<T>,
        look: impl Fn(T, &Row, &[String], &[Witness]) -> Result<()>,
    ) -> Result<()> {
        let artifacts = Artifacts::locate();
        let dir = directory(&artifacts, pairing)?;
        let mut bench = Bench::start(pairing, &artifacts, &dir, None)?;
        bench.recording = true;
        let mut failed = Vec::new();
        for row in rows {
            let stage = Stage::new(&bench, row);
            let alone = || -> Result<()> {
                stage.create_topics(&[&stage.topic])?;
                let watched = watch(&bench, row, &dir)?;
                let driven = stage.run();
                stage.stop()?;
                driven?;
                let mut witnesses = bench.witnesses();
                if row.rules.is_traced() {
                    witnesses.push(bench.launch.read_traces(&bench.server)?);
                }
                look(watched, row, &stage.topics(), &witnesses)
            };
            if let Err(error) = alone() {
                eprintln!("{}: {error:#}", row.name);
                failed.push(row.name);
            }
        }
        ensure!(failed.is_empty(), "{} scenarios failed: {failed:?}", failed.len());
        bench.finish(false).map(drop)
    }

    fn start(pairing: Pairing, artifacts: &Artifacts, dir: &Path, agent: Option<u16>) -> Result<Bench> {
        let server = Server::start(artifacts, pairing.server, dir)?;
        let proxy = match pairing.flavour {
            Flavour::Proxy => Some(Proxy::start(artifacts, &server, dir)?),
            _ => None,
        };
        let launch = Launch {
            address: proxy.as_ref().map_or(server.name_server, |proxy| proxy.remoting),
            agent: agent.filter(|_| pairing.has_agent()),
            library: pairing.library,
            flavour: pairing.flavour,
            artifacts: artifacts.clone(),
            dir: dir.to_owned(),
        };
        Ok(Bench {
            pairing,
            producer: launch.client("producer")?,
            consumers: [launch.client("consumer-0")?, launch.client("consumer-1")?],
            departed: Mutex::default(),
            recording: false,
            beginning: Mutex::default(),
            launch,
            names: AtomicU32::new(0),
            proxy,
            server,
        })
    }

    /// Ends the clients in order, then the servers. Gives everything that the clients said, and with `is_traced` what is in
    /// their message traces.
    fn finish(self, is_traced: bool) -> Result<Vec<Witness>> {
        let departed = self.departed.into_inner();
        let mut witnesses = departed.unwrap_or_else(PoisonError::into_inner);
        // The end of a consumer commits its last offsets; handlers may still be at work when it begins.
        let [first, second] = self.consumers;
        for client in [first, second, self.producer] {
            let (pid, library) = (client.pid(), client.library);
            let said = client.finish()?;
            witnesses.push(Witness { pid, library, said });
        }
        if is_traced {
            // Clients that trace write their last records when they end.
            witnesses.push(self.launch.read_traces(&self.server)?);
        }
        Ok(witnesses)
    }

    /// Everything that the clients have said so far.
    fn witnesses(&self) -> Vec<Witness> {
        let departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        let present = [&self.producer, &self.consumers[0], &self.consumers[1]];
        let present = present.map(|client| Witness {
            pid: client.pid(),
            library: client.library,
            said: client.said(),
        });
        departed.iter().cloned().chain(present).collect()
    }

    /// Drives scenarios, [`AT_ONCE`] at a time.
    fn drive_all(&self, rows: &[&'static Row]) -> HashMap<&'static str, Result<Vec<String>, String>> {
        let left = Mutex::new(rows.iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let driven = Mutex::new(HashMap::new());
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(row) = next() {
                        // in a thread of its own: a panic is this scenario's alone
                        let result = thread::scope(|alone| alone.spawn(|| self.drive(row)).join());
                        let result = result.unwrap_or_else(|_| Err(anyhow!("the scenario panicked")));
                        let mut driven = driven.lock().unwrap_or_else(PoisonError::into_inner);
                        driven.insert(row.name, result.map_err(|error| format!("{error:#}")));
                    }
                });
            }
        });
        driven.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(&self, row: &'static Row) -> Result<Vec<String>> {
        let stage = Stage::new(self, row);
        stage.create_topics(&[&stage.topic])?;
        stage.run()?;
        Ok(stage.topics())
    }

    /// A further client process, which the caller ends.
    pub(crate) fn client(&self, name: &str) -> Result<Client> {
        self.launch.client(name)
    }

    /// Ids of a group's clients, one for each connection to the broker, or to the proxy before it.
    pub(crate) fn clients_of(&self, group: &str) -> Result<Vec<String>> {
        match &self.proxy {
            Some(proxy) => proxy.consumers(group),
            None => self.server.consumers(group),
        }
    }

    /// Keeps the account of a client that is about to go.
    pub(crate) fn departs(&self, client: &Client) {
        let (pid, library, said) = (client.pid(), client.library, client.said());
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        departed.push(Witness { pid, library, said });
    }

    /// A name that nobody has used, not even another run at the same time.
    pub(crate) fn fresh(&self, prefix: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}-{}-{number}", mark())
    }
}

/// What all names of this run have inside.
pub(crate) fn mark() -> String {
    format!("truth{}", std::process::id())
}

/// A fresh directory for the files of a pairing's run.
fn directory(artifacts: &Artifacts, pairing: Pairing) -> Result<PathBuf> {
    let name: String = pairing
        .name()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    artifacts.run_directory(&format!("truth-{name}"))
}

/// How the client programs of a pairing are started.
#[derive(Clone, Debug)]
struct Launch {
    /// What they take for the name server.
    address: SocketAddr,
    /// Where the agent in them exports to.
    agent: Option<u16>,
    library: Library,
    flavour: Flavour,
    artifacts: Artifacts,
    dir: PathBuf,
}

impl Launch {
    /// Everything in the trace topic, as a Java client reads it that has nothing else to do with the run.
    fn read_traces(&self, server: &Server) -> Result<Witness> {
        let library = Library::Java(CLIENT_VERSIONS[0]);
        let reader = Client::start(&self.artifacts, library, server, &self.dir, "trace-reader")?;
        reader
            .read_traces(READING)
            .context("the clients' message traces")?;
        let (pid, said) = (reader.pid(), reader.finish()?);
        Ok(Witness { pid, library, said })
    }

    fn client(&self, name: &str) -> Result<Client> {
        let binary = ["-Drocketmq.serialize.type=ROCKETMQ".to_owned()];
        let options = client::Options {
            agent: self.agent,
            jvm: if self.flavour == Flavour::Binary {
                &binary
            } else {
                &[]
            },
            // Its times are compared with the agent's, in the same process, within a millisecond.
            real_time: self.flavour == Flavour::Steady,
            ..client::Options::default()
        };
        Client::start_with(
            &self.artifacts,
            self.library,
            self.address,
            &self.dir,
            name,
            options,
        )
        .with_context(|| format!("client {name} of {}", self.library.name()))
    }
}

/// How long reading the message traces of the longest run may take.
const READING: Duration = Duration::from_secs(300);

/// Scenarios that are driven at the same time. With all fifty at once on two cores a client's first calls exceeded its three
/// seconds, and queues took longer than a scenario waits to go from one process to another.
const AT_ONCE: usize = 16;

/// How long a scenario waits for something to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);
