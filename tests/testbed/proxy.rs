//! A proxy in cluster mode beside a running broker: remoting clients and gRPC clients dial it instead of the broker.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;

use crate::{
    admin,
    artifacts::{Artifacts, PROXY_VERSION, require},
    ports,
    process::Child,
    server::{CLUSTER, Java, Server},
};

/// Start-up takes 6 s, and 20 s when the machine is busy.
const READY: Duration = Duration::from_secs(90);
/// There is nothing to save, and an orderly end takes 15 s.
const GRACE: Duration = Duration::from_secs(1);

/// A proxy; dropping it stops it. The broker must outlive it.
#[derive(Debug)]
pub struct Proxy {
    /// Where remoting clients find their name server, and every broker.
    pub remoting: SocketAddr,
    /// Where gRPC clients connect.
    pub grpc: SocketAddr,
    process: Child,
}

impl Proxy {
    /// Starts a proxy for `server` and waits until it serves. Files go to `dir`.
    pub fn start(artifacts: &Artifacts, server: &Server, dir: &Path) -> Result<Proxy> {
        let jars = require(artifacts.proxy_jars(), &format!("RocketMQ proxy {PROXY_VERSION}"))?;
        let remoting = ports::free_on(ports::LOOPBACK)?;
        let grpc = ports::free_on(ports::LOOPBACK)?;
        let dir = dir.join(format!("proxy-{}", remoting.port()));
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let config = dir.join("rmq-proxy.json");
        fs::write(&config, settings(server, remoting, grpc)?)?;
        let mut process = Java { jars, dir }
            .start(
                "proxy",
                "128m",
                "512m",
                "org.apache.rocketmq.proxy.ProxyStartup",
                &[
                    "-pc".as_ref(),
                    config.as_ref(),
                    "-pm".as_ref(),
                    "cluster".as_ref(),
                ],
            )?
            .with_grace(GRACE);
        process.wait_for_log("rocketmq-proxy startup successfully", READY)?;
        Ok(Proxy {
            remoting,
            grpc,
            process,
        })
    }

    /// Ids of the remoting clients of a group, one for each connection that the proxy knows.
    pub fn consumers(&self, group: &str) -> Result<Vec<String>> {
        admin::consumers(self.remoting, group)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// `remotingAccessAddr` is what routes name as every broker's host: a host without port, which the proxy adds itself.
fn settings(server: &Server, remoting: SocketAddr, grpc: SocketAddr) -> Result<String> {
    let host = remoting.ip().to_string();
    let settings = serde_json::json!({
        "rocketMQClusterName": CLUSTER,
        "proxyMode": "CLUSTER",
        "proxyName": format!("proxy-{}", remoting.port()),
        "namesrvAddr": server.name_server.to_string(),
        "grpcServerPort": grpc.port(),
        "remotingListenPort": remoting.port(),
        "localServeAddr": host,
        "remotingAccessAddr": host,
        // A topic made by an administrator who names no type takes ordinary messages only, unless this is off.
        "enableTopicMessageTypeCheck": false,
        // How soon the broker knows the proxy as a producer of a group, which it asks about half messages.
        "transactionHeartbeatPeriodSecond": 1,
    });
    Ok(serde_json::to_string_pretty(&settings)?)
}
