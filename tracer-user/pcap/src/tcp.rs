//! TCP connections from segments: which there are, which of them are RocketMQ's, and their bytes in order.
//!
//! - A connection is a pair of addresses until it ends (both ends closed, or a reset) or another begins (a SYN with
//!   another number). What comes for an ended one is late.
//! - It is recognised by its first bytes, or, when the capture began later, at its first frame that tells which end is
//!   the client's; until then its bytes are held ([`probe`]). The client's end is the connection's owner, wherever the
//!   capture was made, so a capture of the loopback device shows each connection once.
//! - Bytes are passed on in order ([`way`]), with the time of the packet that made that possible. A segment that came
//!   before is dropped. A hole is passed on as one when the other end acknowledged what is behind it, when it has
//!   waited too long, or when too much waits behind it.

mod probe;
mod way;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use hashlink::LinkedHashMap;
use tracer_abi::{Direction, Role};
use tracer_core::{
    model::{ProcessId, Timestamp},
    record::{Close, ConnectionId, Data, Open, Record},
};

use self::{
    probe::{Found, Probe},
    way::{Piece, Way},
};
use crate::{limits, packet::Segment, totals::Totals};

/// Connection numbers of packets have this bit, those of recordings do not.
const OF_PACKETS: u64 = 1 << 63;
/// The same for processes.
const CLIENTS: u32 = 1 << 31;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    connections: LinkedHashMap<Pair, Connection>,
    clients: HashMap<IpAddr, ProcessId>,
    count: u64,
    /// Bytes that wait over all connections.
    held: usize,
    swept: u64,
}

/// The addresses of a connection, the lower one first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Pair(SocketAddr, SocketAddr);

/// Which of the two addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    First,
    Second,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    pair: Pair,
    /// What each end sends.
    ways: [Way; 2],
    /// The end that opened it, where the handshake was seen.
    opener: Option<End>,
    /// This end wants to open another one between the same addresses, whose first byte has this number.
    reopening: Option<(End, u32)>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not judged.
    New(Box<Probe>),
    /// RocketMQ's; its client is this end, in this process.
    Ours(End, ProcessId),
    /// Something else.
    Foreign,
    /// Ended; it stays so that what is late is known for that.
    Ended,
}

