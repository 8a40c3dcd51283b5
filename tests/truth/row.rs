//! A scenario: its name, where it can run, what is right, and what its clients do.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use testbed::{
    Consume, Mode, Send,
    client::{Consumed, Feature},
    compare::Rules,
};

use crate::bench::{Bench, PATIENCE, PRODUCER, Pairing};

/// Arguments of a client command.
pub(crate) type Arguments = &'static [(&'static str, &'static str)];

/// A scenario.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What client and server must be able to do.
    pub(crate) needs: &'static [Feature],
    /// What is right.
    pub(crate) rules: Rules,
    /// What the clients do.
    pub(crate) drive: Drive,
}

impl Row {
    /// Why a pairing cannot have it; `None` if it can.
    pub(crate) fn lacks(&self, pairing: Pairing) -> Option<&'static str> {
        self.needs.iter().find_map(|feature| pairing.lacks(*feature))
    }
}

/// What the clients of a scenario do.
pub(crate) enum Drive {
    /// One consumer, then one producer that sends; done when all is delivered.
    Plain(Plain),
    /// Anything else.
    Own(fn(&Stage<'_>) -> Result<()>),
}

/// The common case. Messages have the keys `k-0`, `k-1`, ….
pub(crate) struct Plain {
    pub(crate) mode: Mode,
    /// Messages that are sent.
    pub(crate) messages: usize,
    /// Arguments of `send`.
    pub(crate) send: Arguments,
    /// Arguments of a producer of its own.
    pub(crate) producer: Option<Arguments>,
    /// Arguments of `consumer`.
    pub(crate) consumer: Arguments,
    /// Calls of the handler to wait for.
    pub(crate) handled: usize,
}

impl Plain {
    /// Twenty messages sent and handled.
    pub(crate) const fn new(mode: Mode) -> Plain {
        Plain {
            mode,
            messages: 20,
            send: &[],
            producer: None,
            consumer: &[],
            handled: 20,
        }
    }

    pub(crate) const fn count(mut self, messages: usize, handled: usize) -> Plain {
        (self.messages, self.handled) = (messages, handled);
        self
    }

    pub(crate) const fn send(mut self, arguments: Arguments) -> Plain {
        self.send = arguments;
        self
    }

    pub(crate) const fn producer(mut self, arguments: Arguments) -> Plain {
        self.producer = Some(arguments);
        self
    }

    pub(crate) const fn consumer(mut self, arguments: Arguments) -> Plain {
        self.consumer = arguments;
        self
    }
}

/// A scenario on its bench, with names of its own.
pub(crate) struct Stage<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) row: &'static Row,
    pub(crate) topic: String,
    pub(crate) group: String,
    further: Mutex<Vec<String>>,
    /// Groups of producers, and of consumers in a process, that it started.
    begun: Mutex<Vec<(Option<usize>, String)>>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(bench: &'a Bench, row: &'static Row) -> Stage<'a> {
        let short: String = row
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let topic = bench.fresh(&short);
        Stage {
            bench,
            row,
            group: format!("g-{topic}"),
            topic,
            further: Mutex::default(),
            begun: Mutex::default(),
        }
    }

    pub(crate) fn run(&self) -> Result<()> {
        match &self.row.drive {
            Drive::Plain(plain) => self.plain(plain),
            Drive::Own(drive) => drive(self),
        }
    }

    /// All its topics, as spans name them.
    pub(crate) fn topics(&self) -> Vec<String> {
        let mut topics = vec![self.topic.clone()];
        topics.extend(self.further.lock().into_iter().flat_map(|topics| topics.clone()));
        topics
    }

    /// Names a further topic whose spans are this scenario's.
    pub(crate) fn owns(&self, topic: &str) {
        if let Ok(mut further) = self.further.lock() {
            further.push(topic.to_owned());
        }
    }

    /// Creates topics of four queues each.
    pub(crate) fn create_topics(&self, topics: &[&str]) -> Result<()> {
        let _alone = self.bench.beginning.lock();
        self.bench.server.create_topics(topics, 4)
    }

    fn plain(&self, plain: &Plain) -> Result<()> {
        self.consume(plain.consumer)?;
        let producer = match plain.producer {
            None => self.shared_producer()?,
            Some(arguments) => self.producer(arguments)?,
        };
        self.send_from(&producer, plain.mode, plain.messages, plain.send)?;
        self.handled(plain.handled).map(drop)
    }

    /// Starts a producer of the scenario's own; gives its group.
    pub(crate) fn producer(&self, arguments: Arguments) -> Result<String> {
        let group = format!("p-{}", self.topic);
        let _alone = self.bench.beginning.lock();
        self.bench.producer.producer_with(&group, arguments)?;
        self.began(None, &group);
        Ok(group)
    }

    /// The group of the producer that scenarios share; while they are recorded, each has its own.
    pub(crate) fn shared_producer(&self) -> Result<String> {
        if !self.bench.recording {
            return Ok(PRODUCER.to_owned());
        }
        let group = format!("p-{}", self.topic);
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.contains(&(None, group.clone())) {
            return Ok(group);
        }
        drop(begun);
        self.producer(&[])
    }

    /// Notes a group that the scenario started.
    pub(crate) fn began(&self, process: Option<usize>, group: &str) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push((process, group.to_owned()));
    }

    /// Stops what the scenario started, in order: consumers commit their offsets.
    pub(crate) fn stop(&self) -> Result<()> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for (process, group) in begun.drain(..).rev() {
            match process {
                Some(process) => self.process(process)?.stop_group(&group)?,
                None => self.bench.producer.stop_group(&group)?,
            }
        }
        Ok(())
    }

    /// Sends from the shared producer and waits until all is sent.
    pub(crate) fn send(&self, mode: Mode, messages: usize, arguments: Arguments) -> Result<()> {
        self.send_from(&self.shared_producer()?, mode, messages, arguments)
    }

    /// Sends and waits until all is sent.
    pub(crate) fn send_from(
        &self,
        producer: &str,
        mode: Mode,
        messages: usize,
        arguments: &[(&str, &str)],
    ) -> Result<()> {
        let send =
            Send::new(producer, &self.topic, mode, messages).timeout(std::time::Duration::from_secs(10));
        let send = arguments
            .iter()
            .fold(send, |send, (key, value)| send.with(key, value));
        let ticket = self.bench.producer.start_sending(send)?;
        self.bench.producer.wait(ticket, PATIENCE).map(drop)
    }

    /// Starts the scenario's consumer in the first consumer process.
    pub(crate) fn consume(&self, arguments: Arguments) -> Result<()> {
        self.consume_in(0, &self.group, &self.topic, arguments)
    }

    /// Starts a consumer of any group in one of the consumer processes.
    pub(crate) fn consume_in(
        &self,
        index: usize,
        group: &str,
        topic: &str,
        arguments: Arguments,
    ) -> Result<()> {
        let consume = arguments
            .iter()
            .fold(Consume::new(group, &[topic]), |consume, (key, value)| {
                consume.with(key, value)
            });
        let process = self.process(index)?;
        // Java's clients of a broadcasting group have one id in all processes.
        let shares_id = arguments.contains(&("broadcast", "1"));
        for _ in 0..3 {
            let alone = self.bench.beginning.lock();
            process.consumer(consume.clone())?;
            drop(alone);
            if shares_id || self.is_known_once(group)? {
                self.began(Some(index), group);
                return Ok(());
            }
            process.stop_group(group)?;
        }
        bail!("the broker knows a client of {group} by several connections");
    }

    /// Whether the broker knows each client of a group by one connection. On a busy machine a first heartbeat can come so late
    /// that the client sends another on a new connection; the broker then gives half of the queues to the dead one.
    fn is_known_once(&self, group: &str) -> Result<bool> {
        let mut looks = 0;
        let twice = testbed::wait::until(PATIENCE, "the broker knows the consumer", || {
            // A group without clients is refused.
            let mut clients = self.bench.clients_of(group).unwrap_or_default();
            let connections = clients.len();
            clients.sort();
            clients.dedup();
            if clients.len() < connections {
                return Ok(Ok(true));
            }
            looks += usize::from(connections > 0);
            Ok(if looks >= 12 {
                Ok(false)
            } else {
                Err(format!("{connections} connections"))
            })
        })?;
        Ok(!twice)
    }

    /// Waits for calls of the scenario's handler.
    pub(crate) fn handled(&self, count: usize) -> Result<Vec<Consumed>> {
        // A busy broker refuses a message now and then: a failed send, whose span is compared, and no delivery.
        let failed = self.bench.producer.all_failed();
        let failed = failed.iter().filter(|failed| failed.topic == self.topic).count();
        let count = count.saturating_sub(failed);
        self.process(0)?.wait_consumed(&self.group, count, PATIENCE)
    }

    /// One of the consumer processes.
    pub(crate) fn process(&self, index: usize) -> Result<&'a testbed::Client> {
        self.bench.consumers.get(index).context("no such process")
    }
}
