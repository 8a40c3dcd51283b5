//! `cargo xtask setup`: what the machine lacks. Every part can be asked for by itself; a part that is there costs
//! milliseconds.

pub(crate) mod apt;
pub(crate) mod cross;
pub(crate) mod ebpf_toolchain;
pub(crate) mod foreign;
pub(crate) mod go;
pub(crate) mod java;
pub(crate) mod node;
pub(crate) mod python;
pub(crate) mod rust;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result};
use testbed::{
    Artifacts,
    artifacts::{CLIENT_VERSIONS, SERVER_VERSIONS},
};

use crate::arch::Arch;

/// Whether parts that are there already are mentioned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// Every part: the task `setup` itself.
    Everything,
    /// Only what is done: the other tasks.
    Changes,
}

/// The task.
pub(crate) fn everything() -> Result<()> {
    let started = Instant::now();
    println!("setup: what the other tasks need");
    ebpf_toolchain::ensure(Say::Everything)?;
    instructions(Say::Everything)?;
    testbed(Say::Everything)?;
    Arch::ALL
        .into_iter()
        .try_for_each(|arch| cross::ensure(arch, Say::Everything))?;
    if crate::vm::IS_POSSIBLE {
        crate::vm::setup(Say::Everything)?;
    }
    println!("setup: complete ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// Real servers and clients of every kind and version, the collector and Jaeger: what the end-to-end tests run.
pub(crate) fn testbed(say: Say) -> Result<()> {
    let artifacts = Artifacts::locate();
    apt::program(
        "tcpdump",
        Command::new("tcpdump").arg("--version"),
        "tcpdump",
        say,
    )?;
    java::ensure(&artifacts, &SERVER_VERSIONS, &CLIENT_VERSIONS, say)?;
    java::proxy(&artifacts, say)?;
    java::agent(&artifacts, say)?;
    go::client(&artifacts, say)?;
    python::cpp_client(&artifacts, say)?;
    node::client(&artifacts, say)?;
    rust::client(&artifacts, say)?;
    go::collector(&artifacts, say)?;
    go::jaeger(&artifacts, say)?;
    // their tests name what they miss; all others do without
    if let Err(error) = foreign::ensure(&artifacts, say) {
        println!("servers of other protocols cannot be had: {error:#}");
    }
    Ok(())
}

/// What counts instructions.
pub(crate) fn instructions(say: Say) -> Result<()> {
    apt::program(
        "valgrind",
        Command::new("valgrind").arg("--version"),
        "valgrind",
        say,
    )
}

/// What the benches need: Java's decoder is that of the newest client.
pub(crate) fn bench(say: Say) -> Result<()> {
    instructions(say)?;
    java::ensure(&Artifacts::locate(), &[], &CLIENT_VERSIONS[..1], say)
}

/// The newest server and clients: what the demo runs.
pub(crate) fn demo(say: Say) -> Result<()> {
    let artifacts = Artifacts::locate();
    java::ensure(&artifacts, &SERVER_VERSIONS[..1], &CLIENT_VERSIONS[..1], say)?;
    go::client(&artifacts, say)
}

/// Does a part unless it is there.
pub(crate) fn part(say: Say, what: &str, present: bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if !present {
        return crate::console::step(what, work);
    }
    if say == Say::Everything {
        crate::console::present(what);
    }
    Ok(())
}

/// Lets `work` make something beside `place` and moves it there when it is complete, so that an interrupted set-up leaves
/// nothing that looks finished. Where another process makes the same, it waits for that one and takes what it made.
pub(crate) fn into_place(place: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    let lock = beside(place, ".lock");
    let lock = File::create(&lock).with_context(|| format!("creating {}", lock.display()))?;
    // Until it is closed at the end of this function.
    lock.lock()?;
    if place.exists() {
        return Ok(());
    }
    let partial = beside(place, ".partial");
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    work(&partial)?;
    fs::rename(&partial, place).with_context(|| format!("moving {} to its place", partial.display()))
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::{
        env, process,
        sync::atomic::{AtomicU32, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn what_two_make_at_once_is_made_once() {
        let dir = env::temp_dir().join(format!("rmqtrace-into-place-{}", process::id()));
        let (place, made) = (dir.join("it"), AtomicU32::new(0));
        let make = || {
            into_place(&place, |partial| {
                made.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(50));
                Ok(fs::write(partial, "whole")?)
            })
        };
        thread::scope(|scope| {
            for maker in [scope.spawn(make), scope.spawn(make)] {
                maker.join().unwrap().unwrap();
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(fs::read_to_string(&place).unwrap(), "whole");
        fs::remove_dir_all(&dir).unwrap();
    }
}
