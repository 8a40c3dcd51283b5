//! Capture files in, records for the engine out; and the other way round.
//!
//! ```text
//! File … ─ Timeline ─▶ packets by time ─ packet (link, IP, TCP) ─ tcp (connections, order, loss) ─▶ Record
//!                   └▶ notes of a recording, which carry a Record as it was ──────────────────────▶ Record
//! Recorder: Record ─▶ packets that any reader of capture files understands, with such a note each
//! ```
//!
//! [`Replay`] is the reading door, [`Recorder`] the writing one. Neither reads a clock or knows of spans: what a
//! replay gives to [`tracer_core::Engine`] is what the kernel's ring gives it. Memory is bounded by [`limits`],
//! whatever the files hold; what was left out is in [`Totals`].
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]

mod error;
mod file;
mod fragments;
pub mod limits;
mod mask;
mod note;
mod packet;
mod recorder;
mod replay;
mod tcp;
mod timeline;
mod totals;

pub use error::{Damage, FileError};
pub use note::{Host, ProcessNote};
pub use recorder::Recorder;
pub use replay::{Event, Replay};
pub use timeline::Input;
pub use totals::Totals;
