//! Packages from the Python index: the C++ client, and Go and Node.js where the machine lacks them.

use std::process::Command;

use anyhow::{Result, bail};
use testbed::Artifacts;

use super::{Say, apt, into_place, part};
use crate::console;

/// The C++ client.
pub(crate) fn cpp_client(artifacts: &Artifacts, say: Say) -> Result<()> {
    packages(artifacts, "cpp", "C++ client (Python package)", say)
}

/// Installs what a list under `tests/testbed/python` names; each file must have a hash that is in the list.
pub(super) fn packages(artifacts: &Artifacts, list: &str, what: &str, say: Say) -> Result<()> {
    let to = artifacts.python_packages(list);
    if !to.exists() {
        pip(artifacts)?;
    }
    part(say, what, to.exists(), || {
        into_place(&to, |partial| {
            console::run_quietly(
                Command::new(artifacts.pip().join("bin/python"))
                    .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps"])
                    .args(["--require-hashes", "--only-binary=:all:", "--target"])
                    .arg(partial)
                    .arg("-r")
                    .arg(artifacts.python_list(list)),
                &format!("pip-{list}"),
            )
        })
    })
}

/// A virtual environment: distributions have Python without pip, or a pip that refuses to install.
fn pip(artifacts: &Artifacts) -> Result<()> {
    let to = artifacts.pip();
    part(Say::Changes, "pip", to.exists(), || {
        let python = || Command::new("python3");
        if console::first_line(python().args(["-c", "import ensurepip, venv, sys; print(sys.version)"]))
            .is_none()
        {
            if !apt::is_available() {
                bail!(
                    "Python 3 with its venv module is missing and cannot be installed here: not root, or no apt. \
                     Debian's package is python3-venv"
                );
            }
            apt::install(&["python3-venv"])?;
        }
        into_place(&to, |partial| {
            console::run_quietly(python().args(["-m", "venv"]).arg(partial), "python-venv")
        })
    })
}
