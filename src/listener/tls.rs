//! Certificate, suites and client certificates of the public listener (TLS-1 … TLS-9).
//!
//! A [`CertificateStore`] holds one immutable configuration; a reload replaces it whole or not at all, so that a
//! handshake never sees a new certificate with an old key. Sessions and tickets end with their configuration: each has
//! ticket keys of its own, which the library replaces every six hours and forgets after twelve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ListenerError;
use super::{clients, profile};
use crate::config::{self, ServerTls, Standing, StapleError, TlsSuites, Validity};

/// The certificate in force, replaceable while connections are open.
#[derive(Debug)]
pub struct CertificateStore {
    current: ArcSwap<Current>,
}

/// One configuration.
#[derive(Debug)]
pub(super) struct Current {
    settings: ServerTls,
    pub(super) config: Arc<ServerConfig>,
    /// What judges client certificates; absent when none are asked for.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    leaf: Validity,
    ends: Vec<Ends>,
}

/// Something in force that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The setting that names its file.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// From when until when it holds.
    pub validity: Validity,
}

impl CertificateStore {
    /// Reads certificate, key, CAs, revocation lists and OCSP response.
    ///
    /// # Errors
    /// What cannot be read, or does not fit together, and which setting names it.
    pub fn open(settings: ServerTls) -> Result<Self, ListenerError> {
        Ok(Self { current: ArcSwap::from_pointee(configuration(settings)?) })
    }

    /// Takes other settings. New handshakes go by them at once, and no session of before is resumed; after an error the
    /// old ones stay in force. Open connections are not touched.
    ///
    /// # Errors
    /// As [`CertificateStore::open`].
    pub fn replace(&self, settings: ServerTls) -> Result<(), ListenerError> {
        self.current.store(Arc::new(configuration(settings)?));
        Ok(())
    }

    /// Reads the same files again.
    ///
    /// # Errors
    /// As [`CertificateStore::open`].
    pub fn reload(&self) -> Result<(), ListenerError> {
        self.replace(self.current.load().settings.clone())
    }

    /// When the certificate in force ends.
    pub fn expires(&self) -> Timestamp {
        self.current.load().leaf.until
    }

    /// All that is in force and ends: the chain, the CAs of clients, revocation lists, and the OCSP response.
    pub fn ends(&self) -> Vec<Ends> {
        self.current.load().ends.clone()
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }
}

fn configuration(tls: ServerTls) -> Result<Current, ListenerError> {
    let chain = certificates(&tls.certificate).map_err(|cause| certificate(&tls, cause))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|cause| ListenerError::Key { path: tls.key.clone(), cause: cause.to_string() })?;
    let leaf = chain.first().and_then(|leaf| Validity::of_certificate(leaf));
    let leaf = leaf.ok_or_else(|| certificate(&tls, "it has no X.509 certificate".to_owned()))?;
    match leaf.standing(now()) {
        Standing::Coming => return Err(certificate(&tls, format!("it begins at {}", leaf.from))),
        Standing::Ended => return Err(certificate(&tls, format!("it ended at {}", leaf.until))),
        Standing::Near | Standing::Sound => {}
    }
    let provider = Arc::new(profile::provider(tls.suites));
    let unusable = |cause: rustls::Error| ListenerError::Unusable(cause.to_string());
    let staple = staple(&tls, &chain)?;
    let shown = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
    let clients = clients::verifier(&tls, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        None => builder.with_no_client_auth(),
    };
    let ends = ends(&tls, staple.as_ref());
    let mut config = builder.with_cert_resolver(Arc::new(Shown::new(shown, staple)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    // TLS-6: a replayed request is never answered twice.
    config.max_early_data_size = 0;
    if tls.suites == TlsSuites::BsiTr021022 {
        config.require_ems = true;
        config.ignore_client_order = true;
    }
    Ok(Current { settings: tls, config: Arc::new(config), clients, leaf, ends })
}

fn certificate(tls: &ServerTls, cause: String) -> ListenerError {
    ListenerError::Certificate { path: tls.certificate.clone(), cause }
}

/// The certificates of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| cause.to_string())?;
    if chain.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(chain) }
}

