//! TLS with certificate files, one-sided and mutual, over both transports.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::config::schema::Protocol;

/// An authority, a server's certificate and a client's, as files.
struct Files {
    dir: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (
                params.signed_by(&key, &authority).unwrap().pem(),
                key.serialize_pem(),
            )
        };
        let ((server, server_key), (client, client_key)) = (issue("127.0.0.1"), issue("client"));
        for (name, pem) in [
            ("ca", &authority.pem()),
            ("client", &client),
            ("client-key", &client_key),
        ] {
            fs::write(dir.path().join(name), pem).unwrap();
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(server.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(server_key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Files {
            dir,
            server: config.into(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exports to a receiver behind a gate that wants a client's certificate.
    async fn export(&self, protocol: Protocol, trust: bool, identify: bool) -> Stats {
        let (inner, plain) = bound().await;
        let http = if protocol == Protocol::Grpc {
            tokio::spawn(
                super::grpc::service(vec![])
                    .0
                    .serve_with_incoming(TcpIncoming::from(inner)),
            );
            None
        } else {
            Some(receiver(inner, vec![]))
        };
        let (gate, address) = bound().await;
        let mut config = (*self.server).clone();
        let alpn: &[u8] = if protocol == Protocol::Grpc {
            b"h2"
        } else {
            b"http/1.1"
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        tokio::spawn(forward(gate, TlsAcceptor::from(Arc::new(config)), plain));
        let mut settings = Otlp {
            protocol: Some(protocol),
            retry_for: "1ms".parse().unwrap(),
            ..settings(address)
        };
        settings.endpoint = Some(format!("https://{address}").parse().unwrap());
        settings.certificate = trust.then(|| self.path("ca"));
        settings.client_certificate = identify.then(|| self.path("client"));
        settings.client_key = identify.then(|| self.path("client-key"));
        let stats = export(&settings, 1).await;
        drop(http);
        stats
    }
}

/// Takes TLS off every connection.
async fn forward(gate: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    while let Ok((outside, _)) = gate.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // a handshake that fails is the client's to report
            let mut outside = acceptor.accept(outside).await?;
            let mut inside = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}

#[tokio::test]
async fn certificates_are_used_by_both_transports() {
    let files = Files::new();
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let stats = files.export(protocol, true, true).await;
        assert_eq!((stats.exported, dropped(&stats)), (1, vec![]), "{protocol}");
        for (trust, identify) in [(false, true), (true, false)] {
            let stats = files.export(protocol, trust, identify).await;
            assert_eq!(stats.exported, 0, "{protocol} {trust} {identify}");
        }
    }
}
