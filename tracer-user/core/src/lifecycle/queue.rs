//! The open deliveries of one queue in one process and group, and what offset commits prove about them.
//!
//! A client commits offset `c` to say that it is done with everything below `c`. The wire shows the frame that
//! carries `c`, never the moment a message was finished. An application that pulls for itself commits when it
//! likes, and is taken at its word. What follows from a frame, and nothing more:
//!
//! - **Upper bound.** The value was read before the frame was written. So everything below `c` that had been
//!   delivered before was finished by then.
//! - **Lower bound.** A message is unfinished when it is delivered. A value equal to its offset was read while
//!   it was unfinished: the offset moves on as soon as the lowest message is done. When that reading took place
//!   is known only from below. A pull is issued after the answer to the pull before it was read, so its value
//!   was read after that answer. The client's timer commits (code 15) one after another, so the value of one was
//!   read after the one before it was written; for that both must stand at the message, since the first of them
//!   may be there from before. A value below the message's offset proves nothing: a concurrent consumer commits
//!   the lowest unfinished offset, whatever else is done above it. The client's account of a message follows its
//!   handler's end, so the handler may have ended before by the [hand-over](limits::HANDOVER). C++
//!   hands the messages of an answer to its handler one after the other and counts them when it is through with all: its
//!   commits prove nothing here. Both hold within one client only, so the frames must be of one connection.
//! - **Resets.** An administrator, or an assignment that moved to another client and back, moves the offset
//!   without anything being processed here. So a commit counts only within what was delivered here without
//!   interruption: up to the *horizon*, the highest position that an answer to this process named. A commit
//!   beyond it, or one below the commit before it in the same kind of frame, strands what is open: from then on
//!   only a send-back can still prove the end of these deliveries.
//! - **Old news.** A client that pulls from further back while its own offset stays where it was (seen: C++) goes on
//!   to commit that offset, whatever it is about to deliver anew. So after going back no commit up to the one
//!   before counts, until one that is lower shows that the client has taken in the reset, or one beyond it that it
//!   has got further. The same holds for a commit in a pull that asks for what lies below it.
//! - **Interruptions.** A pull that does not continue where the last answer ended, one that is issued while
//!   another waits, an answer that corrects the position, and a question for the committed offset (code 14,
//!   which a client asks when it is assigned a queue) show that the queue was reset or reassigned, or that an
//!   answer was lost. Backwards ends what will be delivered anew and strands the rest. Otherwise what is open
//!   stays provable up to the old horizon and below the new position: the value that a reset commits is the new
//!   position or more, and a value below can only come from ordinary progress. The first commit beyond strands
//!   the rest. A client that is told to reset (code 220) drops what it has at once.

use std::{collections::BTreeMap, mem, net::SocketAddr, time::Duration};

use super::delivery::Delivery;
use crate::{engine::limits, model::Timestamp, record::ConnectionId};

/// Deliveries by queue offset.
pub(crate) type Deliveries = BTreeMap<i64, Box<Delivery>>;

/// The kind of frame that carries a commit. Each has its own order; between the two, frames overtake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carrier {
    /// The header of a pull request.
    Pull,
    /// UPDATE_CONSUMER_OFFSET.
    Update,
}

/// A committed offset in a frame that was written from `start` to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Commit {
    /// Tells clients of one process apart.
    pub(crate) connection: ConnectionId,
    pub(crate) carrier: Carrier,
    pub(crate) offset: i64,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// The client counts a message when its handler ends, not all of an answer when the last one's does.
    pub(crate) counts_each: bool,
}

/// What a commit came to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Deliveries that it proves finished.
    pub(crate) finished: Deliveries,
    /// It was none of ordinary progress.
    pub(crate) reset: bool,
}

