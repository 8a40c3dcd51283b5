//! Kernel side of rmqtrace: at each send and receive of a TCP socket, is it RocketMQ, and if so, copy the bytes.
//!
//! ```text
//! hooks::{socktrace, fentry} → capture::operation → judge → copy (by follow) → emit → ring buffer
//! hooks::process   → filter
//! ```
//!
//! A capture strategy is one small file in `hooks`: which kernel events, and where their arguments are. `socket` is the
//! state that lives with a socket, `follow` the part of it that knows frames.
//!
//! Everything only reads. On any target but bpf this is an empty program, so that plain `cargo build`, `clippy`
//! and `test` of the workspace need no eBPF toolchain and still check this code.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    not(target_arch = "bpf"),
    allow(dead_code, reason = "entry points exist only on bpf")
)]

mod capture;
mod copy;
mod counters;
mod emit;
mod filter;
mod follow;
mod group;
mod hooks;
mod judge;
mod kernel;
mod scratch;
mod socket;
mod source;
mod verifier;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Helpers that read kernel memory are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
