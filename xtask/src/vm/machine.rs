//! One virtual machine, emulated, from its start to its end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{Artifacts, process};

use super::{initramfs::Archive, kernels::Kernel};

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// How long a machine may take. It powers itself off.
const PATIENCE: Duration = Duration::from_secs(600);

/// What every machine has in its initial file system, as one file.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn initial_files(
    artifacts: &Artifacts,
    guest: &Path,
    rmqtrace: &Path,
    captures: &[PathBuf],
    ways: &[PathBuf],
) -> Result<PathBuf> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let mut archive = Archive::new();
    archive.file("init", &read(guest)?);
    archive.file("rmqtrace", &read(rmqtrace)?);
    archive.file("tracer-ebpf.o", &read(&artifacts.ebpf_object())?);
    for (directory, captures) in [("captures", captures), ("ways", ways)] {
        archive.directory(directory);
        for capture in captures {
            let name = capture.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("{directory}/{name}"), &read(capture)?);
        }
    }
    let path = artifacts.target.join("vm/initramfs.cpio");
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, archive.finish())?;
    Ok(path)
}

/// Boots a kernel, lets the guest trace with each of these strategies, and gives what it wrote (see tests/vm/src/runs.rs).
///
/// # Errors
/// The machine did not start, or did not end in time; with the end of its console.
pub(super) fn boot(
    artifacts: &Artifacts,
    kernel: &Kernel,
    files: &Path,
    strategies: &[&str],
) -> Result<Vec<u8>> {
    let file = |name: &str| {
        artifacts
            .target
            .join(format!("vm/{}.{name}", kernel.line.version))
    };
    let (console, outcome) = (file("console"), file("outcome"));
    let arguments = format!(
        "console=ttyS0 quiet panic=-1 RMQTRACE_EBPF_OBJECT=/tracer-ebpf.o -- {}",
        strategies.join(" ")
    );
    let mut machine = Command::new(QEMU)
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "512",
        ])
        .args(["-display", "none", "-no-reboot", "-nodefaults"])
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", outcome.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(files)
        .args(["-append", &arguments])
        .stdin(Stdio::null())
        .stdout(File::create(&console)?)
        .stderr(File::options().append(true).open(&console)?)
        .spawn()
        .with_context(|| format!("starting {QEMU}"))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = machine.try_wait()? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            machine.kill()?;
            machine.wait()?;
            bail!("no end after {} s; {}", PATIENCE.as_secs(), said(&console)?);
        }
        thread::sleep(Duration::from_millis(50));
    };
    let outcome = fs::read(&outcome)?;
    if !status.success() || outcome.is_empty() {
        bail!("{QEMU}: {status}; {}", said(&console)?);
    }
    Ok(outcome)
}

fn said(console: &Path) -> Result<String> {
    let text = String::from_utf8_lossy(&fs::read(console)?).into_owned();
    Ok(format!(
        "{} ends with:\n{}",
        console.display(),
        process::tail(&text)
    ))
}
