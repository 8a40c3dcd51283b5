//! What it takes to build static programs, for this machine's architecture and others: Rust's standard library for the target, and
//! a C compiler, which compiles what `ring` and mimalloc have in C, and links.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::{Say, apt, part};
use crate::{arch::Arch, console};

/// Installs it.
pub(crate) fn ensure(arch: Arch, say: Say) -> Result<()> {
    compiler(arch, say)?;
    let target = arch.static_target();
    let installed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output();
    let installed = installed.context("rustup is needed, for static programs")?;
    let present = String::from_utf8_lossy(&installed.stdout)
        .lines()
        .any(|line| line == target);
    let what = format!("Rust's standard library for {target}");
    part(say, &what, present, || {
        console::run_quietly(
            Command::new("rustup").args(["target", "add", target]),
            "rustup-target",
        )
    })
}

/// For another architecture, GNU's cross compiler: what needs a C library is linked to the one that Rust brings for the target; the
/// headers are another one's, so what those would replace by functions of their own is switched off.
fn compiler(arch: Arch, say: Say) -> Result<()> {
    if arch == Arch::HOST {
        return apt::program(
            "musl-gcc",
            Command::new("musl-gcc").arg("--version"),
            "musl-tools",
            say,
        );
    }
    let (compiler, headers) = (
        gnu(arch, "gcc"),
        format!("/usr/{}/include/stdint.h", gnu_name(arch)),
    );
    let packages = [
        format!("gcc-{}", gnu_name(arch).replace('_', "-")),
        format!("libc6-dev-{}-cross", arch.debian()),
    ];
    let present = console::first_line(Command::new(&compiler).arg("--version")).is_some()
        && Path::new(&headers).exists();
    let what = format!("C compiler for {}", arch.name());
    part(say, &what, present, || {
        if !apt::is_available() {
            bail!(
                "{compiler} or {headers} is missing and cannot be installed here: not root, or no apt. Debian's packages are {}",
                packages.join(" and ")
            );
        }
        apt::install(&packages.each_ref().map(String::as_str))
    })
}

/// Tells cargo and the build scripts which compiler that is.
pub(crate) fn environment(arch: Arch, cargo: &mut Command) {
    if arch == Arch::HOST {
        return;
    }
    let target = arch.static_target().replace('-', "_");
    cargo
        .env(
            format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()),
            gnu(arch, "gcc"),
        )
        .env(format!("CC_{target}"), gnu(arch, "gcc"))
        .env(format!("AR_{target}"), gnu(arch, "ar"))
        .env(format!("CFLAGS_{target}"), "-U_FORTIFY_SOURCE -std=gnu17");
}

fn gnu(arch: Arch, program: &str) -> String {
    format!("{}-{program}", gnu_name(arch))
}

/// GNU's name of the architecture.
fn gnu_name(arch: Arch) -> String {
    format!("{}-linux-gnu", arch.name())
}
