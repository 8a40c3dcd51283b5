//! `cargo xtask`: everything that is done with this repository. One file per task.

mod arch;
mod bench;
mod build;
mod clean;
mod console;
mod demo;
mod ebpf;
mod fuzz;
mod lint;
mod setup;
mod soak;
mod test;
mod truth;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, try and test rmqtrace. Each task installs what it needs first.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install everything that the other tasks need; says each step
    Setup,
    /// Build the eBPF object and the rmqtrace binary with the object inside
    Build(build::Options),
    /// Real clients and a real broker, traced live in the terminal; until Ctrl-C
    Demo(demo::Options),
    /// Check formatting and run clippy
    Lint,
    /// Format, lint, unit, property and snapshot tests, then end-to-end tests against real RocketMQ
    Test(test::Options),
    /// Fuzz every parser and the engine, ten minutes each
    Fuzz(fuzz::Options),
    /// Every kind of message from every client, compared with what the clients logged; writes docs/accuracy.md
    Truth(truth::Options),
    /// The same recorded clients on several kernels, in virtual machines; writes docs/kernels.md
    Vm(vm::Options),
    /// What rmqtrace costs, beside what others cost; writes docs/performance.md
    Bench(bench::Options),
    /// As much as the broker here takes, for minutes, and not one message without its spans
    Soak(soak::Options),
    /// Remove everything that the other tasks made in the target directory
    Clean(clean::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::everything(),
        Task::Vm(options) => vm::vm(&options),
        Task::Build(options) => build::run(&options),
        Task::Demo(options) => return demo::run(&options),
        Task::Lint => lint::lint(),
        Task::Test(options) => return test::run(&options),
        Task::Truth(options) => return truth::run(&options),
        Task::Fuzz(options) => return fuzz::run(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Clean(options) => clean::clean(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
