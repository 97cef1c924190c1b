//! Revocation lists for client certificates, and the OCSP response that is stapled to the server's (TLS-6, TLS-9).
//!
//! `pforte check` refuses a file past its time. A gateway that serves takes it: a list past its time refuses the
//! certificates it is about, and a response past its time is not stapled.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::Check;
use super::certificate::{PKCS1, day};
use crate::config::complaint::shown;
use crate::config::settings::{ClientCertificates, TlsSuites};
use crate::config::staple::{StapleError, staple};
use crate::config::surroundings::Stale;
use crate::config::validity::{Standing, Validity};

const CRL: &str = "server.tls.client_crl";
const OCSP: &str = "server.tls.ocsp";

/// What revocation lists are for.
pub(super) struct Clients<'c> {
    /// Whether clients present certificates.
    pub(super) asked: ClientCertificates,
    /// Who issues them, as far as that could be read.
    pub(super) authorities: Option<&'c [CertificateDer<'static>]>,
    /// What signatures are accepted.
    pub(super) suites: TlsSuites,
}

impl Check<'_> {
    /// A file of revocation lists: its path, once it is known to hold some.
    pub(super) fn revocations(&mut self, file: &Path, clients: &Clients<'_>) -> Option<PathBuf> {
        if clients.asked == ClientCertificates::Off {
            let mend = "remove it, or ask for certificates with `client_certificates`";
            self.warn(CRL, "nothing there: with `client_certificates = \"off\"` nothing reads it", mend);
            return None;
        }
        let bytes = self.bytes(CRL, file)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = lists.unwrap_or_default();
        let parsed: Vec<_> =
            lists.iter().filter_map(|list| CertificateRevocationList::from_der(list).ok()).collect();
        if lists.is_empty() || parsed.len() != lists.len() {
            let mend = "use a file of `-----BEGIN X509 CRL-----` blocks";
            self.wrong(CRL, "PEM revocation lists", mend);
            return None;
        }
        for (list, (_, parsed)) in lists.iter().zip(&parsed) {
            let name = shown(&parsed.issuer().to_string());
            match Validity::of_revocations(list) {
                Some(validity) => self.fresh(CRL, &format!("the list of `{name}`"), validity),
                None => {
                    let expected = format!("lists with nextUpdate (the one of `{name}` has none)");
                    self.wrong(CRL, expected, "let the CA issue it anew");
                }
            }
            let signed = parsed.signature_algorithm.algorithm.to_id_string();
            if clients.suites == TlsSuites::BsiTr021022 && PKCS1.contains(&signed.as_str()) {
                let expected = format!(
                    "lists signed with ECDSA or RSA-PSS under BSI TR-02102-2 (the one of `{name}` is signed with \
                     PKCS#1 v1.5)"
                );
                self.wrong(CRL, expected, "let the CA sign so, or use `suites = \"modern\"`");
            }
        }
        let issuers: Vec<&[u8]> = parsed.iter().map(|(_, list)| list.issuer().as_raw()).collect();
        self.without_list(clients, &issuers);
        Some(self.path(file))
    }

    /// Whatever cannot be told of a certificate is not told in its favour.
    fn without_list(&mut self, clients: &Clients<'_>, issuers: &[&[u8]]) {
        for der in clients.authorities.unwrap_or_default() {
            let Ok((_, authority)) = X509Certificate::from_der(der) else { continue };
            if !issuers.contains(&authority.subject().as_raw()) {
                let name = shown(&authority.subject().to_string());
                let expected =
                    format!("a list of each CA (without one certificates of `{name}` are refused)");
                self.warn(CRL, expected, "add its list to the file");
            }
        }
    }

    /// A file with a response for the leaf of a chain.
    pub(super) fn ocsp(&mut self, file: &Path, chain: Option<&[CertificateDer<'static>]>) -> Option<PathBuf> {
        let bytes = self.bytes(OCSP, file)?;
        let leaf = chain?.first()?;
        let mend = "fetch it anew from the CA's responder, in DER";
        match staple(&bytes, leaf) {
            Ok(validity) => self.fresh(OCSP, "the response", validity),
            Err(StapleError::Another) => {
                self.stale(OCSP, "a response for `server.tls.certificate` (it is for another one)", mend);
            }
            Err(
                error @ (StapleError::Endless
                | StapleError::Revoked
                | StapleError::Unknown
                | StapleError::Unreadable
                | StapleError::Unsuccessful),
            ) => {
                let expected = format!("a response that says `good` of `server.tls.certificate` ({error})");
                self.wrong(OCSP, expected, mend);
            }
        }
        Some(self.path(file))
    }

    fn fresh(&mut self, key: &str, what: &str, validity: Validity) {
        let mend = "fetch a new one";
        match validity.standing(self.surroundings.now()) {
            Standing::Coming => {
                self.stale(
                    key,
                    format!("one that holds now ({what} begins on {})", day(validity.from)),
                    mend,
                );
            }
            Standing::Ended => {
                let found = format!("one that holds now ({what} ended on {})", day(validity.until));
                self.stale(key, found, mend);
            }
            Standing::Near => {
                self.warn(key, format!("a newer one ({what} ends on {})", day(validity.until)), mend)
            }
            Standing::Sound => {}
        }
    }

    fn stale(&mut self, key: &str, expected: impl Into<String>, mend: &str) {
        match self.surroundings.stale() {
            Stale::Refused => self.wrong(key, expected, mend),
            Stale::Warned => self.warn(key, expected, mend),
        }
    }
}
