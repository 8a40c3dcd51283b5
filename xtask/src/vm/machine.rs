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
use crate::arch::Arch;

/// How long a machine may take. It powers itself off.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is particular to the machines of an architecture.
pub(super) struct Emulator {
    /// The program.
    pub(super) program: &'static str,
    /// Debian's package that has it.
    pub(super) package: &'static str,
    /// Board, and what it does not have by itself.
    board: &'static [&'static str],
    /// Serial line of the kernel's console.
    console: &'static str,
    /// Serial line of the outcome.
    outcome: &'static str,
    /// The device of that line, behind which stands the file.
    outcome_device: &'static [&'static str],
}

impl Emulator {
    /// That of an architecture.
    pub(super) fn of(arch: Arch) -> Emulator {
        match arch {
            Arch::X86_64 => Emulator {
                program: "qemu-system-x86_64",
                package: "qemu-system-x86",
                board: &["-cpu", "max"],
                console: "ttyS0",
                outcome: "/dev/ttyS1",
                outcome_device: &["-serial", "chardev:outcome"],
            },
            // The board has one serial line; the other is at its PCI bus. Pointer authentication by the algorithm of the
            // architecture takes an emulator more time than everything else.
            Arch::Aarch64 => Emulator {
                program: "qemu-system-aarch64",
                package: "qemu-system-arm",
                board: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
                console: "ttyAMA0",
                outcome: "/dev/ttyS0",
                outcome_device: &["-device", "pci-serial,chardev=outcome"],
            },
        }
    }
}

/// What every machine has in its initial file system, as one file.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn initial_files(
    artifacts: &Artifacts,
    arch: Arch,
    guest: &Path,
    rmqtrace: &Path,
    captures: &[PathBuf],
    ways: &[PathBuf],
) -> Result<PathBuf> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let mut archive = Archive::new();
    archive.file("init", &read(guest)?);
    archive.file("rmqtrace", &read(rmqtrace)?);
    for (directory, captures) in [("captures", captures), ("ways", ways)] {
        archive.directory(directory);
        for capture in captures {
            let name = capture.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("{directory}/{name}"), &read(capture)?);
        }
    }
    let path = artifacts
        .target
        .join(format!("vm/{}.initramfs.cpio", arch.name()));
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
    let file = |name: &str| artifacts.target.join(format!("vm/{}.{name}", kernel.line.name()));
    let (console, outcome) = (file("console"), file("outcome"));
    let emulator = Emulator::of(kernel.line.arch);
    // what is neither the kernel's nor behind `--` becomes the environment of the first process
    let arguments = format!(
        "console={} quiet panic=-1 OUTCOME={} -- {}",
        emulator.console,
        emulator.outcome,
        strategies.join(" ")
    );
    let mut machine = Command::new(emulator.program)
        .args(emulator.board)
        .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "512"])
        .args(["-display", "none", "-no-reboot", "-nodefaults"])
        .args(["-serial", "stdio", "-chardev"])
        .arg(format!("file,id=outcome,path={}", outcome.display()))
        .args(emulator.outcome_device)
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(files)
        .args(["-append", &arguments])
        .stdin(Stdio::null())
        .stdout(File::create(&console)?)
        .stderr(File::options().append(true).open(&console)?)
        .spawn()
        .with_context(|| format!("starting {}", emulator.program))?;
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
        bail!("{}: {status}; {}", emulator.program, said(&console)?);
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
