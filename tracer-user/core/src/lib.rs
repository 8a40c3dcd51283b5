//! The pure part of rmqtrace: bytes of RocketMQ remoting connections in, spans out.
//!
//! One door, [`Engine`]: records go in with [`Engine::handle_record`], time with [`Engine::handle_timeout`],
//! spans come out of [`Engine::poll_output`]. Nothing here does I/O, reads a clock, starts a thread, logs, or
//! panics on input; the same records give the same spans on any machine.
//!
//! ```text
//! record → stream → wire (frames) → exchange (pairs) → lifecycle (fates) → model::Span
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]

pub mod context;
pub mod engine;
pub mod exchange;
mod hex;
pub mod ids;
pub mod lifecycle;
pub mod model;
pub mod record;
pub mod sampling;
pub mod stream;
pub mod wire;

pub use engine::{Config, Engine, Output};
