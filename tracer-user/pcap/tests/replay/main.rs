//! Capture files to spans, and records to files and back. Traffic is that of the engine's own tests.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../core/tests/engine/simulation.rs"]
mod simulation;
#[path = "../../../core/tests/engine/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the engine's tests use more of it")]
mod support;

mod anomalies;
mod capture;
mod files;
mod links;
mod random;
mod recording;
