//! What the engine's tests share: frames, scripts of records, and a text form of spans.

mod frames;
mod render;
mod script;
mod semconv;

pub(crate) use frames::*;
pub(crate) use render::{brief, full};
pub(crate) use script::{Conn, Event, Script, WALL_MS, run, spans_of};
pub(crate) use semconv::{check, known_attributes, problems};

/// Ids in the form that clients make.
pub(crate) const K1: &str = "7F0000010A1B18B4AAC2012345670000";
pub(crate) const K2: &str = "7F0000010A1B18B4AAC2012345670001";
pub(crate) const K3: &str = "7F0000010A1B18B4AAC2012345670002";
pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
