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

/// Something that not every program of ours can be told to do with its library.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feature {
    /// Sends in one of the modes.
    Send(Mode),
    /// Sends batches that the broker takes for several messages.
    Batch,
    /// Sends batches that the broker takes for one message.
    LumpedBatch,
    /// Delayed by a level.
    DelayLevel,
    /// Delivered at a moment.
    DeliveryTime,
    /// Compresses large bodies.
    Compress,
    /// Puts properties of any name into messages.
    Context,
    /// Traces its own calls to `RMQ_SYS_TRACE_TOPIC`.
    MessageTrace,
    /// Push consumer with a handler that is called concurrently.
    PushConcurrent,
    /// Push consumer with a handler that gets the messages of a queue one after another.
    PushOrderly,
    /// Push consumer with a handler that gets several messages at once.
    PushSeveral,
    /// A handler can ask for another delivery ([`Consume::failing`](super::Consume::failing)).
    Retry,
    /// Tells the broker after how many attempts a message becomes a dead letter.
    MaxRetries,
    /// Pull consumer that polls, and commits by itself.
    LitePull,
    /// The same with queues that it chooses, or commits when it wants.
    LitePullByHand,
    /// Pull consumer of single pulls.
    Pull,
    /// Pull consumer with a schedule.
    SchedulePull,
    /// Pulls queues assigned by the broker.
    BrokerAssignment,
    /// Pops.
    Pop,
    /// Sends and consumes batches that the broker keeps as they are.
    InnerBatch,
    /// Finds the queues of a static topic.
    StaticTopic,
    /// Every process gets every message.
    Broadcast,
    /// Messages chosen by an expression over their properties.
    SqlFilter,
    /// Begins with the last message or with a point in time.
    StartingPoint,
    /// Sets its offsets as an administrator says.
    ResetOffset,
    /// Consumes a message because an administrator says so.
    DirectConsumption,
    /// Can be paused.
    Pause,
    /// Shares queues with another process of its group.
    Rebalance,
    /// Tells when a handler begins.
    Begins,
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

    /// Whether its program can do this.
    pub fn can(self, feature: Feature) -> bool {
        self.lacks(feature).is_none()
    }

    /// Why its program cannot do this; `None` if it can. The page of accuracy shows the reasons.
    pub fn lacks(self, feature: Feature) -> Option<&'static str> {
        use Feature::{LumpedBatch, PushConcurrent, Retry, Send};

        match (self, feature) {
            (_, Send(Mode::Sync) | PushConcurrent | Retry) => None,
            (Library::Cpp, LumpedBatch) => None,
            (_, LumpedBatch) => Some("its batches are batches to the broker"),
            (Library::Java(version), Send(Mode::Recall)) if version.starts_with('4') => {
                Some("the release is older than recalls")
            }
            (Library::Java(version), Feature::BrokerAssignment | Feature::Pop)
                if version.starts_with('4') =>
            {
                Some("queues that the broker assigns came with 5.0")
            }
            (Library::Java(version), _) if version.starts_with('5') => None,
            (_, Feature::InnerBatch | Feature::StaticTopic) => {
                Some("topics of this kind came with Java's 5.x client")
            }
            (Library::Java(_), _) => None,
            (Library::Go, feature) => go_lacks(feature),
            (Library::Cpp, feature) => cpp_lacks(feature),
            (Library::Node, feature) => node_lacks(feature),
            (Library::Rust, Feature::Pull | Feature::SchedulePull) => Some(
                "its pull consumer also pulls each queue by itself, so that messages come twice, and commits no offsets: \
                 nothing could tell of an end",
            ),
            (Library::Rust, _) => None,
            (Library::Grpc, _) => Some("it does not speak the remoting protocol"),
        }
    }

    /// Whether it works with a server of this version. `rocketmq-client-rust` 1.0.0 cannot read the routes of a 4.9 name
    /// server: it wants a member of 5.x (`enableActingMaster`) in each broker's entry.
    pub fn works_with(self, server: &str) -> bool {
        self != Library::Rust || !server.starts_with('4')
    }

    /// How often it sends a message that the broker refuses. C++'s client does so by itself, each time with another
    /// UNIQ_KEY, of which its program sees the last.
    pub fn attempts(self) -> usize {
        if self == Library::Cpp { 3 } else { 1 }
    }

    /// Whether its sends carry a UNIQ_KEY that the client made and that its program knows as the message's id.
    pub fn makes_keys(self) -> bool {
        !matches!(self, Library::Node)
    }
}

fn go_lacks(feature: Feature) -> Option<&'static str> {
    match feature {
        Feature::Send(Mode::Recall) => Some("the release is older than recalls"),
        Feature::BrokerAssignment | Feature::Pop => {
            Some("the release has neither POP nor assignments by the broker")
        }
        Feature::LitePullByHand | Feature::Pull | Feature::SchedulePull => {
            Some("its one pull consumer polls, subscribes and commits by itself")
        }
        _ => None,
    }
}

/// The wheel has release 1.2.3 and its interface for C.
fn cpp_lacks(feature: Feature) -> Option<&'static str> {
    use Feature::{
        Begins, Broadcast, Compress, Context, DelayLevel, DeliveryTime, PushOrderly, Rebalance, ResetOffset,
        Send,
    };
    use Mode::{Async, Batch, OneWay, Ordered, Recall, Request, Transaction};

    match feature {
        Send(Async | Batch | OneWay | Ordered)
        | Begins
        | Broadcast
        | Compress
        | Context
        | DelayLevel
        | DeliveryTime
        | PushOrderly
        | Rebalance
        | ResetOffset => None,
        Feature::Batch => {
            Some("the broker takes its batches for one message, which is a scenario of its own")
        }
        Send(Transaction) => Some("transactions came with release 1.2.4"),
        Send(Request) => Some("no release before 2.1 has requests"),
        Send(Recall) => Some("the release is older than recalls"),
        Feature::MaxRetries => Some("its interface for C does not have the setting"),
        Feature::PushSeveral => Some("its interface for C calls the handler for each message"),
        Feature::Pull => Some("its pull consumer commits no offsets: nothing could tell of an end"),
        Feature::StartingPoint => Some("its interface for C does not have the setting"),
        Feature::DirectConsumption => Some("it does not answer the request"),
        Feature::SqlFilter => Some("its heartbeat knows tags only"),
        _ => Some("the library does not have it"),
    }
}

fn node_lacks(feature: Feature) -> Option<&'static str> {
    use Feature::{
        Begins, Broadcast, Compress, Context, DelayLevel, DeliveryTime, MaxRetries, Rebalance, Send,
        SqlFilter, StartingPoint,
    };

    match feature {
        Send(Mode::Ordered) | Begins | Broadcast | Compress | Context | DelayLevel | DeliveryTime
        | MaxRetries | Rebalance | SqlFilter | StartingPoint => None,
        Send(Mode::Transaction) => Some("it can send half messages, but neither end them nor be asked"),
        Send(_) | Feature::Batch => Some("its one way of sending takes a message and waits for the answer"),
        Feature::ResetOffset | Feature::DirectConsumption => Some("it answers no request of a broker"),
        Feature::PushSeveral => Some("its handler gets one message"),
        _ => Some("the library does not have it"),
    }
}
