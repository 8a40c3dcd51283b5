//! The first process of a virtual machine: makes it habitable, runs, tells the outcome, switches it off.

use std::{
    env,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{Error, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{net, runs};

/// The variable with the serial line for the outcome; another one is the console's.
const OUTCOME: &str = "OUTCOME";
/// Where the initial file system has the tracer.
const RMQTRACE: &str = "/rmqtrace";
/// And the captures.
const CAPTURES: &str = "/captures";
/// And the one for each way of moving bytes, in the order of their names.
const WAYS: &str = "/ways";

/// Does all of it, with the strategies that the kernel's command line names behind `--`. Does not return.
pub(crate) fn main(strategies: &[String]) -> ! {
    if let Err(error) = habitable().and_then(|()| run(strategies)) {
        eprintln!("guest: {error:#}");
    }
    // SAFETY: take no pointer.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    // the end of the first process is a panic of the kernel, which ends the machine too
    std::process::exit(1)
}

fn habitable() -> Result<()> {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
    ] {
        fs::create_dir_all(place)?;
        mount(kind, place).with_context(|| format!("mounting {kind} at {place}"))?;
    }
    Ok(net::loopback_up()?)
}

fn mount(kind: &str, place: &str) -> Result<()> {
    let (kind, place) = (CString::new(kind)?, CString::new(place)?);
    // SAFETY: all texts end with a zero and live on; no data.
    let failed =
        unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) } != 0;
    let error = Error::last_os_error();
    // the kernel itself may have mounted it
    ensure!(!failed || error.raw_os_error() == Some(libc::EBUSY), error);
    Ok(())
}

fn run(strategies: &[String]) -> Result<()> {
    let (captures, ways) = (files(CAPTURES)?, files(WAYS)?);
    let mut line = serial()?;
    runs::all(
        Path::new(RMQTRACE),
        Path::new("/tmp"),
        strategies,
        runs::Files {
            captures: &captures,
            ways: &ways,
            // its clock is its own
            clock: captures.get(..1),
        },
        &mut line,
    )?;
    line.flush()?;
    // SAFETY: takes no pointer; waits until all has left.
    unsafe { libc::tcdrain(line.as_raw_fd()) };
    Ok(())
}

/// The files of a directory, in the order of their names.
fn files(directory: &str) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

/// The line for the outcome, as a way for bytes: a terminal would change some.
fn serial() -> Result<File> {
    let place = env::var(OUTCOME).with_context(|| format!("the kernel's command line has no {OUTCOME}"))?;
    let line = OpenOptions::new().read(true).write(true).open(&place);
    let line = line.with_context(|| format!("opening {place}"))?;
    // SAFETY: all zeros is a valid value of the structure, which the next call fills.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives on.
    let failed = unsafe {
        libc::tcgetattr(line.as_raw_fd(), &raw mut settings) != 0 || {
            libc::cfmakeraw(&raw mut settings);
            libc::cfsetspeed(&raw mut settings, libc::B115200);
            libc::tcsetattr(line.as_raw_fd(), libc::TCSANOW, &raw const settings) != 0
        }
    };
    ensure!(!failed, "{place}: {}", Error::last_os_error());
    Ok(line)
}
