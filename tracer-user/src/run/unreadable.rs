//! Connections over which messages may travel unseen: TLS, and gRPC as HTTP/2.
//!
//! The kernel side tells of every connection that a process opens and that carries either. Most have nothing to do with
//! RocketMQ. One is of interest where there is a reason: its other end is known as a RocketMQ server, since somebody
//! speaks remoting to it, or its process holds a RocketMQ client library. Such a connection is counted and, once for each
//! process and protocol, told of. No span is made up.

use std::{fmt, net::SocketAddr};

use hashlink::LruCache;
use tracer_abi::Protocol;
use tracer_core::record::Foreign;

/// Servers that are remembered; the one spoken to longest ago is forgotten.
const SERVERS: usize = 4096;
/// Processes that are remembered; likewise.
const PROCESSES: usize = 4096;

/// What is known so far.
#[derive(Debug)]
pub(super) struct Unreadable {
    servers: LruCache<SocketAddr, ()>,
    processes: LruCache<u32, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    start_ticks: Option<u64>,
    connections: u64,
    library: Option<String>,
    told: Vec<Protocol>,
}

/// Why a connection is of interest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Somebody speaks remoting to the same address.
    Server,
    /// The process holds this library.
    Library(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Server => f.write_str("others speak RocketMQ remoting to this address"),
            Reason::Library(name) => write!(f, "the process holds {name}"),
        }
    }
}

impl Unreadable {
    pub(super) fn new() -> Unreadable {
        Unreadable {
            servers: LruCache::new(SERVERS),
            processes: LruCache::new(PROCESSES),
        }
    }

    /// Somebody speaks remoting to this address.
    pub(super) fn server(&mut self, address: SocketAddr) {
        self.servers.insert(address, ());
    }

    /// Why this connection is of interest, and whether that is yet to be told. `start_ticks` tells processes of one id
    /// apart; `library` looks for a library, which costs some hundred microseconds.
    pub(super) fn look(
        &mut self,
        foreign: &Foreign,
        start_ticks: Option<u64>,
        library: impl FnOnce() -> Option<String>,
    ) -> Option<(Reason, bool)> {
        let pid = foreign.open.process.0;
        let seen = self.processes.entry(pid).or_insert_with(Seen::default);
        if seen.start_ticks != start_ticks {
            *seen = Seen {
                start_ticks,
                ..Seen::default()
            };
        }
        seen.connections += 1;
        // the library may be loaded after other connections were made; of many connections few are looked at
        if seen.library.is_none() && seen.connections.is_power_of_two() {
            seen.library = library();
        }
        let reason = if self.servers.contains_key(&foreign.open.remote) {
            Reason::Server
        } else {
            Reason::Library(seen.library.clone()?)
        };
        let first = !seen.told.contains(&foreign.protocol);
        if first {
            seen.told.push(foreign.protocol);
        }
        Some((reason, first))
    }
}

#[cfg(test)]
mod tests {
    use tracer_abi::Role;
    use tracer_core::{
        model::{ProcessId, Timestamp},
        record::{ConnectionId, Open},
    };

    use super::*;

    fn foreign(pid: u32, port: u16, protocol: Protocol) -> Foreign {
        Foreign {
            open: Open {
                connection: ConnectionId(1),
                process: ProcessId(pid),
                time: Timestamp(0),
                local: SocketAddr::from(([127, 0, 0, 1], 40_000)),
                remote: SocketAddr::from(([127, 0, 0, 1], port)),
                netns: 0,
                role: Role::CLIENT,
                from_start: true,
            },
            protocol,
        }
    }

    #[test]
    fn a_reason_is_told_once_for_each_process_and_protocol() {
        let mut table = Unreadable::new();
        let library = || Some("librocketmq.so".to_owned());
        let reason = || Reason::Library("librocketmq.so".to_owned());
        let tls = foreign(7, 10_911, Protocol::TLS);
        assert_eq!(table.look(&tls, Some(1), || None), None);
        assert_eq!(table.look(&tls, Some(1), library), Some((reason(), true)));
        assert_eq!(
            table.look(&tls, Some(1), || panic!("known")),
            Some((reason(), false))
        );
        let http2 = foreign(7, 8081, Protocol::HTTP2);
        assert_eq!(table.look(&http2, Some(1), || None), Some((reason(), true)));
        // another process of the same id
        assert_eq!(table.look(&tls, Some(2), || None), None);
        table.server(tls.open.remote);
        assert_eq!(table.look(&tls, Some(2), || None), Some((Reason::Server, true)));
        assert_eq!(table.look(&http2, Some(2), || None), None);
    }

    #[test]
    fn few_of_many_connections_are_looked_at() {
        let mut table = Unreadable::new();
        let mut looks = 0;
        for _ in 0..1000 {
            let none = || {
                looks += 1;
                None
            };
            assert_eq!(table.look(&foreign(7, 443, Protocol::TLS), Some(1), none), None);
        }
        assert_eq!(looks, 10);
    }
}
