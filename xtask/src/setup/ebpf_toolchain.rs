//! A compiler for the kernel side: one that has `core` for the BPF target, and a linker for the same LLVM.
//!
//! Two ways. Debian's `rustc-web` comes with a prebuilt `core` and brings the libLLVM that `bpf-linker` is then linked
//! to, so nothing of LLVM is compiled and no headers are needed. Elsewhere a nightly toolchain with `rust-src` compiles
//! `core` itself; its LLVM and that of the `bpf-linker` in `PATH` must be the same major version.

use std::{
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use testbed::Artifacts;

use super::{Say, apt, part};
use crate::console;

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";
const LINKER_VERSION: &str = "0.13.0";

/// Versions of LLVM that `bpf-linker` can be built for.
const LINKER_LLVM: [&str; 3] = ["21", "22", "23"];

/// How to build the kernel side.
#[derive(Clone, Debug)]
pub(crate) enum Toolchain {
    /// Debian's compiler, which has `core` for BPF.
    Debian {
        /// `bpf-linker`.
        linker: PathBuf,
    },
    /// A rustup toolchain that compiles `core` itself.
    Nightly {
        /// `bpf-linker`.
        linker: PathBuf,
        /// Name of the toolchain.
        toolchain: String,
    },
}

/// Finds a toolchain, or installs Debian's.
pub(crate) fn ensure(say: Say) -> Result<Toolchain> {
    let debian = Path::new(DEBIAN_CORE).exists() && Path::new(DEBIAN_RUSTC).exists();
    let installable = || anyhow::Ok(apt::is_available() && apt::knows(PACKAGES[0])?);
    if !debian && !installable()? {
        return nightly(say);
    }
    part(say, "Debian's Rust compiler with the BPF target", debian, || {
        apt::install(&PACKAGES)
    })?;
    let linker = linker(say)?;
    Ok(Toolchain::Debian { linker })
}

/// `bpf-linker`, built once against the libLLVM that Debian's compiler uses.
fn linker(say: Say) -> Result<PathBuf> {
    let cache = Artifacts::locate().cache;
    let root = cache.join("bpf-linker");
    let linker = root.join("bin/bpf-linker");
    let works = console::first_line(Command::new(&linker).arg("--version"))
        .is_some_and(|version| version.contains(LINKER_VERSION));
    part(say, &format!("bpf-linker {LINKER_VERSION}"), works, || {
        let (library, major) = debian_llvm()?;
        let llvm = cache.join(format!("llvm{major}"));
        let link = llvm.join("lib/libLLVM.so");
        std::fs::create_dir_all(llvm.join("lib"))?;
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link)?;
        }
        symlink(library, link)?;
        let feature = format!("llvm-{major}");
        console::run_quietly(
            Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args([
                    "install",
                    "bpf-linker",
                    "--version",
                    LINKER_VERSION,
                    "--locked",
                    "--force",
                ])
                .args(["--no-default-features", "--features", &feature, "--root"])
                .arg(&root)
                .env("LLVM_PREFIX", &llvm)
                .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
                .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
                .env_remove("CARGO_TARGET_DIR"),
            "bpf-linker",
        )
    })?;
    Ok(linker)
}

/// The shared library of the LLVM that Debian's compiler was built with, and its major version.
fn debian_llvm() -> Result<(PathBuf, String)> {
    let version = llvm_version(Command::new(DEBIAN_RUSTC))?;
    let major = version.split('.').next().unwrap_or_default().to_owned();
    let prefix = format!("libLLVM.so.{major}.");
    for dir in [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                return Ok((entry.path(), major));
            }
        }
    }
    bail!("no {prefix}* found, the library of {DEBIAN_RUSTC} (LLVM {version})")
}

fn llvm_version(mut rustc: Command) -> Result<String> {
    let output = rustc.arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .map(str::to_owned)
        .context("rustc -vV names no LLVM version")
}

/// The other way; says what to install when it is not there.
fn nightly(say: Say) -> Result<Toolchain> {
    let toolchain = env::var("RMQTRACE_NIGHTLY").unwrap_or_else(|_| "nightly".to_owned());
    let rustc = || {
        let mut command = Command::new("rustup");
        command.args(["run", &toolchain, "rustc"]);
        command
    };
    let sysroot = console::first_line(rustc().args(["--print", "sysroot"]));
    let source = sysroot.map(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core"));
    if !source.is_some_and(|source| source.exists()) {
        bail!(
            "no compiler for the kernel side. Install one of the two:\n  \
             - on Debian, as root: apt-get install {}\n  \
             - elsewhere: rustup toolchain install {toolchain} --component rust-src",
            PACKAGES.join(" ")
        );
    }
    let version = llvm_version(rustc())?;
    let major = version.split('.').next().unwrap_or_default();
    let linker = env::var_os("BPF_LINKER").map_or_else(|| PathBuf::from("bpf-linker"), PathBuf::from);
    if console::first_line(Command::new(&linker).arg("--version")).is_none() {
        let hint = if LINKER_LLVM.contains(&major) {
            format!(
                "cargo install bpf-linker --version {LINKER_VERSION} --locked --no-default-features --features llvm-{major}"
            )
        } else {
            format!(
                "a nightly with LLVM {} (set RMQTRACE_NIGHTLY to its name)",
                LINKER_LLVM.join(", ")
            )
        };
        bail!("no bpf-linker in PATH nor in BPF_LINKER; toolchain {toolchain} has LLVM {version}: {hint}");
    }
    part(
        say,
        &format!("Rust toolchain {toolchain} with rust-src (LLVM {version})"),
        true,
        || Ok(()),
    )?;
    Ok(Toolchain::Nightly { linker, toolchain })
}
