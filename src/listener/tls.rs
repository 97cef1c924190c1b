//! Certificates, suites and client certificates of the public listener (TLS-1 … TLS-9).
//!
//! A [`CertificateStore`] holds one immutable configuration; a reload replaces it whole or not at all, so that a
//! handshake never sees a new certificate with an old key. Sessions and tickets end with their configuration.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
};

use super::ListenerError;
use crate::config::{ClientCertificates, ServerTls, TlsSuites};

/// The certificate in force, replaceable while connections are open.
#[derive(Debug)]
pub struct CertificateStore {
    settings: ServerTls,
    current: ArcSwap<ServerConfig>,
}

impl CertificateStore {
    /// Reads certificate, key and CAs.
    ///
    /// # Errors
    /// What cannot be read, or does not fit together, and which setting names it.
    pub fn open(settings: ServerTls) -> Result<Self, ListenerError> {
        let current = ArcSwap::from_pointee(configuration(&settings)?);
        Ok(Self { settings, current })
    }

    /// Reads the files again. New handshakes use them at once; after an error the old ones stay in force.
    ///
    /// # Errors
    /// As [`CertificateStore::open`].
    pub fn reload(&self) -> Result<(), ListenerError> {
        self.current.store(Arc::new(configuration(&self.settings)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn configuration(tls: &ServerTls) -> Result<ServerConfig, ListenerError> {
    let chain = certificates(&tls.certificate)
        .map_err(|cause| ListenerError::Certificate { path: tls.certificate.clone(), cause })?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|cause| ListenerError::Key { path: tls.key.clone(), cause: cause.to_string() })?;
    let provider = Arc::new(provider(tls.suites));
    let unusable = |cause: rustls::Error| ListenerError::Unusable(cause.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?;
    let builder = match tls.client_certificates {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Optional => {
            builder.with_client_cert_verifier(Arc::new(PossessionOnly { provider: Arc::clone(&provider) }))
        }
        ClientCertificates::Required => builder.with_client_cert_verifier(by_ca(tls, &provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    config.require_ems = tls.suites == TlsSuites::BsiTr021022;
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| cause.to_string())?;
    if chain.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(chain) }
}

fn by_ca(
    tls: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ListenerError> {
    let path = tls.client_ca.clone().unwrap_or_default();
    let wrong = |cause: String| ListenerError::ClientCa { path: path.clone(), cause };
    let mut roots = RootCertStore::empty();
    for ca in certificates(&path).map_err(wrong)? {
        roots.add(ca).map_err(|cause| wrong(cause.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|cause| wrong(cause.to_string()))
}

/// What is offered. `modern` is the library's choice, hybrid post-quantum key exchange first; the BSI profile holds
/// the suites and groups of TR-02102-2 tables 2, 3 and 13 that the library has (TLS-3, TLS-4).
fn provider(suites: TlsSuites) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if suites == TlsSuites::BsiTr021022 {
        let listed: [SupportedCipherSuite; 6] = [
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ];
        provider.cipher_suites = listed.to_vec();
        provider.kx_groups = vec![kx_group::SECP256R1, kx_group::SECP384R1];
    }
    provider
}

/// Takes any client certificate whose key the client proves to hold: what RFC 8705 §2.2 (self-signed certificates)
/// and certificate-bound tokens need. Who the client is, the token says.
#[derive(Debug)]
struct PossessionOnly {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for PossessionOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
