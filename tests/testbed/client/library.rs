//! The client libraries, and what each of them can do.

use super::Mode;

/// A client library and its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Library {
    /// `org.apache.rocketmq:rocketmq-client` of this version.
    Java(&'static str),
    /// `github.com/apache/rocketmq-client-go/v2`.
    Go,
    /// The C++ client, inside the Python package `rocketmq`.
    Cpp,
    /// `ali-ons`, a client in pure JavaScript.
    Node,
    /// `rocketmq-client-rust`.
    Rust,
    /// `org.apache.rocketmq:rocketmq-client-java`: gRPC, through a proxy. Not a remoting client.
    Grpc,
}

/// Something that a program of ours can be told to do with its library.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feature {
    /// Sends in one of the modes.
    Send(Mode),
    /// Delayed by a level.
    DelayLevel,
    /// Compresses large bodies.
    Compress,
    /// Push consumer with a handler that is called concurrently.
    PushConcurrent,
    /// Push consumer with a handler that gets the messages of a queue one after another.
    PushOrderly,
    /// A handler can ask for another delivery ([`Consume::failing`](super::Consume::failing)).
    Retry,
    /// TLS on its connections ([`Options::tls`](super::Options::tls)).
    Tls,
}

impl Library {
    /// The remoting clients: every one at the version that is pinned here.
    pub fn remoting() -> impl Iterator<Item = Library> {
        crate::artifacts::CLIENT_VERSIONS
            .map(Library::Java)
            .into_iter()
            .chain([Library::Go, Library::Cpp, Library::Node, Library::Rust])
    }

    /// For names of tests, directories and groups.
    pub fn name(self) -> String {
        match self {
            Library::Java(version) => format!("java-{version}"),
            Library::Go => "go".to_owned(),
            Library::Cpp => "cpp".to_owned(),
            Library::Node => "node".to_owned(),
            Library::Rust => "rust".to_owned(),
            Library::Grpc => "grpc".to_owned(),
        }
    }

    /// What it says about itself in its frames. `ali-ons` says that it is Java.
    pub fn language(self) -> &'static str {
        match self {
            Library::Java(_) | Library::Node | Library::Grpc => "JAVA",
            Library::Go => "GO",
            Library::Cpp => "CPP",
            Library::Rust => "RUST",
        }
    }

    /// Whether its program can do this. A C++ batch is none to the broker, which stores it as one message: the program
    /// sends it all the same, and says one message.
    pub fn can(self, feature: Feature) -> bool {
        use Feature::{Compress, DelayLevel, PushConcurrent, PushOrderly, Retry, Send};
        use Mode::{Async, Batch, OneWay, Ordered, Recall, Request, Sync, Transaction};

        let everybody = matches!(feature, Send(Sync) | PushConcurrent | Retry);
        let more = match self {
            Library::Java(version) => feature != Send(Recall) || !version.starts_with('4'),
            Library::Go => matches!(
                feature,
                Send(Async | OneWay | Batch | Ordered | Transaction | Request)
                    | DelayLevel
                    | Compress
                    | PushOrderly
            ),
            Library::Cpp | Library::Rust => {
                matches!(
                    feature,
                    Send(Async | OneWay | Batch | Ordered) | DelayLevel | Compress | PushOrderly
                )
            }
            Library::Node => matches!(feature, Send(Ordered) | DelayLevel | Compress),
            Library::Grpc => false,
        };
        everybody || more
    }

    /// Whether it works with a server of this version. `rocketmq-client-rust` 1.0.0 cannot read the routes of a 4.9 name
    /// server: it wants a member of 5.x (`enableActingMaster`) in each broker's entry.
    pub fn works_with(self, server: &str) -> bool {
        self != Library::Rust || !server.starts_with('4')
    }

    /// Whether its sends carry a UNIQ_KEY that the client made and that its program knows as the message's id.
    pub fn makes_keys(self) -> bool {
        !matches!(self, Library::Node)
    }
}
