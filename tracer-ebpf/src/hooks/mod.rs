//! The entry points: which kernel event, and where its arguments are. Each is thin; the work is in
//! [`crate::capture`].

mod connection;
mod fentry;
mod process;
mod socktrace;
