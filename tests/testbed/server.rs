//! Name server and broker of one version.

use std::{
    ffi::OsStr,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    admin,
    artifacts::{Artifacts, require},
    client::Library,
    ports,
    process::Child,
    store, wait,
};

/// Start-up takes 6 s, and more than a minute on a machine with much else to do.
const READY: Duration = Duration::from_secs(180);
/// The data is thrown away: nothing is gained by waiting for an orderly end of the broker, which takes 16 s.
const GRACE: Duration = Duration::from_secs(1);
/// Bodies over this are refused by the broker with MESSAGE_ILLEGAL, while the clients' own limit is 4 MiB.
pub const MAX_BODY: usize = 384 << 10;

/// Where a broker keeps its messages, in its directory.
const STORE: &str = "store";

/// Name of every broker's cluster.
pub(crate) const CLUSTER: &str = "TestCluster";

/// A name server and a broker; dropping it stops both.
#[derive(Debug)]
pub struct Server {
    /// RocketMQ's version.
    pub version: &'static str,
    /// Where clients find the name server.
    pub name_server: SocketAddr,
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// Declared before the name server, so that it is stopped first.
    broker_process: Child,
    broker_config: PathBuf,
    name_server_process: Child,
    java: Java,
}

impl Server {
    /// Starts both on IPv4's loopback and waits until both say that they are ready. Files go to `dir`.
    pub fn start(artifacts: &Artifacts, version: &'static str, dir: &Path) -> Result<Server> {
        Server::start_on(artifacts, version, dir, ports::LOOPBACK)
    }

    /// The same on any address of this machine.
    pub fn start_on(artifacts: &Artifacts, version: &'static str, dir: &Path, ip: IpAddr) -> Result<Server> {
        let jars = require(
            artifacts.server_jars(version),
            &format!("RocketMQ server {version}"),
        )?;
        let family = if ip.is_ipv6() { "-ipv6" } else { "" };
        let dir = dir.join(format!("server-{version}{family}"));
        fs::create_dir_all(dir.join("conf"))?;
        let dir = dir.canonicalize()?;
        let name_server = ports::free_on(ip)?;
        let broker = ports::free_for_broker(ip)?;

        let name_server_config = dir.join("namesrv.properties");
        fs::write(
            &name_server_config,
            format!("listenPort={}\n", name_server.port()),
        )?;
        let broker_config = dir.join("broker.conf");
        fs::write(&broker_config, broker_properties(&dir, name_server, broker))?;
        // 4.9 does not start without these two files.
        for name in ["namesrv", "broker"] {
            fs::write(dir.join(format!("conf/logback_{name}.xml")), logback(&dir, name))?;
        }

        let java = Java { jars, dir };
        let mut name_server_process = java.start_name_server(&name_server_config)?;
        let mut broker_process = java.start_broker(&broker_config, name_server_process.pid())?;
        name_server_process.wait_for_log("boot success", READY)?;
        broker_process.wait_for_log("boot success", READY)?;
        Ok(Server {
            version,
            name_server,
            broker,
            broker_process,
            broker_config,
            name_server_process,
            java,
        })
    }

    /// Ends the broker as a crash would, and starts it again.
    pub fn restart_broker(&mut self) -> Result<()> {
        self.broker_process.signal(libc::SIGKILL)?;
        self.broker_process.wait(READY)?;
        self.broker_process = self
            .java
            .start_broker(&self.broker_config, self.name_server_process.pid())?;
        self.broker_process.wait_for_log("boot success", READY)
    }

    /// Creates topics with `queues` queues each and waits until the name server tells clients about them.
    pub fn create_topics(&self, topics: &[&str], queues: u32) -> Result<()> {
        topics.iter().try_for_each(|topic| {
            admin::create_topic(self, topic, queues, "").with_context(|| format!("topic {topic}"))
        })
    }

    /// Creates a topic whose batches the broker stores as one message each (inner batches, 5.x).
    pub fn create_batch_topic(&self, topic: &str) -> Result<()> {
        admin::create_topic(self, topic, 4, "+queue.type=BatchCQ").with_context(|| format!("topic {topic}"))
    }

