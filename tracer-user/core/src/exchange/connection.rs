//! One connection's state, and what becomes of its frames.

use std::{net::SocketAddr, sync::Arc};

use tracer_abi::{Direction, Role};

use super::{
    Peer, Side, opposite,
    pairs::{Answered, Pairs, Waiting},
    side_by_frame,
};
use crate::{
    engine::Account,
    lifecycle::{Lifecycle, Pending, Unanswered},
    model::{ProcessId, Timestamp},
    record::{Close, ConnectionId, Data, Open},
    stream::{Counters, Event, Stream},
    wire::{Frame, RequestCode},
};

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The deadline it is armed for.
    pub(crate) armed: Option<Timestamp>,
    peer: Arc<Peer>,
    /// The process's own address.
    local: Option<SocketAddr>,
    /// Which end the traced process is, once known.
    side: Option<Side>,
    start: Start,
    /// `None` until something of this direction is asked for. The server's end of a connection is mostly kept to itself by the kernel
    /// side, and on a broker's host there is one for each client.
    sent: Option<Box<Half>>,
    received: Option<Box<Half>>,
}

/// What is known of both directions before anything comes of them.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Offset 0 is the first byte there ever was.
    at_zero: bool,
    /// As in [`Half`].
    end: Option<u64>,
}

/// One direction.
#[derive(Debug)]
struct Half {
    stream: Stream,
    /// Of what the stream counts, what is in the totals.
    counted: Counters,
    /// Stream offset behind the last byte heard of; `None` before the first one of a connection that was not
    /// announced.
    end: Option<u64>,
    /// When bytes were last found to be lost.
    lost: Option<Timestamp>,
    /// The requests of this direction, and the answers to them from the other one.
    pairs: Pairs<Pending>,
}

impl Half {
    fn new(start: Start) -> Half {
        Half {
            stream: if start.at_zero {
                Stream::starting_at(0)
            } else {
                Stream::new()
            },
            counted: Counters::default(),
            end: start.end,
            lost: None,
            pairs: Pairs::new(),
        }
    }

    fn account(&self) -> Account {
        Account {
            seen: self.counted.bytes,
            lost: self.counted.lost,
        }
    }
}

impl Connection {
    /// A connection as announced.
    pub(crate) fn open(open: &Open) -> Connection {
        let start = Start {
            at_zero: open.from_start,
            end: Some(0),
        };
        let mut connection = Connection::new(open.connection, open.process, start);
        connection.announce(open);
        connection
    }

    /// Takes in who the connection is. An announcement can come after the first bytes: both directions are recognised
    /// at the same time, or the first announcement found no room.
    pub(crate) fn announce(&mut self, open: &Open) {
        let side = match open.role {
            Role::CLIENT => Some(Side::Client),
            Role::SERVER => Some(Side::Server),
            _ => self.side,
        };
        let peer = Arc::make_mut(&mut self.peer);
        // until the side is known, what the process is connected to stands for the server
        peer.connected_to(Some(if side == Some(Side::Server) {
            open.local
        } else {
            open.remote
        }));
        peer.mirrored = side == Some(Side::Server);
        self.local = Some(open.local);
        self.side = side;
    }

    /// Nobody has said yet who this connection is.
    pub(crate) fn is_unannounced(&self) -> bool {
        self.local.is_none()
    }

    /// A connection whose announcement was lost, or comes later.
    pub(crate) fn unannounced(data: &Data<'_>) -> Connection {
        let start = Start {
            at_zero: false,
            end: None,
        };
        Connection::new(data.connection, data.process, start)
    }

    fn new(id: ConnectionId, process: ProcessId, start: Start) -> Connection {
        Connection {
            armed: None,
            peer: Arc::new(Peer::new(id, process)),
            local: None,
            side: None,
            start,
            sent: None,
            received: None,
        }
    }

