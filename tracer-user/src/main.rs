//! rmqtrace
mod clock;
mod config;
mod enrich;
mod export;
mod filter;
fn main() {}
