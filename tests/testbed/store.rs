//! A broker's messages, in memory.
//!
//! A broker refuses every message once its file system is more than nine tenths full, whatever is free in figures, and 5.x
//! allows no higher limit. So that the tests depend neither on that nor on the disk's speed, a server has a file system of its
//! own for its store: in memory, seen by no other process, there while one of the server's processes is.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The share of a file system in use above which a broker takes no message.
const FULL: f64 = 0.90;

/// Has the process of this command see a file system in memory at `dir`, which it makes.
///
/// Where that is not allowed (it needs CAP_SYS_ADMIN) the directory stays what it is; [`check_room`] tells whether it will do.
pub(crate) fn in_memory(command: &mut Command, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: between fork and exec only unshare, mount and errno's reading are done, which neither allocate nor lock; the
    // strings were made before.
    unsafe {
        command.pre_exec(move || {
            if libc::unshare(libc::CLONE_NEWNS) != 0 {
                return allowed(io::Error::last_os_error());
            }
            // Else the mount below would show in the namespace that this one was copied from.
            let nothing = std::ptr::null();
            let own = libc::MS_REC | libc::MS_PRIVATE;
            if libc::mount(nothing, c"/".as_ptr(), nothing, own, nothing.cast()) != 0 {
                let error = io::Error::last_os_error();
                // the root directory is not where a file system is mounted: the disk will have to do
                let is_none = error.raw_os_error() == Some(libc::EINVAL);
                return if is_none { Ok(()) } else { allowed(error) };
            }
            let (kind, size) = (c"tmpfs".as_ptr(), c"size=80%".as_ptr());
            if libc::mount(kind, dir.as_ptr(), kind, 0, size.cast()) != 0 {
                return allowed(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(())
}

/// Has the process of this command see the file systems that another one sees, and work in `dir`.
pub(crate) fn as_seen_by(command: &mut Command, pid: u32, dir: &Path) -> Result<()> {
    let namespace = process(pid).join("ns/mnt");
    let namespace = File::open(&namespace).with_context(|| format!("opening {}", namespace.display()))?;
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: between fork and exec only setns, chdir and errno's reading are done, which neither allocate nor lock; the
    // string was made and the file opened before.
    unsafe {
        command.pre_exec(move || {
            if libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) != 0 {
                return allowed(io::Error::last_os_error());
            }
            // Entering a namespace leads to its root directory.
            if libc::chdir(dir.as_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(())
}

fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Being refused is no failure; anything else is.
fn allowed(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Ok(()),
        _ => Err(error),
    }
}

/// Fails where the file system that this process sees at `dir` has no room in the eyes of a broker.
pub(crate) fn check_room(pid: u32, dir: &Path) -> Result<()> {
    let seen = process(pid).join("root").join(
        dir.strip_prefix("/")
            .context("the store's path does not begin at the root")?,
    );
    let path = CString::new(seen.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain numbers, for which zeros are valid.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, the path ends with a zero.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("asking for the room in {}", seen.display()));
    }
    let used = (room.f_blocks - room.f_bfree) as f64;
    let share = used / (used + room.f_bavail as f64).max(1.0);
    if share > FULL {
        bail!(
            "the file system of {} is {:.0} % full, and a broker takes no message above {:.0} %: free some of it, or run as \
             root, so that the broker's messages are kept in memory",
            dir.display(),
            share * 100.0,
            FULL * 100.0
        );
    }
    Ok(())
}
