//! What all tests share: the two brokers, each started when a test first needs it.

use std::{
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Result, anyhow};
use testbed::{
    Artifacts, Client, Server,
    artifacts::SERVER_VERSIONS,
    client::{self, Library},
};

/// The newest server; tests that are not about versions use it.
pub(crate) const NEWEST: &str = SERVER_VERSIONS[0];

/// Shared by all tests.
pub(crate) struct World {
    pub(crate) artifacts: Artifacts,
    dir: OnceLock<PathBuf>,
    servers: [OnceLock<Result<Server, String>>; SERVER_VERSIONS.len()],
    starting: Mutex<()>,
    names: AtomicU32,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            artifacts: Artifacts::locate(),
            dir: OnceLock::new(),
            servers: Default::default(),
            starting: Mutex::new(()),
            names: AtomicU32::new(0),
        }
    }

    /// Directory of this run's files.
    pub(crate) fn dir(&self) -> Result<&PathBuf> {
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dir.get().is_none() {
            let _ = self.dir.set(self.artifacts.run_directory("e2e")?);
        }
        self.dir.get().ok_or_else(|| anyhow!("no directory"))
    }

    /// The name server and broker of a version.
    pub(crate) fn server(&self, version: &'static str) -> Result<&Server> {
        let dir = self.dir()?;
        let index = SERVER_VERSIONS
            .iter()
            .position(|v| *v == version)
            .ok_or_else(|| anyhow!("no server {version}"))?;
        self.servers[index]
            .get_or_init(|| {
                Server::start(&self.artifacts, version, dir).map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow!("server {version}: {error}"))
    }

    /// A name that nobody has used, not even another run of the tests at the same time: for topics, groups and files.
    pub(crate) fn fresh(&self, prefix: &str) -> String {
        format!(
            "{prefix}{}{}",
            self.mark(),
            self.names.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// What all names of this run have inside.
    fn mark(&self) -> String {
        format!("-{}-", std::process::id())
    }

    /// Whether a topic is one of this run's. A tracer also sees what else happens on the machine.
    pub(crate) fn owns(&self, topic: &str) -> bool {
        topic.contains(&self.mark())
    }

    /// A fresh topic with four queues.
    pub(crate) fn topic(&self, server: &Server, prefix: &str) -> Result<String> {
        let topic = self.fresh(prefix);
        server.create_topics(&[&topic], 4)?;
        Ok(topic)
    }

    /// A client program.
    pub(crate) fn client(&self, library: Library, server: &Server, purpose: &str) -> Result<Client> {
        self.client_with(library, server, purpose, client::Options::default())
    }

    /// Likewise, with options.
    pub(crate) fn client_with(
        &self,
        library: Library,
        server: &Server,
        purpose: &str,
        options: client::Options<'_>,
    ) -> Result<Client> {
        let name = self.fresh(&format!("{purpose}-{}", library.name()));
        Client::start_with(
            &self.artifacts,
            library,
            server.name_server,
            self.dir()?,
            &name,
            options,
        )
    }
}
