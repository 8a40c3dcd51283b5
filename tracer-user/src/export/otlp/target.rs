//! Which address, by which protocol; and whether a process of this machine is behind it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use procfs::net::TcpState;

use crate::config::schema::{Otlp, Protocol};

/// The port that OTLP/gRPC has by convention.
const GRPC_PORT: u16 = 4317;

/// Where requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// Scheme, host and port; for HTTP the path too.
    pub(crate) uri: http::Uri,
    /// The transport.
    pub(crate) protocol: Protocol,
}

impl Target {
    /// By the settings; `None` without an endpoint.
    pub(crate) fn resolve(settings: &Otlp) -> Option<Target> {
        let endpoint = settings.endpoint.as_ref()?;
        let url = &endpoint.url;
        let has_scheme = url.contains("://");
        let port = |text: &str| text.parse::<http::Uri>().ok().and_then(|u| u.port_u16());
        let protocol = settings.protocol.unwrap_or(match port(url) {
            Some(GRPC_PORT) => Protocol::Grpc,
            _ => Protocol::HttpProtobuf,
        });
        let secure = protocol == Protocol::Grpc && !settings.insecure && settings.protocol.is_some();
        let url = match (has_scheme, secure) {
            (true, _) => url.clone(),
            (false, true) => format!("https://{url}"),
            (false, false) => format!("http://{url}"),
        };
        let whole = match protocol {
            Protocol::Grpc => url,
            _ if endpoint.exact || path_of(&url).ends_with("/traces") => url,
            _ => format!("{}/v1/traces", url.trim_end_matches('/')),
        };
        Some(Target {
            uri: whole.parse().ok()?,
            protocol,
        })
    }

    /// The addresses of this machine that it stands for; a name is looked up.
    pub(crate) async fn local_addresses(&self) -> Vec<SocketAddr> {
        let default = if self.uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = self.uri.port_u16().unwrap_or(default);
        let Some(host) = self.uri.host() else {
            return Vec::new();
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => addresses.filter(|a| is_local(a.ip())).collect(),
            Err(_) => Vec::new(),
        }
    }
}

fn path_of(url: &str) -> String {
    url.parse::<http::Uri>()
        .map(|u| u.path().trim_end_matches('/').to_owned())
        .unwrap_or_default()
}

/// An address of this machine: one that a socket can be bound to.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// The process that listens on a local address, in this network namespace.
pub(crate) fn local_listener_pid(address: SocketAddr) -> Option<u32> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    let entries = tables.into_iter().filter_map(Result::ok).flatten();
    let listens = |local: SocketAddr| {
        let ip = local.ip().to_canonical();
        local.port() == address.port() && (ip.is_unspecified() || ip == address.ip().to_canonical())
    };
    let inodes: Vec<u64> = entries
        .filter(|e| e.state == TcpState::Listen && listens(e.local_address))
        .map(|e| e.inode)
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let owns = |process: &procfs::process::Process| {
        let Ok(fds) = process.fd() else { return false };
        fds.filter_map(Result::ok).any(
            |fd| matches!(fd.target, procfs::process::FDTarget::Socket(inode) if inodes.contains(&inode)),
        )
    };
    let owner = procfs::process::all_processes()
        .ok()?
        .filter_map(Result::ok)
        .find(owns)?;
    u32::try_from(owner.pid()).ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::value::Endpoint;

    fn resolve(url: &str, exact: bool, protocol: Option<Protocol>, insecure: bool) -> String {
        let endpoint = Some(Endpoint {
            url: url.into(),
            exact,
        });
        let target = Target::resolve(&Otlp {
            endpoint,
            protocol,
            insecure,
            ..Otlp::default()
        })
        .unwrap();
        format!("{} {}", target.protocol, target.uri)
    }

    #[test]
    fn addresses() {
        use Protocol::{Grpc, HttpJson};
        for (url, exact, protocol, insecure, expected) in [
            (
                "http://h:4318",
                false,
                None,
                false,
                "http/protobuf http://h:4318/v1/traces",
            ),
            (
                "http://h:4318/",
                false,
                None,
                false,
                "http/protobuf http://h:4318/v1/traces",
            ),
            (
                "https://h/otlp",
                false,
                None,
                false,
                "http/protobuf https://h/otlp/v1/traces",
            ),
            (
                "http://h/adapt_x/api/otlp/traces",
                false,
                None,
                false,
                "http/protobuf http://h/adapt_x/api/otlp/traces",
            ),
            (
                "http://h:4318/v1/traces",
                false,
                Some(HttpJson),
                false,
                "http/json http://h:4318/v1/traces",
            ),
            ("http://h:1", true, None, false, "http/protobuf http://h:1/"),
            ("http://h:1/x", true, None, false, "http/protobuf http://h:1/x"),
            ("http://h:4317", false, None, false, "grpc http://h:4317/"),
            ("http://h:9", false, Some(Grpc), false, "grpc http://h:9/"),
            ("h:9", false, Some(Grpc), false, "grpc https://h:9/"),
            ("h:9", false, Some(Grpc), true, "grpc http://h:9/"),
            (
                "h:4318",
                false,
                None,
                false,
                "http/protobuf http://h:4318/v1/traces",
            ),
        ] {
            assert_eq!(resolve(url, exact, protocol, insecure), expected, "{url}");
        }
    }

    #[test]
    fn the_listener_of_this_test_is_this_process() {
        for bind in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(bind) else {
                assert!(bind.starts_with('['), "no IPv6 here, but IPv4 there must be");
                continue;
            };
            let ip: IpAddr = if bind.starts_with('[') {
                [0, 0, 0, 0, 0, 0, 0, 1].into()
            } else {
                [127, 0, 0, 1].into()
            };
            let address = SocketAddr::new(ip, listener.local_addr().unwrap().port());
            assert_eq!(local_listener_pid(address), Some(std::process::id()), "{bind}");
            drop(listener);
            assert_eq!(local_listener_pid(address), None, "{bind}");
        }
    }

    #[tokio::test]
    async fn only_local_addresses_are_looked_for() {
        let of = |url: &str| {
            let endpoint = Some(url.parse().unwrap());
            Target::resolve(&Otlp {
                endpoint,
                ..Otlp::default()
            })
            .unwrap()
        };
        assert_eq!(
            of("http://127.0.0.1:5").local_addresses().await,
            ["127.0.0.1:5".parse().unwrap()]
        );
        assert_eq!(of("http://192.0.2.1:5").local_addresses().await, []);
    }
}
