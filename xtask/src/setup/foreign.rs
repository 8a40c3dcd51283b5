//! Servers and clients of other protocols, as Debian's packages have them: unpacked into the cache and not installed, so that
//! none of them becomes a service of this machine. Some 31 MB to download, 140 MB unpacked.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use testbed::Artifacts;

use super::{Say, apt, into_place, part};
use crate::console;

const PACKAGES: [&str; 9] = [
    "redis-server",
    "redis-tools",
    "mosquitto",
    "mosquitto-clients",
    "nginx-light",
    "nghttp2-client",
    "postgresql-15",
    "mariadb-server-core",
    "mariadb-client-core",
];

/// All of them, and what they need beyond what the machine has.
pub(crate) fn ensure(artifacts: &Artifacts, say: Say) -> Result<()> {
    apt::program("curl", Command::new("curl").arg("--version"), "curl", say)?;
    apt::program("openssl", Command::new("openssl").arg("version"), "openssl", say)?;
    let place = artifacts.foreign();
    part(say, "servers of other protocols", place.exists(), || {
        ensure!(
            apt::is_available(),
            "they come as Debian packages ({}), and here is no apt, or we are not root",
            PACKAGES.join(", ")
        );
        into_place(&place, |partial| {
            let archives = partial.join("archives");
            fs::create_dir_all(archives.join("partial"))?;
            apt::download(&PACKAGES, &archives)?;
            for archive in fs::read_dir(&archives)? {
                let archive = archive?.path();
                if archive.extension().is_some_and(|extension| extension == "deb") {
                    console::run_quietly(
                        Command::new("dpkg-deb").arg("-x").arg(&archive).arg(partial),
                        "foreign-unpack",
                    )?;
                }
            }
            Ok(fs::remove_dir_all(archives)?)
        })
    })
}
