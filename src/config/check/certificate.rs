//! Certificates and keys: readable, fitting each other, strong enough, valid now (TLS-5, TLS-9).
//!
//! Clients judge the whole chain, so every certificate of it is looked at, not the leaf alone.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use url::{Host, Url};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Check;
use super::revocation::Clients;
use crate::config::complaint::shown;
use crate::config::file::{self, Tls};
use crate::config::settings::{ClientCertificates, Profile, ServerTls, TlsSuites};
use crate::config::surroundings;
use crate::config::validity::{Standing, Validity};

/// RFC 9325 §4.5 and BSI TR-02102-2 (TLS-5).
const RSA_BITS: usize = 2048;
const BSI_RSA_BITS: usize = 3000;

/// What certificates are signed with: RFC 3279 §2.2, RFC 4055 §5. SHA-1 and older, and PKCS#1 v1.5 with SHA-2.
const WORN_OUT: [&str; 4] =
    ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10040.4.3", "1.2.840.10045.4.1"];
pub(super) const PKCS1: [&str; 4] =
    ["1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", "1.2.840.113549.1.1.14"];

impl Check<'_> {
    /// TLS of the public listener.
    pub(super) fn tls(&mut self, tls: Tls, profile: Profile, public_url: Option<&Url>) -> Option<ServerTls> {
        let suites = match (tls.suites, profile) {
            (Some(file::Suites::BsiTr021022), _) | (None, Profile::Isik) => TlsSuites::BsiTr021022,
            (Some(file::Suites::Modern), _) | (None, Profile::Smart) => TlsSuites::Modern,
        };
        let client_certificates = match tls.client_certificates {
            Some(file::ClientCertificates::Optional) => ClientCertificates::Optional,
            Some(file::ClientCertificates::Required) => ClientCertificates::Required,
            Some(file::ClientCertificates::Off) | None => ClientCertificates::Off,
        };
        if client_certificates != ClientCertificates::Off && tls.client_ca.is_none() {
            let expected = "the CAs of client certificates, because `client_certificates` is not `off`";
            self.missing("server.tls.client_ca", expected, "add `client_ca = \"certs/clients.pem\"`");
        }
        let authorities = tls.client_ca.as_deref().and_then(|ca| self.chain("server.tls.client_ca", ca));
        self.lasting("server.tls.client_ca", authorities.as_deref().unwrap_or_default());
        let clients = Clients { asked: client_certificates, authorities: authorities.as_deref(), suites };
        let client_crl = tls.client_crl.as_deref().and_then(|lists| self.revocations(lists, &clients));
        let chain = tls.certificate.as_deref().and_then(|path| self.chain("server.tls.certificate", path));
        let ocsp = tls.ocsp.as_deref().and_then(|file| self.ocsp(file, chain.as_deref()));
        if let Some((leaf, issuers)) = chain.as_deref().and_then(<[_]>::split_first) {
            self.leaf(leaf, suites, public_url);
            self.issuers(issuers, suites);
        }
        let key = tls.key.as_deref().and_then(|path| self.private_key(path));
        if let (Some(chain), Some(key)) = (chain, key) {
            self.belong("server.tls.key", chain, key);
        }
        Some(ServerTls {
            certificate: self.path(&tls.certificate?),
            key: self.path(&tls.key?),
            client_certificates,
            client_ca: tls.client_ca.map(|ca| self.path(&ca)),
            client_crl,
            ocsp,
            suites,
        })
    }

    /// A PEM file of trust anchors: its path, once it is known to hold some.
    pub(super) fn anchors(&mut self, key: &str, path: &Path) -> Option<PathBuf> {
        let anchors = self.chain(key, path)?;
        self.lasting(key, &anchors);
        Some(self.path(path))
    }

    /// Warns of certificates that end soon, have ended or are not valid yet.
    fn lasting(&mut self, key: &str, certificates: &[CertificateDer<'_>]) {
        let now = self.surroundings.now();
        for der in certificates {
            let (Ok((_, certificate)), Some(validity)) =
                (X509Certificate::from_der(der), Validity::of_certificate(der))
            else {
                continue;
            };
            let name = shown(&certificate.subject().to_string());
            let found = match validity.standing(now) {
                Standing::Coming => format!("`{name}` begins on {}", day(validity.from)),
                Standing::Ended => format!("`{name}` ended on {}", day(validity.until)),
                Standing::Near => format!("`{name}` ends on {}", day(validity.until)),
                Standing::Sound => continue,
            };
            self.warn(key, format!("certificates that are and stay valid ({found})"), "renew it");
        }
    }

    pub(super) fn chain(&mut self, key: &str, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.bytes(key, path)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let sound = |chain: &Vec<CertificateDer<'_>>| {
            !chain.is_empty() && chain.iter().all(|der| X509Certificate::from_der(der).is_ok())
        };
        match chain {
            Ok(chain) if sound(&chain) => Some(chain),
            Ok(_) | Err(_) => {
                let mend = "use a file of `-----BEGIN CERTIFICATE-----` blocks";
                self.wrong(key, "PEM certificates", mend);
                None
            }
        }
    }

    fn leaf(&mut self, leaf: &CertificateDer<'_>, suites: TlsSuites, public_url: Option<&Url>) {
        let key = "server.tls.certificate";
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return };
        let Some(validity) = Validity::of_certificate(leaf) else { return };
        let now = self.surroundings.now();
        match validity.standing(now) {
            Standing::Coming => {
                let expected = format!("a valid certificate (this one begins on {})", day(validity.from));
                self.wrong(key, expected, "wait, or mend this machine's clock");
            }
            Standing::Ended => {
                let expected = format!("a valid certificate (this one ended on {})", day(validity.until));
                self.wrong(key, expected, "renew it");
            }
            Standing::Near => {
                let left = validity.days_left(now);
                let ends = day(validity.until);
                self.warn(key, format!("more than {left} days of validity (it ends on {ends})"), "renew it");
            }
            Standing::Sound => {}
        }
        match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() < RSA_BITS => {
                let expected = format!("an RSA key of at least {RSA_BITS} bits (it has {})", rsa.key_size());
                self.wrong(key, expected, "make a new key, best an ECDSA one on P-256");
            }
            Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => {}
            Ok(_) | Err(_) if suites == TlsSuites::BsiTr021022 => {
                let expected = "an ECDSA or RSA key: BSI TR-02102-2 lists no other signatures";
                self.wrong(key, expected, "make a new key, best an ECDSA one on P-256");
            }
            Ok(_) | Err(_) => {}
        }
        self.strength(&certificate, suites, "it");
        if let Some(host) = public_url.and_then(Url::host)
            && !names(&certificate, &host)
        {
            let expected = format!("a certificate for `{host}`, the host of `server.public_url`");
            self.warn(key, expected, "request one with that name as subjectAltName");
        }
    }

    /// What stands between the leaf and the client's anchor. Clients may know another way, so nothing here is an error.
    fn issuers(&mut self, issuers: &[CertificateDer<'_>], suites: TlsSuites) {
        self.lasting("server.tls.certificate", issuers);
        for der in issuers {
            let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
            let name = format!("`{}`", shown(&certificate.subject().to_string()));
            self.strength(&certificate, suites, &name);
        }
    }

    /// TLS-5: the size of an RSA key, and what the certificate is signed with.
    fn strength(&mut self, certificate: &X509Certificate<'_>, suites: TlsSuites, name: &str) {
        let key = "server.tls.certificate";
        let (bits, by) = match suites {
            TlsSuites::BsiTr021022 => (BSI_RSA_BITS, " under BSI TR-02102-2"),
            TlsSuites::Modern => (RSA_BITS, ""),
        };
        if let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed()
            && rsa.key_size() < bits
            && !self.has_complaint(key)
        {
            let expected = format!("at least {bits} bits{by} ({name} has {})", rsa.key_size());
            self.warn(key, expected, "make a new key, best an ECDSA one on P-256");
        }
        // Nobody checks the signature of an anchor, nor what a certificate says of itself.
        if certificate.issuer().as_raw() == certificate.subject().as_raw() {
            return;
        }
        let signed = certificate.signature_algorithm.algorithm.to_id_string();
        if WORN_OUT.contains(&signed.as_str()) {
            let expected = format!("certificates signed with SHA-256 or better ({name} is not)");
            self.warn(key, expected, "let a CA sign it that does");
        } else if suites == TlsSuites::BsiTr021022 && PKCS1.contains(&signed.as_str()) {
            let expected =
                format!("certificates signed with ECDSA or RSA-PSS{by} ({name} is signed with PKCS#1 v1.5)");
            self.warn(key, expected, "let a CA sign it that does");
        }
    }

    fn private_key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let key = "server.tls.key";
        let bytes = self.bytes(key, path)?;
        if surroundings::read_by_all(&self.path(path)) {
            self.warn(key, "a key that only the gateway can read", "take the read permission of others away");
        }
        let parsed = PrivateKeyDer::from_pem_slice(&bytes).ok();
        if parsed.is_none() {
            let mend = "use a file with one `-----BEGIN … PRIVATE KEY-----` block, not encrypted";
            self.wrong(key, "a PEM private key (PKCS#8, PKCS#1 or SEC1)", mend);
        }
        parsed
    }

    /// Whether a key, named by its setting, belongs to the leaf of a chain.
    pub(super) fn belong(
        &mut self,
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> bool {
        let Ok(signer) = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key) else {
            let expected =
                "an RSA key of at least 2048 bits, an ECDSA key on P-256, P-384 or P-521, or Ed25519";
            self.wrong(name, expected, "make a new key of such a kind");
            return false;
        };
        let matches = CertifiedKey::new(chain, signer).keys_match();
        if matches!(matches, Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch))) {
            let certificate =
                if name == "server.tls.key" { "`server.tls.certificate`" } else { "the certificate" };
            self.wrong(name, format!("the key of {certificate}"), "use the pair that belongs together");
            return false;
        }
        true
    }
}

/// The day of an instant, in UTC.
pub(super) fn day(at: jiff::Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// Whether the certificate is for this host: subjectAltName only (RFC 9525 §6).
fn names(certificate: &X509Certificate<'_>, host: &Host<&str>) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match (host, name) {
        (Host::Domain(host), GeneralName::DNSName(name)) => covers(name, host),
        (Host::Ipv4(address), GeneralName::IPAddress(bytes)) => address.octets() == **bytes,
        (Host::Ipv6(address), GeneralName::IPAddress(bytes)) => address.octets() == **bytes,
        _ => false,
    })
}

/// A wildcard stands for exactly the leftmost label.
fn covers(name: &str, host: &str) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent == rest),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let table = [
            ("gw.example", "gw.example", true),
            ("GW.example", "gw.EXAMPLE", true),
            ("*.example", "gw.example", true),
            ("*.example", "a.gw.example", false),
            ("*.example", "example", false),
            ("gw.example", "w.example", false),
        ];
        for (name, host, expected) in table {
            assert_eq!(covers(name, host), expected, "{name} {host}");
        }
    }
}