impl Tcp {
    /// Takes in a segment that was captured at `time`.
    pub(crate) fn segment(
        &mut self,
        time: u64,
        segment: &Segment<'_>,
        totals: &mut Totals,
        out: &mut impl FnMut(Record<'_>),
    ) {
        self.sweep(time, totals, out);
        let (pair, from) = if segment.source <= segment.destination {
            (Pair(segment.source, segment.destination), End::First)
        } else {
            (Pair(segment.destination, segment.source), End::Second)
        };
        let mut connection = match self.connections.remove(&pair) {
            Some(mut known) => {
                if known.is_replaced_by(from, segment) {
                    self.held -= known.held();
                    known.end(time, &mut Out { totals, out });
                    let mut new = self.connection(pair, totals);
                    // its SYN came before
                    if let Some((opener, sequence)) = known.reopening.filter(|_| !segment.syn) {
                        new.opener = Some(opener);
                        new.way(opener).start(sequence);
                    }
                    new
                } else {
                    known
                }
            }
            None => self.connection(pair, totals),
        };
        self.held -= connection.held();
        let clients = &mut self.clients;
        let mut process = |client: IpAddr| {
            let next = ProcessId(CLIENTS | u32::try_from(clients.len()).unwrap_or(u32::MAX));
            if clients.len() >= limits::CLIENTS && !clients.contains_key(&client) {
                // so many that telling them apart helps nobody
                return next;
            }
            *clients.entry(client).or_insert(next)
        };
        connection.take(time, from, segment, &mut process, &mut Out { totals, out });
        if self.held + connection.held() > limits::ALL_HELD_BYTES {
            connection.give_up_waiting(time, &mut Out { totals, out });
        }
        self.held += connection.held();
        if self.connections.len() >= limits::CONNECTIONS
            && let Some((_, mut quiet)) = self.connections.pop_front()
        {
            self.held -= quiet.held();
            totals.evicted_connections += 1;
            quiet.release(time, &mut Out { totals, out });
        }
        // the one that was quiet longest is first
        self.connections.insert(pair, connection);
    }

    /// Nothing more will come: what waits is passed on.
    pub(crate) fn finish(&mut self, time: u64, totals: &mut Totals, out: &mut impl FnMut(Record<'_>)) {
        for connection in self.connections.values_mut() {
            connection.release(time, &mut Out { totals, out });
        }
        self.connections.clear();
        self.held = 0;
    }

    fn connection(&mut self, pair: Pair, totals: &mut Totals) -> Connection {
        totals.tcp_connections += 1;
        self.count += 1;
        Connection {
            id: ConnectionId(OF_PACKETS | self.count),
            pair,
            ways: [Way::default(), Way::default()],
            opener: None,
            reopening: None,
            state: State::New(Box::default()),
        }
    }

    /// Once a second: holes that have waited too long.
    fn sweep(&mut self, time: u64, totals: &mut Totals, out: &mut impl FnMut(Record<'_>)) {
        if time.abs_diff(self.swept) < 1_000_000_000 {
            return;
        }
        self.swept = time;
        for connection in self.connections.values_mut() {
            self.held -= connection.held();
            connection.expire(time, &mut Out { totals, out });
            self.held += connection.held();
        }
    }
}

/// Where records and numbers go.
struct Out<'a, F> {
    totals: &'a mut Totals,
    out: &'a mut F,
}

impl End {
    fn other(self) -> End {
        match self {
            End::First => End::Second,
            End::Second => End::First,
        }
    }
}

impl Connection {
    /// A new connection between the same addresses begins. A SYN alone says so only where there is none: who has one answers
    /// with what it has, and the other end resets it or lets it be. So the answer to the SYN is waited for, or what the
    /// opener sends next. Of a connection that ended, data far from its own are another's, whose handshake is missing.
    fn is_replaced_by(&mut self, from: End, segment: &Segment<'_>) -> bool {
        let over = matches!(self.state, State::Ended | State::Foreign);
        let first = segment.sequence.wrapping_add(1);
        let reopening = self.reopening;
        let known = self.way(from);
        let differs = known.is_placed() && !known.starts_at(first);
        match (segment.syn, segment.acknowledged) {
            _ if segment.rst => false,
            (true, None) if differs && !over => {
                self.reopening = Some((from, first));
                false
            }
            (true, None) => differs,
            (true, Some(acknowledged)) => {
                differs && (over || reopening == Some((from.other(), acknowledged)))
            }
            (false, _) => {
                reopening == Some((from, segment.sequence))
                    || matches!(self.state, State::Ended)
                        && segment.length > 0
                        && self.way(from).is_far(segment.sequence)
            }
        }
    }

    /// Captured bytes that wait.
    fn held(&self) -> usize {
        let probed = match &self.state {
            State::New(probe) => probe.held(),
            _ => 0,
        };
        probed + self.ways.iter().map(Way::held).sum::<usize>()
    }

    fn way(&mut self, end: End) -> &mut Way {
        match end {
            End::First => &mut self.ways[0],
            End::Second => &mut self.ways[1],
        }
    }

    fn take(
        &mut self,
        time: u64,
        from: End,
        segment: &Segment<'_>,
        process: &mut impl FnMut(IpAddr) -> ProcessId,
        to: &mut Out<'_, impl FnMut(Record<'_>)>,
    ) {
        match self.state {
            State::Foreign => {
                // only so much that a new connection is known for one
                if segment.syn {
                    self.handshake(from, segment);
                }
                return;
            }
            State::Ended => {
                to.totals.late_packets += 1;
                return;
            }
            _ => {}
        }
        let asked = segment.syn && self.reopening == Some((from, segment.sequence.wrapping_add(1)));
        if asked || !segment.syn && self.way(from).is_stray(segment.sequence) {
            to.totals.stray_packets += u64::from(!asked);
            return;
        }
        if segment.rst {
            return self.end(time, to);
        }
        let mut sequence = segment.sequence;
        if segment.syn {
            self.handshake(from, segment);
            sequence = sequence.wrapping_add(1);
        }
        if let (Some(acknowledged), false) = (segment.acknowledged, segment.syn) {
            self.third_packet(from, sequence, acknowledged);
            self.way(from.other()).acknowledge(acknowledged);
        }
        if segment.length > 0 {
            let late = self
                .way(from)
                .push(time, sequence, segment.length, segment.payload);
            self.count(&late, to);
        }
        if segment.fin {
            self.way(from).finish(time, sequence.wrapping_add(segment.length));
        }
        self.pass_on(time, process, to);
        self.end_if_finished(time, to);
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, time: u64, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        let patience = u64::try_from(limits::PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        for end in [End::First, End::Second] {
            if let Some(since) = self.way(end).waits_since() {
                self.drain(time, end, time.abs_diff(since) >= patience, to);
            }
        }
        self.end_if_finished(time, to);
    }

    fn end_if_finished(&mut self, time: u64, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        if !matches!(self.state, State::Ended) && self.ways.iter().all(Way::is_finished) {
            let ended = self.ways.iter().filter_map(Way::finished_at).max();
            self.end(ended.unwrap_or(time), to);
        }
    }

    /// A SYN, or the answer to one: who opened the connection, and where the streams start.
    fn handshake(&mut self, from: End, segment: &Segment<'_>) {
        self.way(from).start(segment.sequence.wrapping_add(1));
        match segment.acknowledged {
            None => self.opener = Some(from),
            Some(acknowledged) => {
                self.way(from.other()).start(acknowledged);
                self.opener = Some(from.other());
            }
        }
    }

    /// The opener's first packet after its SYN tells where the other end starts, should the answer to the SYN be missing.
    fn third_packet(&mut self, from: End, sequence: u32, acknowledged: u32) {
        if self.opener == Some(from)
            && self.way(from).starts_at(sequence)
            && !self.way(from.other()).is_placed()
        {
            self.way(from.other()).start(acknowledged);
        }
    }

    fn count(&self, pushed: &way::Pushed, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        if let State::Ours(..) = self.state {
            to.totals.repeated_bytes += pushed.repeated;
        }
    }

    /// Passes on what is in order now.
    fn pass_on(
        &mut self,
        time: u64,
        process: &mut impl FnMut(IpAddr) -> ProcessId,
        to: &mut Out<'_, impl FnMut(Record<'_>)>,
    ) {
        for end in [End::First, End::Second] {
            self.drain(time, end, false, to);
        }
        if let State::New(probe) = &mut self.state {
            match probe.verdict(self.opener) {
                Found::NotYet => {}
                Found::Foreign => {
                    self.state = State::Foreign;
                    self.ways.iter_mut().for_each(Way::forget);
                }
                Found::Client(client) => self.recognised(time, client, process, to),
            }
        }
    }

    /// The connection is RocketMQ's: it is announced, and what was held is passed on.
    fn recognised(
        &mut self,
        time: u64,
        client: End,
        process: &mut impl FnMut(IpAddr) -> ProcessId,
        to: &mut Out<'_, impl FnMut(Record<'_>)>,
    ) {
        let (local, remote) = match client {
            End::First => (self.pair.0, self.pair.1),
            End::Second => (self.pair.1, self.pair.0),
        };
        let process = process(local.ip());
        let State::New(probe) = std::mem::replace(&mut self.state, State::Ours(client, process)) else {
            return;
        };
        to.totals.recognised += 1;
        let since = probe.since().unwrap_or(time);
        (to.out)(Record::Open(Open {
            connection: self.id,
            process,
            time: Timestamp(since),
            local,
            remote,
            netns: 0,
            role: Role::CLIENT,
            from_start: self.ways.iter().all(Way::is_from_start),
        }));
        // of a stream that was not seen from its start: what the other end acknowledges tells where the capture begins
        for end in [End::First, End::Second] {
            let way = self.way(end);
            if way.is_placed() && !way.is_from_start() {
                emit(self.id, process, client, end, &Piece::nothing(since), to);
            }
        }
        probe.replay(|end, piece| emit(self.id, process, client, end, piece, to));
    }

