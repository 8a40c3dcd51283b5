//! What is known about the two ends of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    model::ProcessId,
    record::ConnectionId,
    wire::{Language, version_text},
};

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
    /// Its IP address as text.
    pub(crate) server_address: Option<Arc<str>>,
    /// Client id from the heartbeat.
    pub(crate) client_id: Option<Arc<str>>,
    /// Language that the client claims.
    pub(crate) language: Option<Language>,
    /// Version ordinal that the client claims.
    pub(crate) version: Option<i32>,
    /// The version that it stands for.
    pub(crate) version_text: Option<Arc<str>>,
    /// This is the broker's end: its frames mirror what the client's end shows.
    pub(crate) mirrored: bool,
}

impl Peer {
    /// Of whom nothing is known yet.
    pub(crate) fn new(connection: ConnectionId, process: ProcessId) -> Peer {
        Peer {
            connection,
            process,
            server: None,
            server_address: None,
            client_id: None,
            language: None,
            version: None,
            version_text: None,
            mirrored: false,
        }
    }

    /// Notes which server it is. Spans tell its address as text, which is made once.
    pub(crate) fn connected_to(&mut self, server: Option<SocketAddr>) {
        self.server = server;
        self.server_address = server.map(|server| server.ip().to_string().into());
    }

    /// Notes what the client claims to be; likewise.
    pub(crate) fn claims(&mut self, language: Language, version: i32) {
        self.language = Some(language);
        self.version = Some(version);
        self.version_text = version_text(version).map(Arc::from);
    }
}
