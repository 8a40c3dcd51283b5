//! The architectures that rmqtrace is built for, and what each tool calls them.

use clap::ValueEnum;

/// An architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arch {
    /// x86-64.
    X86_64,
    /// arm64.
    Aarch64,
}

impl Arch {
    /// Every one.
    pub(crate) const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// This machine's; on a machine that rmqtrace does not run on, x86-64.
    pub(crate) const HOST: Arch = if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else {
        Arch::X86_64
    };

    /// Those that are cross-compiled.
    pub(crate) fn others() -> impl Iterator<Item = Arch> {
        Arch::ALL.into_iter().filter(|&arch| arch != Arch::HOST)
    }

    /// Rust's name, and the kernel side's `bpf_target_arch`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// Debian's name.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// Rust's target for static programs.
    pub(crate) fn static_target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-musl",
            Arch::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }
}

impl ValueEnum for Arch {
    fn value_variants<'a>() -> &'a [Arch] {
        &Arch::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).alias(self.debian()))
    }
}