    /// When something's time is up.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        [&self.sent, &self.received]
            .into_iter()
            .flatten()
            .flat_map(|half| [half.stream.deadline(), half.pairs.deadline()])
            .flatten()
            .min()
    }

    /// Takes in bytes.
    pub(crate) fn handle_data(&mut self, data: &Data<'_>, lifecycle: &mut Lifecycle) {
        // a socket can go to another process, by fork or by hand; what was asked before stays the first one's
        if data.direction == Direction::SEND && data.process != self.peer.process {
            Arc::make_mut(&mut self.peer).process = data.process;
        }
        let half = self.half(data.direction);
        half.end = half.end.max(Some(data.offset.saturating_add(data.length.into())));
        self.drive(data.direction, data.end, lifecycle, |stream| {
            stream.take(data);
        });
    }

    /// Gives up what has waited too long.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp, lifecycle: &mut Lifecycle) {
        for direction in [Direction::SEND, Direction::RECV] {
            self.drive(direction, now, lifecycle, |stream| stream.expire(now));
        }
        for direction in [Direction::SEND, Direction::RECV] {
            while let Some(answer) = self.half(direction).pairs.expired_answer(now) {
                self.orphaned(answer, lifecycle);
            }
            while let Some(waiting) = self.half(direction).pairs.expired_request(now) {
                let why = self.why(direction, &waiting, Unanswered::TimedOut);
                lifecycle.unanswered(waiting.request, why, waiting.deadline);
            }
        }
    }

    /// Ends with the connection. Returns what became of the bytes it sent and received.
    pub(crate) fn close(mut self, close: &Close, lifecycle: &mut Lifecycle) -> [Account; 2] {
        let ends = [
            (Direction::SEND, close.sent_end),
            (Direction::RECV, close.received_end),
        ];
        let accounts = ends.map(|(direction, end)| {
            self.drive(direction, close.time, lifecycle, Stream::flush);
            let half = self.half(direction);
            let missing = end.saturating_sub(half.end.unwrap_or(end));
            if missing > 0 {
                half.lost = Some(close.time);
                let totals = &mut lifecycle.sink.totals;
                totals.gaps += 1;
                totals.gap_bytes = totals.gap_bytes.saturating_add(missing);
            }
            let account = half.account();
            Account {
                lost: account.lost.saturating_add(missing),
                ..account
            }
        });
        self.end_waiting(Unanswered::Closed, close.time, lifecycle);
        lifecycle.closed(self.peer.process, self.peer.connection, close.time);
        accounts
    }

    /// Ends without knowing what becomes of the connection. Returns what became of the bytes that are known of.
    pub(crate) fn abandon(mut self, now: Timestamp, lifecycle: &mut Lifecycle) -> [Account; 2] {
        for direction in [Direction::SEND, Direction::RECV] {
            self.drive(direction, now, lifecycle, Stream::flush);
        }
        self.end_waiting(Unanswered::Unknown, now, lifecycle);
        [Direction::SEND, Direction::RECV].map(|direction| self.half(direction).account())
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        let half = match direction {
            Direction::SEND => &mut self.sent,
            _ => &mut self.received,
        };
        half.get_or_insert_with(|| Box::new(Half::new(self.start)))
    }

    /// Does something to a stream, and takes in what comes out of it.
    fn drive(
        &mut self,
        direction: Direction,
        now: Timestamp,
        lifecycle: &mut Lifecycle,
        work: impl FnOnce(&mut Stream),
    ) {
        // one room for the events of all streams, of which one is at work at a time
        let stream = &mut self.half(direction).stream;
        stream.swap_events(&mut lifecycle.sink.events);
        work(stream);
        self.drain(direction, now, lifecycle);
        self.half(direction)
            .stream
            .swap_events(&mut lifecycle.sink.events);
    }

    fn drain(&mut self, direction: Direction, now: Timestamp, lifecycle: &mut Lifecycle) {
        while let Some(event) = self.half(direction).stream.poll() {
            match event {
                Event::Frame(frame) => self.handle_frame(direction, frame, lifecycle),
                Event::Gap(_) => self.half(direction).lost = Some(now),
            }
        }
        let half = self.half(direction);
        let (new, old) = (half.stream.counters(), half.counted);
        half.counted = new;
        let totals = &mut lifecycle.sink.totals;
        // offsets are what a record says: two that lie may add up to more than there is
        totals.seen_bytes = totals.seen_bytes.saturating_add(new.bytes - old.bytes);
        totals.gap_bytes = totals.gap_bytes.saturating_add(new.lost - old.lost);
        totals.gaps += new.gaps - old.gaps;
        totals.resyncs += new.resyncs - old.resyncs;
        totals.malformed += new.malformed - old.malformed;
    }

    fn handle_frame(&mut self, direction: Direction, frame: Frame, lifecycle: &mut Lifecycle) {
        let totals = &mut lifecycle.sink.totals;
        totals.frames += 1;
        if frame.header.is_response() {
            totals.responses += 1;
            totals.unknown_codes += u64::from(frame.header.response_code().name().is_none());
        } else {
            totals.requests += 1;
            totals.unknown_codes += u64::from(frame.header.request_code().name().is_none());
            totals.one_way_requests += u64::from(frame.header.is_one_way());
        }
        if self.side.is_none() {
            self.side = side_by_frame(direction, &frame);
            if self.side == Some(Side::Server) {
                let peer = Arc::make_mut(&mut self.peer);
                peer.connected_to(self.local);
                peer.mirrored = true;
            }
        }
        let from_client = self.side.is_some_and(|side| side.requests() == direction);
        if self.side == Some(Side::Server) {
            if from_client && !frame.header.is_response() {
                lifecycle.serves(self.peer.process, &frame);
            }
            if !lifecycle.sink.config.broker_side {
                return;
            }
        }
        if frame.header.is_response() {
            self.handle_response(direction, frame, lifecycle);
        } else {
            self.handle_request(direction, from_client, frame, lifecycle);
        }
    }

    fn handle_request(
        &mut self,
        direction: Direction,
        from_client: bool,
        frame: Frame,
        lifecycle: &mut Lifecycle,
    ) {
        let pending = if from_client {
            self.client_request(direction, &frame, lifecycle)
        } else {
            lifecycle.server_request(&self.peer, &frame)
        };
        if frame.header.is_one_way() {
            return lifecycle.written(pending);
        }
        let waiting = Waiting {
            sent: frame.start,
            deadline: frame.start.plus(lifecycle.sink.config.correlate_timeout),
            contradicted: false,
            request: pending,
        };
        let asked = self.half(direction).pairs.ask(frame.header.opaque, waiting);
        if let Some(displaced) = asked.displaced {
            lifecycle.sink.totals.evicted_requests += 1;
            lifecycle.unanswered(displaced.request, Unanswered::Unknown, frame.start);
        }
        if let Some((request, answer)) = asked.answer {
            lifecycle.answered(request, answer);
        }
    }

    fn client_request(&mut self, direction: Direction, frame: &Frame, lifecycle: &mut Lifecycle) -> Pending {
        let header = &frame.header;
        let claims = (Some(header.language), Some(header.version));
        if (self.peer.language, self.peer.version) != claims {
            Arc::make_mut(&mut self.peer).claims(header.language, header.version);
        }
        match header.request_code() {
            RequestCode::HEART_BEAT => {
                let id = lifecycle.heartbeat(&self.peer, frame);
                if id.is_some() && id != self.peer.client_id {
                    Arc::make_mut(&mut self.peer).client_id = id;
                }
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                let half = self.half(direction);
                if let Some(answer) = half.pairs.adopt(|answer| Lifecycle::continues(header, answer)) {
                    lifecycle.adopt(&self.peer, header, answer);
                }
            }
            _ => {}
        }
        lifecycle.request(&self.peer, frame)
    }

    fn handle_response(&mut self, direction: Direction, frame: Frame, lifecycle: &mut Lifecycle) {
        match self.half(opposite(direction)).pairs.answer(frame) {
            Answered::Paired(request, answer) => lifecycle.answered(request, answer),
            Answered::Held {
                displaced: Some(answer),
            } => {
                lifecycle.sink.totals.evicted_answers += 1;
                self.orphaned(answer, lifecycle);
            }
            Answered::Held { displaced: None } => {}
        }
    }

    fn end_waiting(&mut self, why: Unanswered, now: Timestamp, lifecycle: &mut Lifecycle) {
        for direction in [Direction::SEND, Direction::RECV] {
            while let Some(answer) = self.half(direction).pairs.oldest_answer() {
                self.orphaned(answer, lifecycle);
            }
            while let Some(waiting) = self.half(direction).pairs.oldest_request() {
                let why = self.why(direction, &waiting, why);
                lifecycle.unanswered(waiting.request, why, now);
            }
        }
    }

    fn orphaned(&mut self, answer: Frame, lifecycle: &mut Lifecycle) {
        // held while the side was unknown
        if self.side != Some(Side::Server) || lifecycle.sink.config.broker_side {
            lifecycle.orphaned(&self.peer, answer);
        }
    }

    /// Why a request of this direction has no answer, if it is not that the answer was lost, or came before the request by
    /// a clock that cannot be right. Where there was no room to tell of the connection, there may have been none for an answer.
    fn why(&mut self, direction: Direction, waiting: &Waiting<Pending>, otherwise: Unanswered) -> Unanswered {
        let lost = self.half(opposite(direction)).lost;
        let lost = lost.is_some_and(|lost| lost >= waiting.sent);
        if waiting.contradicted || lost || self.is_unannounced() {
            Unanswered::Unknown
        } else {
            otherwise
        }
    }
}
