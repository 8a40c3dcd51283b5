//! What is known about the two ends of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::{model::ProcessId, record::ConnectionId, wire::Language};

/// The traced process's end of a connection, as spans tell of it. Shared by everything that began while it was
/// like this.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Peer {
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// Its owner.
    pub(crate) process: ProcessId,
    /// The address that the client connected to; unknown where the connection's start was lost.
    pub(crate) server: Option<SocketAddr>,
    /// Client id from the heartbeat.
    pub(crate) client_id: Option<Arc<str>>,
    /// Language that the client claims.
    pub(crate) language: Option<Language>,
    /// Version ordinal that the client claims.
    pub(crate) version: Option<i32>,
    /// This is the broker's end: its frames mirror what the client's end shows.
    pub(crate) mirrored: bool,
}
