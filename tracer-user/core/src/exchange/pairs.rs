//! Requests and responses of one direction of a connection, paired by `opaque` (§1.4).

use hashlink::LinkedHashMap;

use crate::{engine::limits, model::Timestamp, wire::Frame};

/// Requests that wait for answers, and answers that wait for requests: the records of the two are not always
/// in causal order, and a request may have been lost or sent before the connection was seen.
#[derive(Debug)]
pub(crate) struct Pairs<R> {
    /// In order of arrival, which is the order of the deadlines.
    waiting: LinkedHashMap<i32, Waiting<R>>,
    /// Likewise.
    held: LinkedHashMap<i32, Held>,
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    /// When its first byte was sent. No earlier response answers it.
    pub(crate) sent: Timestamp,
    /// How long it waits.
    pub(crate) deadline: Timestamp,
    /// A response with its number bears an earlier time. It may well be the answer, by a clock that was set back or is
    /// another machine's.
    pub(crate) contradicted: bool,
    /// What is kept of it.
    pub(crate) request: R,
}

#[derive(Debug)]
struct Held {
    deadline: Timestamp,
    frame: Frame,
}

/// What came of a new request.
#[derive(Debug)]
pub(crate) struct Asked<R> {
    /// Its answer, which was there before.
    pub(crate) answer: Option<(R, Frame)>,
    /// A request that had to go: it had the same `opaque`, or was the oldest of too many.
    pub(crate) displaced: Option<Waiting<R>>,
}

/// What came of a response.
#[derive(Debug)]
pub(crate) enum Answered<R> {
    /// It answers this request.
    Paired(R, Frame),
    /// It is held until its request comes; the other one had to go.
    Held {
        /// A response that had the same `opaque`, or was the oldest of too many.
        displaced: Option<Frame>,
    },
}

impl<R> Pairs<R> {
    pub(crate) fn new() -> Pairs<R> {
        Pairs {
            waiting: LinkedHashMap::new(),
            held: LinkedHashMap::new(),
        }
    }

    /// Takes in a request that wants an answer.
    pub(crate) fn ask(&mut self, opaque: i32, mut waiting: Waiting<R>) -> Asked<R> {
        if let Some(held) = self.held.get(&opaque) {
            if held.frame.end < waiting.sent {
                waiting.contradicted = true;
            } else if let Some(held) = self.held.remove(&opaque) {
                return Asked {
                    answer: Some((waiting.request, held.frame)),
                    displaced: None,
                };
            }
        }
        let mut displaced = self.waiting.insert(opaque, waiting);
        if self.waiting.len() > limits::WAITING {
            displaced = self.waiting.pop_front().map(|(_, waiting)| waiting);
        }
        Asked {
            answer: None,
            displaced,
        }
    }

    /// Takes in a response.
    pub(crate) fn answer(&mut self, frame: Frame) -> Answered<R> {
        let opaque = frame.header.opaque;
        if let Some(waiting) = self.waiting.get_mut(&opaque) {
            if frame.end < waiting.sent {
                waiting.contradicted = true;
            } else if let Some(waiting) = self.waiting.remove(&opaque) {
                return Answered::Paired(waiting.request, frame);
            }
        }
        let held = Held {
            deadline: frame.end.plus(limits::HOLD),
            frame,
        };
        let mut displaced = self.held.insert(opaque, held);
        if self.held.len() > limits::HELD {
            displaced = self.held.pop_front().map(|(_, held)| held);
        }
        Answered::Held {
            displaced: displaced.map(|held| held.frame),
        }
    }

    /// Takes out the held answer that `belongs`.
    pub(crate) fn adopt(&mut self, belongs: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let opaque = *self.held.iter().find(|(_, held)| belongs(&held.frame))?.0;
        self.held.remove(&opaque).map(|held| held.frame)
    }

    /// When something's time is up.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.front().map(|(_, waiting)| waiting.deadline);
        let held = self.held.front().map(|(_, held)| held.deadline);
        waiting.into_iter().chain(held).min()
    }

    /// Takes out a request whose time is up.
    pub(crate) fn expired_request(&mut self, now: Timestamp) -> Option<Waiting<R>> {
        self.waiting
            .front()
            .filter(|(_, waiting)| waiting.deadline <= now)?;
        self.oldest_request()
    }

    /// Takes out a held answer whose time is up.
    pub(crate) fn expired_answer(&mut self, now: Timestamp) -> Option<Frame> {
        self.held.front().filter(|(_, held)| held.deadline <= now)?;
        self.oldest_answer()
    }

    /// Takes out the oldest request.
    pub(crate) fn oldest_request(&mut self) -> Option<Waiting<R>> {
        self.waiting.pop_front().map(|(_, waiting)| waiting)
    }

    /// Takes out the oldest held answer.
    pub(crate) fn oldest_answer(&mut self) -> Option<Frame> {
        self.held.pop_front().map(|(_, held)| held.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Header, header::Codec};

    fn waiting(request: usize) -> Waiting<usize> {
        let sent = Timestamp(request as u64);
        Waiting {
            sent,
            deadline: sent.plus(limits::HOLD),
            contradicted: false,
            request,
        }
    }

    fn response(opaque: i32, end: u64) -> Frame {
        let header = format!(r#"{{"code":0,"flag":1,"language":"JAVA","opaque":{opaque},"version":1}}"#);
        let header = Header::parse(Codec::Json, header.into_bytes()).unwrap();
        let end = Timestamp(end);
        Frame {
            start: end,
            end,
            offset: 0,
            length: 0,
            header,
            body: Body::Empty,
            incomplete: false,
        }
    }

    #[test]
    fn the_oldest_of_too_many_goes() {
        let mut pairs = Pairs::new();
        for n in 0..limits::WAITING {
            assert!(pairs.ask(n as i32, waiting(n)).displaced.is_none());
        }
        let asked = pairs.ask(-1, waiting(limits::WAITING));
        assert_eq!(asked.displaced.map(|waiting| waiting.request), Some(0));

        let opaque = |n: usize| -10 - n as i32;
        for n in 0..limits::HELD {
            assert!(matches!(
                pairs.answer(response(opaque(n), 1)),
                Answered::Held { displaced: None }
            ));
        }
        let Answered::Held {
            displaced: Some(frame),
        } = pairs.answer(response(-2, 1))
        else {
            panic!()
        };
        assert_eq!(frame.header.opaque, opaque(0));
    }

    #[test]
    fn deadlines_are_those_of_the_oldest() {
        let mut pairs = Pairs::new();
        assert_eq!(pairs.deadline(), None);
        pairs.ask(1, waiting(10));
        pairs.ask(2, waiting(20));
        pairs.answer(response(3, 5));
        let at = |ns| Timestamp(ns).plus(limits::HOLD);
        assert_eq!(pairs.deadline(), Some(at(5)));
        assert!(pairs.expired_answer(at(4)).is_none());
        assert!(pairs.expired_answer(at(5)).is_some());
        assert!(matches!(pairs.answer(response(1, 15)), Answered::Paired(10, _)));
        assert!(pairs.expired_request(at(19)).is_none());
        assert_eq!(
            pairs.expired_request(at(20)).map(|waiting| waiting.request),
            Some(20)
        );
        assert_eq!(pairs.deadline(), None);
    }
}