/// A queue as one process and group pulls it.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The connection that it was last pulled on, and its remote address.
    pub(crate) connection: ConnectionId,
    pub(crate) server: Option<SocketAddr>,
    /// When it was last pulled.
    pub(crate) active: Timestamp,
    /// When its open deliveries end, since its connection closed.
    pub(crate) gone: Option<Timestamp>,
    open: Deliveries,
    /// Open, but beyond proof by commits.
    stranded: Deliveries,
    /// Where the next pull continues.
    next: Option<i64>,
    /// Highest position named to this process without interruption.
    horizon: Option<i64>,
    interruption: Option<Interruption>,
    /// Pulling went on below this committed offset, and no other has been committed since.
    stale: Option<i64>,
    /// A pull waits for its answer.
    waiting: bool,
    /// The client starts with the queue anew.
    moved: bool,
    /// When the last answer was read, and on which connection.
    answered: Option<(ConnectionId, Timestamp)>,
    last_pull: Option<Commit>,
    last_update: Option<Commit>,
}

/// A break in the sequence of the pulls that did not go backwards.
#[derive(Clone, Copy, Debug)]
struct Interruption {
    /// The last commit that still proves something about what was delivered before it.
    limit: i64,
    /// Where pulling went on.
    resumed: i64,
}

impl Queue {
    pub(crate) fn new(connection: ConnectionId, server: Option<SocketAddr>, now: Timestamp) -> Queue {
        Queue {
            connection,
            server,
            active: now,
            gone: None,
            open: BTreeMap::new(),
            stranded: BTreeMap::new(),
            next: None,
            horizon: None,
            interruption: None,
            stale: None,
            waiting: false,
            moved: false,
            answered: None,
            last_pull: None,
            last_update: None,
        }
    }

    /// A pull asks for what stands at `offset`. Returns what will be delivered anew.
    pub(crate) fn pulled(&mut self, offset: i64) -> Deliveries {
        // a client has one pull at a time for a queue that it goes on with
        let broken = mem::replace(&mut self.waiting, true) | mem::take(&mut self.moved);
        match self.next.replace(offset) {
            Some(next) if offset < next => {
                self.strand();
                self.horizon = Some(offset);
                let commits = [self.last_pull, self.last_update].into_iter().flatten();
                let latest = commits
                    .max_by_key(|commit| commit.start)
                    .map(|commit| commit.offset);
                self.stale = latest.filter(|committed| *committed > offset);
                return self.stranded.split_off(&offset);
            }
            Some(next) if broken || offset > next => self.interrupt(offset),
            _ => {}
        }
        Deliveries::new()
    }

    /// An answer read at `at`; `next` is where it says that the next pull starts.
    pub(crate) fn answered(&mut self, next: Option<i64>, at: Timestamp) {
        self.waiting = false;
        self.answered = Some((self.connection, at));
        if let Some(next) = next {
            self.next = Some(next);
            self.horizon = self.horizon.max(Some(next));
        }
    }

    /// No answer will come: the client gave up, or its connection closed.
    pub(crate) fn unanswered(&mut self) {
        self.waiting = false;
    }

    /// The client starts with the queue anew: it asked for the committed offset, or an answer corrected its
    /// position. What it had, it dropped.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// The client was told to reset its offset: it drops what it has.
    pub(crate) fn reset(&mut self) {
        self.strand();
    }

    /// A message was delivered. What was open at the same offset comes back: it was delivered anew.
    pub(crate) fn delivered(&mut self, delivery: Box<Delivery>) -> Option<Box<Delivery>> {
        let offset = delivery.message.queue_offset;
        self.horizon = self.horizon.max(offset.checked_add(1));
        let stranded = self.stranded.remove(&offset);
        self.open.insert(offset, delivery).or(stranded)
    }

