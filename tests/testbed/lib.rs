//! Real RocketMQ servers and clients, a real OpenTelemetry Collector and rmqtrace itself, for the demo and the end-to-end tests.
//!
//! Everything listens on loopback at ports that no other run has, keeps its files in one directory of the run, and is
//! stopped when its handle is dropped; should this process die first, the kernel kills what it started.
//!
//! | Module | What it runs or reads |
//! |---|---|
//! | [`artifacts`] | where `cargo xtask setup` put jars, programs and the collector |
//! | [`server`] | name server and broker of one version |
//! | [`proxy`] | a proxy in cluster mode beside a broker |
//! | [`client`] | the programs under `java/`, `go/`, `python/` (C++), `node/`, `rust/` and `grpc/`, and their own account of what they did |
//! | [`collector`], [`spans`] | an OpenTelemetry Collector that writes what it gets to a file, and that file |
//! | [`jaeger`] | a Jaeger that can be asked for traces and the dependency graph |
//! | [`tracer`], [`totals`] | `rmqtrace run`, and the totals in its log |
//! | [`compare`] | spans against what the clients logged |
//! | [`admin`] | topics |
//! | [`ids`] | the ids that a message's key must give |
//! | [`saturating`] | a Java client that sends or consumes as fast as it can |
//! | [`soak`] | the same with the tracer beside it, and what must come of it |
//! | [`load`], [`frames`] | a program that moves frames as fast as loopback goes, and frames |
//! | [`usage`] | what a process takes of processor and memory |

pub mod admin;
pub mod artifacts;
pub mod client;
pub mod collector;
pub mod compare;
pub mod frames;
pub mod ids;
pub mod jaeger;
pub mod load;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod saturating;
pub mod server;
pub mod soak;
pub mod spans;
mod store;
pub mod totals;
pub mod tracer;
pub mod usage;
pub mod wait;

pub use artifacts::Artifacts;
pub use client::{Client, Consume, Mode, Send};
pub use collector::Collector;
pub use jaeger::Jaeger;
pub use load::Load;
pub use proxy::Proxy;
pub use saturating::Saturating;
pub use server::Server;
pub use spans::Span;
pub use tracer::Tracer;