    /// Creates a static topic, whose logical queues are mapped to those of brokers (5.x).
    pub fn create_static_topic(&self, topic: &str, queues: u32) -> Result<()> {
        let (name_server, queues) = (self.name_server.to_string(), queues.to_string());
        let arguments = [
            "updateStaticTopic",
            "-n",
            &name_server,
            "-c",
            CLUSTER,
            "-t",
            topic,
            "-qn",
            &queues,
        ];
        let main = "org.apache.rocketmq.tools.command.MQAdminStartup";
        let mut tool = self
            .java
            .start("mqadmin", "32m", "128m", main, &arguments.map(OsStr::new))?;
        tool.wait(READY)?;
        let log = tool.log()?;
        admin::wait_for_route(self, topic).with_context(|| format!("static topic {topic}:\n{log}"))
    }

    /// Has the clients of a group pop a topic (`POP`), or pull queues that the broker assigns (`PULL`).
    pub fn set_request_mode(&self, topic: &str, group: &str, mode: &str) -> Result<()> {
        admin::set_request_mode(self, topic, group, mode)
    }

    /// Sets a group's offsets of a topic back to its first messages, while its clients of this library run.
    pub fn reset_offset(&self, topic: &str, group: &str, library: Library) -> Result<()> {
        admin::reset_offset(self, topic, group, library.language())
    }

    /// Ids of the clients of a group, one for each connection that the broker knows.
    pub fn consumers(&self, group: &str) -> Result<Vec<String>> {
        admin::consumers(self.broker, group)
    }

    /// Has a client of the group process one message, by its offset message id.
    pub fn consume_directly(&self, topic: &str, group: &str, id: &str) -> Result<()> {
        let clients = self.consumers(group)?;
        let client = clients
            .first()
            .with_context(|| format!("{group} has no client"))?;
        admin::consume_directly(self, topic, group, client, id)
    }

    /// Creates a consumer group. Remoting consumers make their own; those behind a proxy's gRPC port need it before they start.
    pub fn create_group(&self, group: &str) -> Result<()> {
        admin::create_group(self, group, &json!({})).with_context(|| format!("group {group}"))
    }

    /// Creates a topic for lite topics, and a group whose consumers may subscribe to those (5.5).
    pub fn create_lite_topic(&self, topic: &str, group: &str) -> Result<()> {
        admin::create_topic(self, topic, 4, "+message.type=LITE")
            .with_context(|| format!("topic {topic}"))?;
        let attributes = json!({ "+lite.bind.topic": topic });
        admin::create_group(self, group, &attributes).with_context(|| format!("group {group}"))
    }

    /// Process id of the broker.
    pub fn broker_pid(&self) -> u32 {
        self.broker_process.pid()
    }

    /// Freezes the broker, as a hung machine would be: it accepts bytes and answers nothing. Dropping the guard wakes it.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.broker_process.signal(libc::SIGSTOP)?;
        Ok(Frozen(self))
    }

    /// Whether a client's bytes wait at the broker to be read.
    fn has_unread_bytes(&self) -> Result<bool> {
        let port = format!(":{:04X}", self.broker.port());
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // local address, remote address, state, then what waits to be sent and to be read
            for line in fs::read_to_string(table)?.lines() {
                let mut columns = line.split_whitespace().skip(1);
                let at_broker = columns.next().is_some_and(|local| local.ends_with(&port));
                let queues = columns.nth(2).and_then(|queues| queues.split_once(':'));
                if at_broker && queues.is_some_and(|(_, unread)| unread.bytes().any(|digit| digit != b'0')) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A frozen broker.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Server);

impl Frozen<'_> {
    /// Waits until a client has written something that the broker would read.
    pub fn wait_for_bytes(&self, limit: Duration) -> Result<()> {
        wait::until(limit, "a client writes to the frozen broker", || {
            Ok(self
                .0
                .has_unread_bytes()?
                .then_some(())
                .ok_or_else(|| "nothing waits there".to_owned()))
        })
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = self.0.broker_process.signal(libc::SIGCONT);
    }
}

/// Starts RocketMQ's server programs and its tool with the options of the virtual machine that they need.
#[derive(Debug)]
pub(crate) struct Java {
    pub(crate) jars: PathBuf,
    /// Their home directory, and where they write.
    pub(crate) dir: PathBuf,
}

