//! The reading door: files in, what the engine is to be told out.

use std::collections::HashMap;

use tracer_core::{
    model::{ProcessId, Timestamp},
    record::{ConnectionId, Data, Record},
};

use crate::{
    error::FileError,
    file::{Item, Kind},
    fragments::Fragments,
    note::{self, Host, Note, ProcessNote},
    packet::{self, Packet, Segment, Skip},
    tcp::Tcp,
    timeline::{Input, Timeline},
    totals::Totals,
};

/// Hosts whose numbers are told apart.
const MOST_HOSTS: usize = 256;

/// What a replay has to say, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A record for the engine. Processes and connections of packets and of each recording host have numbers of their
    /// own.
    Record(Record<'a>),
    /// Who a process of a recording is; precedes its records.
    Process(ProcessNote<'a>),
    /// The recorder let the engine's time pass to this moment.
    Time(Timestamp),
}

/// Reads capture files. Call [`Replay::step`] until it says that nothing is left, then end the engine at
/// [`Replay::end`].
pub struct Replay {
    timeline: Timeline,
    state: State,
}

#[derive(Default)]
struct State {
    tcp: Tcp,
    fragments: Fragments,
    totals: Totals,
    /// The latest time of all packets.
    now: u64,
    /// When the recorder ended, where that was read last.
    end: Option<Timestamp>,
    hosts: HashMap<String, u32>,
    host: u32,
}

impl Replay {
    /// Looks at all files.
    ///
    /// # Errors
    /// The first file that cannot be opened or is no capture file.
    pub fn new(inputs: Vec<Input>) -> Result<Replay, FileError> {
        Ok(Replay {
            timeline: Timeline::new(inputs)?,
            state: State::default(),
        })
    }

    /// Reads one packet, and gives what it says to `each`. `false`: nothing is left.
    ///
    /// # Errors
    /// A file that cannot be read on from. Go on calling: other files may hold more.
    pub fn step(&mut self, mut each: impl FnMut(Event<'_>)) -> Result<bool, FileError> {
        let Replay { timeline, state } = self;
        let more = timeline.next(|item| state.item(item, &mut each));
        state.totals.files = timeline.opened;
        match more {
            Ok(false) => {
                let State { tcp, totals, now, .. } = state;
                tcp.finish(*now, totals, &mut |record| each(Event::Record(record)));
                totals.fragments_lost += state.fragments.waiting();
                state.fragments = Fragments::default();
            }
            Ok(true) => {}
            Err(_) => state.totals.damaged_files += 1,
        }
        more
    }

    /// The moment at which the engine is to be ended: when the recorder ended its own, else that of the last packet.
    pub fn end(&self) -> Timestamp {
        self.state.end.unwrap_or(Timestamp(self.state.now))
    }

    /// What was counted.
    pub fn totals(&self) -> Totals {
        self.state.totals
    }
}

impl State {
    fn item(&mut self, item: &Item, each: &mut impl FnMut(Event<'_>)) {
        match note::read(&item.note) {
            Some(note) => {
                // the note says what is in a packet, even where nothing says what it was captured on
                if let Kind::Packet(_) | Kind::NoInterface = item.kind {
                    self.totals.packets += 1;
                    self.totals.recorded_packets += 1;
                }
                self.now = self.now.max(item.time);
                self.note(&note, &item.data, each);
            }
            None => match item.kind {
                Kind::Packet(link) => self.packet(link, item, each),
                Kind::NoInterface => {
                    self.totals.packets += 1;
                    self.totals.skipped_no_interface += 1;
                }
                Kind::Note => {}
            },
        }
    }

    fn packet(&mut self, link: i32, item: &Item, each: &mut impl FnMut(Event<'_>)) {
        self.totals.packets += 1;
        self.now = self.now.max(item.time);
        self.end = None;
        let result = match packet::parse(link, &item.data, item.length) {
            Ok(Packet::Segment(segment)) => {
                self.segment(item.time, &segment, each);
                Ok(())
            }
            Ok(Packet::Fragment(fragment)) => {
                self.totals.fragments += 1;
                let (datagram, lost) = self.fragments.add(item.time, &fragment);
                self.totals.fragments_lost += lost;
                datagram.map_or(Ok(()), |payload| {
                    let segment = packet::of_datagram(&fragment.key, &payload)?;
                    self.segment(item.time, &segment, each);
                    Ok(())
                })
            }
            Err(skip) => Err(skip),
        };
        match result {
            Ok(()) => {}
            Err(Skip::Link) => self.totals.skipped_link += 1,
            Err(Skip::NotIp) => self.totals.skipped_not_ip += 1,
            Err(Skip::NotTcp) => self.totals.skipped_not_tcp += 1,
            Err(Skip::Malformed) => self.totals.skipped_malformed += 1,
        }
    }

    fn segment(&mut self, time: u64, segment: &Segment<'_>, each: &mut impl FnMut(Event<'_>)) {
        let State { tcp, totals, .. } = self;
        tcp.segment(time, segment, totals, &mut |record| each(Event::Record(record)));
    }

    fn note(&mut self, note: &Note<'_>, packet: &[u8], each: &mut impl FnMut(Event<'_>)) {
        match *note {
            Note::Host(Host(name)) => {
                let next = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
                // more hosts than that share the last number
                if self.hosts.len() < MOST_HOSTS || self.hosts.contains_key(name) {
                    self.host = *self.hosts.entry(name.to_owned()).or_insert(next);
                }
            }
            Note::Process(note) => {
                let process = self.process(note.process);
                each(Event::Process(ProcessNote { process, ..note }));
            }
            Note::Record(record, captured) => {
                let record = self.record(record, captured, packet);
                each(Event::Record(record));
            }
            Note::Time(time) => {
                self.now = self.now.max(time.0);
                each(Event::Time(time));
            }
            Note::End(time) => self.end = Some(time),
            Note::More => {}
        }
        if !matches!(note, Note::End(_)) {
            self.end = None;
        }
    }

    /// The record as it was, with its bytes; its numbers made those of its host.
    fn record<'a>(&self, record: Record<'a>, captured: u32, packet: &'a [u8]) -> Record<'a> {
        match record {
            Record::Open(mut open) => {
                open.connection = self.connection(open.connection);
                open.process = self.process(open.process);
                Record::Open(open)
            }
            Record::Data(data) => {
                let start = packet.len().saturating_sub(captured as usize);
                Record::Data(Data {
                    connection: self.connection(data.connection),
                    process: self.process(data.process),
                    bytes: packet.get(start..).unwrap_or_default(),
                    ..data
                })
            }
            Record::Close(mut close) => {
                close.connection = self.connection(close.connection);
                Record::Close(close)
            }
            Record::Process(mut process) => {
                process.process = self.process(process.process);
                Record::Process(process)
            }
        }
    }

    /// Cookies of one boot count from 1: they are far below these bits.
    fn connection(&self, id: ConnectionId) -> ConnectionId {
        ConnectionId(id.0 ^ u64::from(self.host) << 48)
    }

    /// Linux has at most 2²² processes.
    fn process(&self, id: ProcessId) -> ProcessId {
        ProcessId(id.0 ^ self.host << 22)
    }
}