    /// What a commit proves.
    pub(crate) fn committed(&mut self, commit: Commit) -> Progress {
        let offset = commit.offset;
        let (last, other) = match commit.carrier {
            Carrier::Pull => (&mut self.last_pull, &self.last_update),
            Carrier::Update => (&mut self.last_update, &self.last_pull),
        };
        let last = last.replace(commit);
        // nobody is done with what it only asks for
        let ahead = commit.carrier == Carrier::Pull && self.next.is_some_and(|next| offset > next);
        let ahead = ahead.then_some(offset);
        if last.is_some_and(|last| offset < last.offset) {
            self.stale = ahead;
            // the other kind of frame may have told before
            if other.is_none_or(|other| other.offset != offset) {
                self.strand();
                self.horizon = self.horizon.min(Some(offset));
            }
            return Progress {
                reset: true,
                ..Progress::default()
            };
        }
        match self.stale.max(ahead) {
            Some(stale) if offset <= stale => {
                self.stale = Some(stale);
                return Progress::default();
            }
            _ => self.stale = None,
        }
        if let Some(interruption) = self.interruption
            && offset > interruption.limit
        {
            self.interruption = None;
            self.strand_below(interruption.resumed);
        }
        if self.horizon.is_none_or(|horizon| offset > horizon) {
            let reset = self.horizon.is_some();
            self.strand();
            return Progress {
                reset,
                ..Progress::default()
            };
        }
        let rest = self.open.split_off(&offset);
        let mut finished = mem::replace(&mut self.open, rest);
        // what was delivered while the frame was being written was not meant
        let later = finished.extract_if(.., |_, delivery| delivery.start > commit.start);
        let later: Vec<_> = later.collect();
        self.open.extend(later);
        if let Some(standing) = self.open.get_mut(&offset) {
            let read_after = match commit.carrier {
                Carrier::Pull => self.answered,
                Carrier::Update => last
                    .filter(|l| l.offset == offset)
                    .map(|l| (l.connection, l.start)),
            };
            if let Some((connection, at)) = read_after
                && commit.counts_each
                && connection == commit.connection
                && at <= commit.start
            {
                standing.unfinished = standing.unfinished.max(at.minus(limits::HANDOVER));
            }
        }
        Progress {
            finished,
            reset: false,
        }
    }

    /// Takes out the delivery that fits.
    pub(crate) fn take(&mut self, fits: impl Fn(&Delivery) -> bool) -> Option<Box<Delivery>> {
        for deliveries in [&mut self.open, &mut self.stranded] {
            if let Some(offset) = deliveries
                .iter()
                .find(|(_, d)| fits(d))
                .map(|(offset, _)| *offset)
            {
                return deliveries.remove(&offset);
            }
        }
        None
    }

    /// Takes out what has been open for `ttl`, or everything if the client is gone.
    pub(crate) fn expire(&mut self, now: Timestamp, ttl: Duration) -> impl Iterator<Item = Box<Delivery>> {
        let gone = self.gone.is_some_and(|gone| gone <= now);
        self.take_all(move |delivery| gone || delivery.start.plus(ttl) <= now)
    }

    /// Takes out all that fit.
    pub(crate) fn take_all(
        &mut self,
        fits: impl Fn(&Delivery) -> bool + Copy,
    ) -> impl Iterator<Item = Box<Delivery>> {
        let expired = move |_: &i64, delivery: &mut Box<Delivery>| fits(delivery);
        let (open, stranded) = (&mut self.open, &mut self.stranded);
        open.extract_if(.., expired)
            .chain(stranded.extract_if(.., expired))
            .map(|(_, delivery)| delivery)
    }

    /// Takes out the delivery with the lowest offset.
    pub(crate) fn pop(&mut self) -> Option<Box<Delivery>> {
        let lowest = self.stranded.pop_first().or_else(|| self.open.pop_first());
        lowest.map(|(_, delivery)| delivery)
    }

    /// When something's time is up. Looks at every delivery.
    pub(crate) fn deadline(&self, ttl: Duration) -> Option<Timestamp> {
        let deliveries = self.open.values().chain(self.stranded.values());
        let expires = deliveries.map(|delivery| delivery.start.plus(ttl));
        expires.chain(self.gone).min()
    }

    /// Pulling goes on at `resumed`, for another reason than that the client has got there.
    fn interrupt(&mut self, resumed: i64) {
        let Some(horizon) = self.horizon else { return };
        match self.interruption {
            // nothing was delivered in between
            Some(earlier) if earlier.resumed == resumed => {}
            earlier => {
                if let Some(earlier) = earlier {
                    self.strand_below(earlier.resumed);
                }
                self.interruption = Some(Interruption {
                    limit: horizon.min(resumed.saturating_sub(1)),
                    resumed,
                });
            }
        }
    }

    fn strand(&mut self) {
        self.interruption = None;
        self.stranded.append(&mut self.open);
    }

    fn strand_below(&mut self, offset: i64) {
        let rest = self.open.split_off(&offset);
        self.stranded.append(&mut mem::replace(&mut self.open, rest));
    }
}
