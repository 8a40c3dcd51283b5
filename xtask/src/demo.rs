//! `cargo xtask demo`: real clients talk through a real broker, and rmqtrace shows every message.
//!
//! A Java and a Go producer send to the same two topics; a Java and a Go push consumer, each with a group of its own, get every
//! message. One message is retried once, one send is refused by the broker. What the clients say that they did is compared
//! with what rmqtrace saw.

mod view;

use std::{
    io::{BufRead, BufReader, stdout},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use testbed::{
    Artifacts, Client, Consume, Mode, Send, Server, Span, Tracer, client::Library, server::MAX_BODY,
    spans::SpanFile, wait,
};

use self::view::Totals;
use crate::{build, console::step, setup};

const TOPICS: [&str; 2] = ["demo-orders", "demo-payments"];
const JAVA_GROUP: &str = "billing";
const GO_GROUP: &str = "shipping";
const PRODUCER_GROUP: &str = "shop";
/// The newest servers and clients.
const SERVER: &str = testbed::artifacts::SERVER_VERSIONS[0];
const CLIENT: &str = testbed::artifacts::CLIENT_VERSIONS[0];
/// A consumer commits its offsets every five seconds: until then nobody knows that a message is done.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How long to run.
#[derive(Args)]
pub(crate) struct Options {
    /// End after one round; the exit code says whether everything that the clients did was seen
    #[arg(long)]
    once: bool,
}

/// The task.
pub(crate) fn run(options: &Options) -> ExitCode {
    match demo(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(options: &Options) -> Result<bool> {
    setup::demo(setup::Say::Changes)?;
    build::build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // A second Ctrl-C ends at once; the kernel then kills what was started.
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        println!("\nstopping …");
    })?;
    let mut scene = Scene::start()?;
    let mut totals = Totals::default();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        scene.round(round)?;
        totals = scene.settle(&stop)?;
        if options.once {
            break;
        }
        round += 1;
        for _ in 0..30 {
            if !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    scene.finish()?;
    println!("{totals}");
    Ok(totals.agree())
}

/// Everything that runs. Declared in the order in which it is to be stopped.
struct Scene {
    producers: [Client; 2],
    consumers: [(Client, &'static str); 2],
    tracer: Tracer,
    file: SpanFile,
    shown: usize,
    _server: Server,
}

impl Scene {
    fn start() -> Result<Scene> {
        let artifacts = Artifacts::locate();
        let dir = artifacts.run_directory("demo")?;
        println!("demo: files go to {}", dir.display());
        let file = dir.join("spans.jsonl");
        let tracer = step("rmqtrace run", || {
            let mut command = Command::new(artifacts.rmqtrace());
            command.args(["run", "--print", "text", "--otlp-file"]).arg(&file);
            // Other clients of this machine are not part of the demo.
            command.args(TOPICS.iter().flat_map(|topic| ["--topic", topic]));
            let (tracer, output) = Tracer::launch_piped(command, &dir.join("rmqtrace.log"))?;
            thread::spawn(move || view::live(BufReader::new(output).lines().map_while(Result::ok), stdout()));
            Ok(tracer)
        })?;
        let server = step(&format!("RocketMQ {SERVER}: name server and broker"), || {
            let server = Server::start(&artifacts, SERVER, &dir)?;
            server.create_topics(&TOPICS, 2)?;
            Ok(server)
        })?;
        let client = |library, name| Client::start(&artifacts, library, &server, &dir, name);
        let (producers, consumers) = step(
            "clients: a producer and a push consumer each in Java and Go",
            || {
                let mut producers = [
                    client(Library::Java(CLIENT), "shop-java")?,
                    client(Library::Go, "shop-go")?,
                ];
                for producer in &mut producers {
                    producer.producer(PRODUCER_GROUP)?;
                }
                let java = client(Library::Java(CLIENT), "billing-java")?;
                java.consumer(
                    Consume::new(JAVA_GROUP, &TOPICS)
                        .failing(1)
                        .failing_key("retried-0")
                        .delay(Duration::from_millis(5)),
                )?;
                let go = client(Library::Go, "shipping-go")?;
                go.consumer(Consume::new(GO_GROUP, &TOPICS).delay(Duration::from_millis(2)))?;
                Ok((producers, [(java, JAVA_GROUP), (go, GO_GROUP)]))
            },
        )?;
        println!("\nspans as they complete:");
        Ok(Scene {
            producers,
            consumers,
            tracer,
            file: SpanFile::new(&file),
            shown: 0,
            _server: server,
        })
    }

    /// Some messages from both producers to both topics; in the first round also those that go wrong.
    fn round(&mut self, round: usize) -> Result<()> {
        let send = |topic: &str, key: &str, count: usize| {
            Send::new(PRODUCER_GROUP, topic, Mode::Sync, count)
                .key(key)
                .rate(5)
        };
        for (producer, name) in self.producers.iter_mut().zip(["java", "go"]) {
            for topic in TOPICS {
                producer.send(send(topic, &format!("{name}-{round}"), 2))?;
            }
        }
        if round == 0 {
            let [java, go] = &mut self.producers;
            java.send(send(TOPICS[0], "retried", 1))?;
            go.send(send(TOPICS[1], "refused", 1).size(MAX_BODY + 1))?;
        }
        Ok(())
    }

    /// Waits until everything that was sent is consumed and seen, then shows the messages that are new.
    fn settle(&mut self, stop: &AtomicBool) -> Result<Totals> {
        let sent: usize = self
            .producers
            .iter()
            .map(|producer| producer.all_sent().len())
            .sum();
        let retries = [1, 0];
        for ((consumer, group), retries) in self.consumers.iter().zip(retries) {
            consumer.wait_consumed(group, sent + retries, ARRIVAL)?;
        }
        let waited = wait::until(ARRIVAL, "all spans", || {
            let totals = self.totals()?;
            Ok(if totals.agree() || stop.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("some are missing".into())
            })
        });
        let totals = self.totals()?;
        let spans = self.spans()?;
        println!("\nmessages, from the send to the end of each consumption:");
        self.shown += view::trees(&spans, self.shown, stdout().lock())?;
        if let Err(error) = waited {
            println!("{error:#}");
        }
        println!();
        Ok(totals)
    }

    fn totals(&mut self) -> Result<Totals> {
        let mut totals = Totals::default();
        for producer in &self.producers {
            totals.sent(&producer.all_sent(), &producer.all_failed());
        }
        for (consumer, group) in &self.consumers {
            totals.consumed(&consumer.consumed(group));
        }
        totals.seen(&self.spans()?);
        Ok(totals)
    }

    /// Spans of the demo's own clients: a second demo on this machine would use the same topics.
    fn spans(&mut self) -> Result<Vec<Span>> {
        let clients = self
            .producers
            .iter()
            .chain(self.consumers.iter().map(|(client, _)| client));
        let pids: Vec<Option<i64>> = clients.map(|client| Some(i64::from(client.pid()))).collect();
        Ok(self
            .file
            .refresh()?
            .iter()
            .filter(|span| pids.contains(&span.pid()))
            .cloned()
            .collect())
    }

    /// Stops everything in order and shows rmqtrace's own totals.
    fn finish(self) -> Result<()> {
        let Scene {
            producers,
            consumers,
            tracer,
            ..
        } = self;
        for client in producers.into_iter().chain(consumers.map(|(client, _)| client)) {
            client.finish()?;
        }
        let (status, log) = tracer.stop()?;
        anyhow::ensure!(status.success(), "rmqtrace ended with {status}");
        let totals = log
            .lines()
            .rfind(|line| line.contains("total"))
            .context("rmqtrace logged no totals")?;
        println!("{totals}\n");
        Ok(())
    }
}