/// A response to staple, and from when until when it holds.
type Staple = (Vec<u8>, Validity);

/// The response for this leaf. One that is past its time, or for the certificate before, is left out: clients take a
/// certificate without one, and a gateway that stays down helps nobody.
fn staple(tls: &ServerTls, chain: &[CertificateDer<'_>]) -> Result<Option<Staple>, ListenerError> {
    let (Some(path), Some(leaf)) = (&tls.ocsp, chain.first()) else { return Ok(None) };
    let wrong = |cause: String| ListenerError::Ocsp { path: path.clone(), cause };
    let response = read(path).map_err(|cause| wrong(cause.to_string()))?;
    let validity = match config::staple(&response, leaf) {
        Ok(validity) => validity,
        Err(cause @ StapleError::Another) => {
            tracing::warn!(file = %path.display(), %cause, "no OCSP response is stapled");
            return Ok(None);
        }
        Err(cause) => return Err(wrong(cause.to_string())),
    };
    match validity.standing(now()) {
        Standing::Near | Standing::Sound => Ok(Some((response, validity))),
        Standing::Coming | Standing::Ended => {
            let cause = format!("it holds from {} until {}", validity.from, validity.until);
            tracing::warn!(file = %path.display(), cause, "no OCSP response is stapled");
            Ok(None)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the listener reads what it staples")]
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// What ends of all that was read.
fn ends(tls: &ServerTls, staple: Option<&Staple>) -> Vec<Ends> {
    let of =
        |key: &'static str, file: &Path, validity: Validity| Ends { key, file: file.to_owned(), validity };
    let pem = |key: &'static str, file: &Path| -> Vec<Ends> {
        let read = certificates(file).unwrap_or_default();
        read.iter().filter_map(|der| Some(of(key, file, Validity::of_certificate(der)?))).collect()
    };
    let mut ends = pem("server.tls.certificate", &tls.certificate);
    if let Some(file) = &tls.client_ca {
        ends.extend(pem("server.tls.client_ca", file));
    }
    if let Some(file) = &tls.client_crl {
        let lists = clients::revocations(file).unwrap_or_default();
        let lists = lists.iter().filter_map(|list| Validity::of_revocations(list));
        ends.extend(lists.map(|validity| of("server.tls.client_crl", file, validity)));
    }
    if let (Some(file), Some((_, validity))) = (&tls.ocsp, staple) {
        ends.push(of("server.tls.ocsp", file, *validity));
    }
    ends
}

/// The certificate that every client is shown, whatever name it asks for: the authority of the request decides (TLS-7).
/// The response is stapled while it holds.
#[derive(Debug)]
struct Shown {
    plain: Arc<CertifiedKey>,
    stapled: Option<(Arc<CertifiedKey>, Validity)>,
}

impl Shown {
    fn new(plain: CertifiedKey, staple: Option<Staple>) -> Self {
        let stapled = staple.map(|(response, validity)| {
            let mut stapled = plain.clone();
            stapled.ocsp = Some(response);
            (Arc::new(stapled), validity)
        });
        Self { plain: Arc::new(plain), stapled }
    }
}

impl ResolvesServerCert for Shown {
    /// None when the key signs by no scheme that the client offers: then the library says so with an alert, where later it
    /// would only hang up.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.plain.key.choose_scheme(hello.signature_schemes())?;
        match &self.stapled {
            Some((stapled, validity)) if validity.standing(now()) != Standing::Ended => {
                Some(Arc::clone(stapled))
            }
            Some(_) | None => Some(Arc::clone(&self.plain)),
        }
    }
}

impl Current {
    /// Whether the certificate of a resumed session is still accepted. The library does not look at it again, and a ticket
    /// lives for hours (TOK-60).
    pub(super) fn still_accepts(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        match (&self.clients, chain.and_then(<[_]>::split_first)) {
            (None, _) => true,
            (Some(clients), None) => !clients.client_auth_mandatory(),
            (Some(clients), Some((leaf, chain))) => {
                clients.verify_client_cert(leaf, chain, UnixTime::now()).is_ok()
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "handshakes come before requests, and files outside of them")]
fn now() -> Timestamp {
    Timestamp::now()
}
