//! What the benches and the guards of instruction counts work on: frames as real clients and brokers made them, and
//! traffic in the form in which the kernel side records it.

pub mod decode;
pub mod frames;
pub mod hot;
pub mod traffic;
