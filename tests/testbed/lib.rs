//! Real RocketMQ servers and clients, a real OpenTelemetry Collector and rmqtrace itself, for the demo and the end-to-end tests.
//!
//! Everything listens on loopback at ports that the kernel chose, keeps its files in one directory of the run, and is
//! stopped when its handle is dropped; should this process die first, the kernel kills what it started.
//!
//! | Module | What it runs or reads |
//! |---|---|
//! | [`artifacts`] | where `cargo xtask setup` put jars, programs and the collector |
//! | [`server`] | name server and broker of one version |
//! | [`client`] | the Java and Go programs under [`java/`](java) and [`go/`](go), and their own account of what they did |
//! | [`collector`], [`spans`] | an OpenTelemetry Collector that writes what it gets to a file, and that file |
//! | [`tracer`] | `rmqtrace run` |
//! | [`compare`] | spans against what the clients logged |
//! | [`admin`] | topics |
//! | [`ids`] | the ids that a message's key must give |

pub mod admin;
pub mod artifacts;
pub mod client;
pub mod collector;
pub mod compare;
pub mod ids;
pub mod ports;
pub mod process;
pub mod server;
pub mod spans;
pub mod tracer;
pub mod wait;

pub use artifacts::Artifacts;
pub use client::{Client, Consume, Mode, Send};
pub use collector::Collector;
pub use server::Server;
pub use spans::Span;
pub use tracer::Tracer;