    /// Passes on what one end sent, as far as it is in order; with `all` also what waits behind holes.
    fn drain(&mut self, time: u64, end: End, all: bool, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        let Connection { ways, state, id, .. } = self;
        let way = match end {
            End::First => &mut ways[0],
            End::Second => &mut ways[1],
        };
        let from_start = way.is_from_start();
        let lost = way.drain(time, all, |piece| match state {
            State::New(probe) => probe.push(end, from_start, piece),
            State::Ours(client, process) => emit(*id, *process, *client, end, piece, to),
            State::Foreign | State::Ended => {}
        });
        if lost > 0 && matches!(state, State::Ours(..)) {
            to.totals.losses += 1;
            to.totals.lost_bytes += lost;
        }
    }

    /// Holes are as good as lost.
    fn give_up_waiting(&mut self, time: u64, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        for end in [End::First, End::Second] {
            self.drain(time, end, true, to);
        }
        if let State::New(probe) = &self.state
            && probe.held() > limits::PROBE_BYTES
        {
            self.state = State::Foreign;
        }
    }

    /// The connection is seen no more, whatever becomes of it.
    fn release(&mut self, time: u64, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        for end in [End::First, End::Second] {
            self.drain(time, end, true, to);
        }
    }

    /// The connection ended.
    fn end(&mut self, time: u64, to: &mut Out<'_, impl FnMut(Record<'_>)>) {
        self.release(time, to);
        if let State::Ours(client, _) = self.state {
            let (sent_end, received_end) =
                (self.way(client).known_end(), self.way(client.other()).known_end());
            (to.out)(Record::Close(Close {
                connection: self.id,
                time: Timestamp(time),
                sent_end,
                received_end,
            }));
        }
        self.state = State::Ended;
        self.ways.iter_mut().for_each(Way::forget);
    }
}

/// Passes a piece on as the client sees it.
fn emit(
    connection: ConnectionId,
    process: ProcessId,
    client: End,
    end: End,
    piece: &Piece<'_>,
    to: &mut Out<'_, impl FnMut(Record<'_>)>,
) {
    let totals = &mut to.totals;
    if piece.lost > 0 {
        totals.losses += 1;
        totals.lost_bytes += piece.lost;
    }
    totals.cut_bytes += u64::from(piece.length) - piece.bytes.len() as u64;
    (to.out)(Record::Data(Data {
        connection,
        process,
        direction: if end == client {
            Direction::SEND
        } else {
            Direction::RECV
        },
        start: Timestamp(piece.time),
        end: Timestamp(piece.time),
        offset: piece.offset,
        length: piece.length,
        bytes: piece.bytes,
        missed: false,
    }));
}
