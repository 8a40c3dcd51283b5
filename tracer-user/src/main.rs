//! rmqtrace
mod config;
fn main() {}