impl Java {
    pub(crate) fn start(
        &self,
        name: &str,
        initial: &str,
        max: &str,
        main: &str,
        arguments: &[&OsStr],
    ) -> Result<Child> {
        self.launch(name, self.command(initial, max, main, arguments))
    }

    /// Starts a name server, which holds the file system of the broker's store.
    fn start_name_server(&self, config: &Path) -> Result<Child> {
        let main = "org.apache.rocketmq.namesrv.NamesrvStartup";
        let mut command = self.command("64m", "128m", main, &["-c".as_ref(), config.as_ref()]);
        store::in_memory(&mut command, &self.dir.join(STORE))?;
        self.launch("namesrv", command)
    }

    /// Starts a broker that stores where its name server's process sees it, and checks that there is room for messages.
    fn start_broker(&self, config: &Path, name_server: u32) -> Result<Child> {
        let main = "org.apache.rocketmq.broker.BrokerStartup";
        let mut command = self.command("256m", "768m", main, &["-c".as_ref(), config.as_ref()]);
        store::as_seen_by(&mut command, name_server, &self.dir)?;
        let broker = self.launch("broker", command)?;
        store::check_room(broker.pid(), &self.dir.join(STORE))?;
        Ok(broker)
    }

    fn launch(&self, name: &str, command: Command) -> Result<Child> {
        Ok(Child::start(name, command, &self.dir.join(format!("{name}.out")))?.with_grace(GRACE))
    }

    fn command(&self, initial: &str, max: &str, main: &str, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new("java");
        command
            .args([
                "-server",
                "-XX:+UseSerialGC",
                "-XX:ReservedCodeCacheSize=64m",
                "-XX:MaxDirectMemorySize=512m",
            ])
            .args([
                "--add-opens=java.base/java.nio=ALL-UNNAMED",
                "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
            ])
            .args([
                "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
                "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
            ])
            .arg(format!("-Duser.home={}", self.dir.display()))
            .arg(format!("-Drocketmq.home.dir={}", self.dir.display()))
            // the tool leaves a file for each static topic
            .arg(format!("-Djava.io.tmpdir={}", self.dir.display()))
            .args([format!("-Xms{initial}"), format!("-Xmx{max}")])
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg(main)
            .args(arguments)
            // The proxy asks for it; a file that is not there is none.
            .env("RMQ_PROXY_HOME", &self.dir)
            .current_dir(&self.dir);
        command
    }
}

/// `brokerIP1` is what clients dial; without it the broker advertises an outside address. The delay levels make the first
/// retries (levels 3, 4, …) come after one second instead of ten. A send may wait for three seconds instead of 200 ms before the
/// broker says that it is busy: one that has just started is, and C++ does not try again.
fn broker_properties(dir: &Path, name_server: SocketAddr, broker: SocketAddr) -> String {
    let (ip, port, store) = (broker.ip(), broker.port(), dir.join(STORE));
    let store = store.display();
    format!(
        "brokerClusterName={CLUSTER}
brokerName=broker-a
brokerId=0
brokerRole=ASYNC_MASTER
namesrvAddr={name_server}
brokerIP1={ip}
brokerIP2={ip}
listenPort={port}
storePathRootDir={store}
storePathCommitLog={store}/commitlog
flushDiskType=ASYNC_FLUSH
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
mappedFileSizeCommitLog=67108864
mappedFileSizeConsumeQueue=300000
maxIndexNum=5000
maxHashSlotNum=1000
mappedFileSizeTimerLog=1048576
enableLmq=true
enableMultiDispatch=true
diskMaxUsedSpaceRatio=98
maxMessageSize={MAX_BODY}
waitTimeMillsInSendQueue=3000
enablePropertyFilter=true
recallMessageEnable=true
traceTopicEnable=true
transactionTimeOut=2000
transactionCheckInterval=3000
messageDelayLevel=1s 1s 1s 1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 20s 30s 1m 2m 3m
"
    )
}

fn logback(dir: &Path, name: &str) -> String {
    let file = dir.join(format!("{name}.log"));
    format!(
        r#"<configuration><appender name="F" class="ch.qos.logback.core.FileAppender"><file>{}</file><encoder><pattern>%d %p %t %c{{0}} - %m%n</pattern></encoder></appender><root level="WARN"><appender-ref ref="F"/></root></configuration>
"#,
        file.display()
    )
}
