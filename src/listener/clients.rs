//! Which client certificates are accepted (RFC 8705, TLS-008 of the hostile catalogue).
//!
//! `required`: a certificate that a CA of `client_ca` issued for client authentication, valid now, and on no revocation list.
//! `optional`: the same, or none, or one that its holder issued himself: that proves possession of a key, which is all that
//! certificate-bound tokens need (RFC 8705 §3); who the client is, the token says. A certificate of an unknown CA is neither.
//!
//! With `client_crl` the whole chain is held against the lists. Where no list speaks of a certificate, or it is past its
//! nextUpdate, the certificate is refused: what cannot be told is not told in its favour.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientCertVerifierBuilder, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::ListenerError;
use crate::config::{ClientCertificates, ServerTls, Standing, Validity};

/// What judges client certificates; absent when none are asked for.
pub(super) fn verifier(
    tls: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ListenerError> {
    let built = |builder: ClientCertVerifierBuilder| {
        builder.build().map_err(|cause| {
            if let VerifierBuilderError::InvalidCrl(cause) = cause {
                let path = tls.client_crl.clone().unwrap_or_default();
                return ListenerError::ClientCrl { path, cause: format!("{cause:?}") };
            }
            client_ca(tls, cause.to_string())
        })
    };
    match tls.client_certificates {
        ClientCertificates::Off => Ok(None),
        ClientCertificates::Optional => {
            let issued = built(by_ca(tls, provider)?.allow_unauthenticated())?;
            Ok(Some(Arc::new(IssuedOrOwn { issued })))
        }
        ClientCertificates::Required => built(by_ca(tls, provider)?).map(Some),
    }
}

fn by_ca(
    tls: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientCertVerifierBuilder, ListenerError> {
    let path = tls.client_ca.clone().unwrap_or_default();
    let mut roots = RootCertStore::empty();
    for ca in super::tls::certificates(&path).map_err(|cause| client_ca(tls, cause))? {
        roots.add(ca).map_err(|cause| client_ca(tls, cause.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let Some(path) = &tls.client_crl else { return Ok(builder) };
    let lists = revocations(path).map_err(|cause| ListenerError::ClientCrl { path: path.clone(), cause })?;
    Ok(builder.with_crls(lists).enforce_revocation_expiration())
}

/// The revocation lists of a file; at least one.
pub(super) fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists = CertificateRevocationListDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| cause.to_string())?;
    if lists.is_empty() { Err("no revocation list in it".to_owned()) } else { Ok(lists) }
}

fn client_ca(tls: &ServerTls, cause: String) -> ListenerError {
    ListenerError::ClientCa { path: tls.client_ca.clone().unwrap_or_default(), cause }
}

/// Takes what our CAs issued, and what clients issued themselves.
#[derive(Debug)]
struct IssuedOrOwn {
    issued: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for IssuedOrOwn {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None, or clients would hold back what no CA of ours issued.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if own(leaf) { in_force(leaf, now) } else { self.issued.verify_client_cert(leaf, chain, now) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// Whether the certificate names itself as its issuer. That its signature is its own need not be seen: the handshake has
/// shown that the client holds the key, and nothing else of it but its times is believed. Another's key pair under the name
/// of our CA gains nothing: it is another certificate, to which no token is bound.
fn own(leaf: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(leaf)
        .is_ok_and(|(_, leaf)| leaf.issuer().as_raw() == leaf.subject().as_raw())
}

fn in_force(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<ClientCertVerified, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let validity = Validity::of_certificate(leaf).ok_or_else(bad)?;
    let seconds = i64::try_from(now.as_secs()).map_err(|_| bad())?;
    match validity.standing(jiff::Timestamp::from_second(seconds).map_err(|_| bad())?) {
        Standing::Coming => Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
        Standing::Ended => Err(Error::InvalidCertificate(CertificateError::Expired)),
        Standing::Near | Standing::Sound => Ok(ClientCertVerified::assertion()),
    }
}
