//! TLS: certificates and keys of the settings, else the system's.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::schema::Otlp;

/// The TLS configuration: the files of the settings, else the system's certificates.
pub(super) fn client(settings: &Otlp) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &settings.certificate {
        Some(path) => {
            for certificate in certificates(path, "export.otlp.certificate")? {
                roots
                    .add(certificate)
                    .with_context(|| format!("{} (export.otlp.certificate)", path.display()))?;
            }
        }
        // a machine without certificates can still talk plain HTTP; https says so when it is tried
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match (&settings.client_certificate, &settings.client_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "export.otlp.client_certificate")?;
            let key = PrivateKeyDer::from_pem_slice(&read(key, "export.otlp.client_key")?).map_err(|e| {
                anyhow::anyhow!("{} (export.otlp.client_key) holds no PEM key: {e}", key.display())
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .context("export.otlp.client_certificate and client_key")?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(path, key)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => bail!("{} ({key}) holds no PEM certificate", path.display()),
        Err(error) => bail!("{} ({key}) holds no PEM certificate: {error}", path.display()),
    }
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} ({key}) cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        fs::write(&path, "no certificate").unwrap();
        let problem = |settings: Otlp| {
            format!("{:#}", client(&settings).unwrap_err()).replace(dir.path().to_str().unwrap(), "DIR")
        };
        let said = [
            problem(Otlp {
                certificate: Some(path.clone()),
                ..Otlp::default()
            }),
            problem(Otlp {
                certificate: Some(dir.path().join("none.pem")),
                ..Otlp::default()
            }),
            problem(Otlp {
                client_certificate: Some(path.clone()),
                client_key: Some(path.clone()),
                ..Otlp::default()
            }),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
