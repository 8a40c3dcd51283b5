//! The engine from records to spans. A case is a script of frames; its spans are shown by a snapshot.

mod client_trace;
mod connections;
mod deliveries;
mod dialects;
mod direct;
mod evidence;
mod limits;
mod pops;
mod random;
mod recalls;
mod receives;
mod replies;
mod semconv;
mod sends;
mod settles;
mod simulation;
mod support;
mod transactions;
