//! rmqtrace
fn main() {}
