//! The eBPF object: `target/tracer-ebpf.o`, and for other architectures `target/tracer-ebpf-ARCH.o`. The instructions are the same
//! everywhere; registers and system calls, which the program reads, are not.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use testbed::Artifacts;

use crate::{
    arch::Arch,
    console,
    setup::{
        Say,
        ebpf_toolchain::{self, Toolchain},
    },
};

const TARGET: &str = "bpfel-unknown-none";

/// Compiles the kernel side for kernels of an architecture and gives the object's path. It has a target directory of its own: two
/// compilers must not share one.
pub(crate) fn build(artifacts: &Artifacts, arch: Arch) -> Result<PathBuf> {
    let toolchain = ebpf_toolchain::ensure(Say::Changes)?;
    let target = artifacts.target.join("ebpf");
    console::run_quietly(
        cargo(&toolchain)
            .args([
                "build",
                "--release",
                "--locked",
                "--package",
                "tracer-ebpf",
                "--target",
                TARGET,
            ])
            .current_dir(&artifacts.root)
            // The atomic exchange is inline assembly, which is unstable for BPF.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain, arch).join("\u{1f}"))
            .env_remove("RUSTFLAGS"),
        "ebpf",
    )?;
    let built = target.join(TARGET).join("release/tracer-ebpf");
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    let object = match arch {
        Arch::HOST => artifacts.ebpf_object(),
        other => artifacts.target.join(format!("tracer-ebpf-{}.o", other.name())),
    };
    // An object that did not change keeps its time, so that nothing that contains it is built again.
    if fs::read(&object).ok().as_deref() != Some(&bytes) {
        fs::write(&object, bytes).with_context(|| format!("writing {}", object.display()))?;
    }
    Ok(object)
}

fn cargo(toolchain: &Toolchain) -> Command {
    match toolchain {
        Toolchain::Debian { .. } => {
            // rustup's proxies are told apart from Debian's programs by full paths; these variables would bring them back.
            let mut command = Command::new("/usr/bin/cargo");
            command
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO")
                .env("RUSTC", "/usr/bin/rustc");
            command
        }
        Toolchain::Nightly { toolchain, .. } => {
            let mut command = Command::new("rustup");
            command
                .args(["run", toolchain, "cargo", "-Zbuild-std=core"])
                .env_remove("RUSTC");
            command
        }
    }
}

/// BTF maps and `bpf_loop` need debug information and `--btf`; v3 has the atomic exchange (Linux 5.12).
fn flags(toolchain: &Toolchain, arch: Arch) -> Vec<String> {
    let (Toolchain::Debian { linker } | Toolchain::Nightly { linker, .. }) = toolchain;
    vec![
        "--cfg".into(),
        format!("bpf_target_arch=\"{}\"", arch.name()),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        "-Ctarget-cpu=v3".into(),
        format!("-Clinker={}", linker.display()),
    ]
}
