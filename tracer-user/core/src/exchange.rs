//! A connection: whose end of it is seen, what its client said about itself, and which response answers which
//! request.
//!
//! Both ends send requests on one connection, numbered independently (§1.4), so pairs are kept for each
//! direction of the request. Which end the traced process is follows from how the connection was made, where
//! the source saw it, else from the first frame that only one end sends (§2.3, §2.5); never from a port.

pub(crate) mod connection;
pub(crate) mod pairs;
pub(crate) mod peer;

pub(crate) use connection::Connection;
pub(crate) use peer::Peer;

use tracer_abi::Direction;

use crate::wire::{Body, Frame, Header, RequestCode};

/// Which end of a connection the traced process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It sends client requests.
    Client,
    /// It answers them: a broker, a name server, a proxy.
    Server,
}

impl Side {
    /// The way that client requests go.
    pub(crate) fn requests(self) -> Direction {
        match self {
            Side::Client => Direction::SEND,
            Side::Server => Direction::RECV,
        }
    }
}

/// The other way.
pub(crate) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::SEND => Direction::RECV,
        _ => Direction::SEND,
    }
}

/// Which end sent a frame, where the frame tells. `body` is given where it is known.
pub fn sender(header: &Header, body: Option<&Body>) -> Option<Side> {
    if header.is_response() {
        // only servers answer with messages or with positions in a queue
        let served = matches!(body, Some(Body::Messages(_))) || header.int("nextBeginOffset").is_some();
        return served.then_some(Side::Server);
    }
    Some(match header.request_code() {
        RequestCode::CHECK_TRANSACTION_STATE
        | RequestCode::NOTIFY_CONSUMER_IDS_CHANGED
        | RequestCode::RESET_CONSUMER_CLIENT_OFFSET
        | RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT
        | RequestCode::GET_CONSUMER_RUNNING_INFO
        | RequestCode::CONSUME_MESSAGE_DIRECTLY
        | RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT
        | RequestCode::NOTIFY_UNSUBSCRIBE_LITE => Side::Server,
        _ => Side::Client,
    })
}

/// Which end the traced process is, by a frame that went `direction`.
pub(crate) fn side_by_frame(direction: Direction, frame: &Frame) -> Option<Side> {
    let sender = sender(&frame.header, Some(&frame.body))?;
    Some(match (sender, direction) {
        (Side::Client, Direction::SEND) | (Side::Server, Direction::RECV) => Side::Client,
        _ => Side::Server,
    })
}
