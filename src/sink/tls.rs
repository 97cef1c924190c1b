//! TLS to a syslog receiver: who is trusted, and what the gateway shows.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::CertificateFiles;
use crate::oauth::CallError;

/// Mozilla's roots and `ca`; with a certificate of the gateway's own for receivers that want to know who sends, as ATNA
/// demands (ITI-19).
pub(super) fn client(ca: Option<&Path>, own: Option<&CertificateFiles>) -> Result<ClientConfig, CallError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for anchor in chain(path)? {
            roots.add(anchor).map_err(|cause| unusable(path, &cause))?;
        }
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| unusable(Path::new("TLS"), &cause))?
        .with_root_certificates(roots);
    let Some(own) = own else { return Ok(config.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_file(&own.key).map_err(|cause| unusable(&own.key, &cause))?;
    let certificates = chain(&own.certificate)?;
    config.with_client_auth_cert(certificates, key).map_err(|cause| unusable(&own.certificate, &cause))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CallError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|cause| unusable(path, &cause))?;
    found.collect::<Result<_, _>>().map_err(|cause| unusable(path, &cause))
}

fn unusable(path: &Path, cause: &dyn std::fmt::Display) -> CallError {
    CallError::AnchorUnreadable { path: path.display().to_string(), cause: cause.to_string() }
}
