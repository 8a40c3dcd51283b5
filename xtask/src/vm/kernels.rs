//! The kernels: stock ones of Debian, downloaded once and kept under `~/.cache/rmqtrace/kernels`.
//!
//! The suites of other releases are read with lists of their own, so that nothing of this machine's package system changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use testbed::Artifacts;

use crate::{
    arch::Arch,
    console,
    setup::{Say, into_place, part},
};

/// A line of kernels, of which the newest package is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// For which machines.
    pub(super) arch: Arch,
    /// First two numbers of the version.
    pub(super) version: &'static str,
    /// Debian's suites that may have it.
    suites: &'static [&'static str],
}

/// For each architecture: the oldest that is supported, the one with tracepoints but without the start of sends, one that has
/// everything, and the newest.
pub(super) const LINES: &[Line] = &[
    line(Arch::X86_64, "6.1", BOOKWORM),
    line(Arch::X86_64, "6.12", BOOKWORM),
    line(Arch::X86_64, "6.18", BACKPORTS),
    line(Arch::X86_64, "7.2", BACKPORTS),
    line(Arch::Aarch64, "6.1", BOOKWORM),
    line(Arch::Aarch64, "6.12", BOOKWORM),
    line(Arch::Aarch64, "6.18", BACKPORTS),
    line(Arch::Aarch64, "7.2", BACKPORTS),
];

const BOOKWORM: &[&str] = &["bookworm", "bookworm-security"];
const BACKPORTS: &[&str] = &["trixie-backports"];

const fn line(arch: Arch, version: &'static str, suites: &'static [&'static str]) -> Line {
    Line {
        arch,
        version,
        suites,
    }
}

/// A kernel to boot.
pub(super) struct Kernel {
    /// Which line.
    pub(super) line: Line,
    /// The image.
    pub(super) image: PathBuf,
    /// The package that it is from, with its version.
    pub(super) package: String,
}

impl Line {
    /// What it is called: `6.12`, and of other machines than x86-64 `6.12-arm64`.
    pub(super) fn name(self) -> String {
        match self.arch {
            Arch::X86_64 => self.version.to_owned(),
            other => format!("{}-{}", self.version, other.debian()),
        }
    }

    /// The kernel; downloads it where it is not there.
    pub(super) fn ensure(self, artifacts: &Artifacts, say: Say) -> Result<Kernel> {
        let place = artifacts.cache.join("kernels").join(self.name());
        let what = format!("Linux {} (Debian's package)", self.name());
        part(say, &what, place.exists(), || {
            into_place(&place, |partial| self.download(partial))
        })?;
        let package = fs::read_to_string(place.join("package"))?.trim().to_owned();
        Ok(Kernel {
            line: self,
            image: place.join("vmlinuz"),
            package,
        })
    }

    fn download(self, into: &Path) -> Result<()> {
        ensure!(
            console::first_line(Command::new("apt-get").arg("--version")).is_some()
                && console::first_line(Command::new("dpkg-deb").arg("--version")).is_some(),
            "kernels come as Debian packages, and here is no apt-get or no dpkg-deb"
        );
        let lists = Lists::of(into.join("lists"), self)?;
        let package = lists.newest(self)?;
        console::run_quietly(
            lists
                .apt("apt-get")
                .args(["download", &package])
                .current_dir(into),
            "kernel-download",
        )?;
        let archive = only(into, |name| name.ends_with(".deb"))?;
        let tree = into.join("tree");
        console::run_quietly(
            Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree),
            "kernel-unpack",
        )?;
        let image = image(&tree).with_context(|| format!("{package} has no kernel image"))?;
        fs::rename(image, into.join("vmlinuz"))?;
        let name = archive
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        fs::write(into.join("package"), name.replace("%2b", "+"))?;
        fs::remove_dir_all(tree)?;
        fs::remove_dir_all(lists.dir)?;
        Ok(fs::remove_file(archive)?)
    }
}

/// The only file of a directory with such a name.
fn only(dir: &Path, fits: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let found = fs::read_dir(dir)?
        .flatten()
        .find(|entry| fits(&entry.file_name().to_string_lossy()));
    found
        .map(|entry| entry.path())
        .with_context(|| format!("{} does not have the file", dir.display()))
}

/// `boot/vmlinuz-…`, or since 7.0 `usr/lib/modules/…/vmlinuz`.
fn image(tree: &Path) -> Option<PathBuf> {
    let is_image = |name: &str| name.starts_with("vmlinuz");
    if let Ok(image) = only(&tree.join("boot"), is_image) {
        return Some(image);
    }
    fs::read_dir(tree.join("usr/lib/modules"))
        .ok()?
        .flatten()
        .find_map(|entry| only(&entry.path(), is_image).ok())
}

/// Package lists of a line's suites, for its architecture, beside those of the machine.
struct Lists {
    dir: PathBuf,
    arch: Arch,
}

impl Lists {
    fn of(dir: PathBuf, line: Line) -> Result<Lists> {
        let lists = Lists { dir, arch: line.arch };
        fs::create_dir_all(lists.dir.join("lists/partial"))?;
        fs::create_dir_all(lists.dir.join("cache/archives/partial"))?;
        let site = site()?;
        let sources: String = line
            .suites
            .iter()
            .map(|suite| {
                let site = if suite.ends_with("-security") {
                    format!("{site}-security")
                } else {
                    site.clone()
                };
                format!("deb [signed-by={KEYS}] {site} {suite} main\n")
            })
            .collect();
        fs::write(lists.dir.join("sources.list"), sources)?;
        console::run_quietly(lists.apt("apt-get").arg("update"), "kernel-lists")?;
        Ok(lists)
    }

    fn apt(&self, program: &str) -> Command {
        let place = |name: &str| self.dir.join(name).display().to_string();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={}", place("sources.list")),
            "Dir::Etc::SourceParts=-".into(),
            format!("Dir::State::Lists={}", place("lists")),
            format!("Dir::Cache={}", place("cache")),
            format!("APT::Architecture={}", self.arch.debian()),
            format!("APT::Architectures={}", self.arch.debian()),
            // what is installed here is of no interest, and may be of another architecture
            "Dir::State::Status=/dev/null".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The newest package with an image of this line. The flavour for clouds is small and needs no module to start.
    fn newest(&self, line: Line) -> Result<String> {
        let pattern = format!(
            "^linux-(image|binary)-{}\\..*-cloud-{}$",
            line.version.replace('.', "\\."),
            line.arch.debian()
        );
        let output = self
            .apt("apt-cache")
            .args(["search", "--names-only", &pattern])
            .output()
            .context("starting apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = text.lines().filter_map(|line| line.split(' ').next());
        let newest = names.max_by_key(|name| (name.starts_with("linux-binary-"), numbers(name)));
        match newest {
            Some(name) => Ok(name.to_owned()),
            None => bail!("no package of Linux {} in {}", line.name(), self.dir.display()),
        }
    }
}

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where this machine has Debian's packages from.
fn site() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)"])
        .output()
        .context("starting apt-get")?;
    let sites = String::from_utf8_lossy(&output.stdout).into_owned();
    sites
        .lines()
        .find(|site| site.ends_with("/debian"))
        .map(str::to_owned)
        .context("this machine's package sources name no mirror of Debian")
}

/// The numbers in a name, to order versions by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn newer_versions_are_greater() {
        let names = [
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
        ];
        assert!(numbers(names[0]) < numbers(names[1]));
    }
}
