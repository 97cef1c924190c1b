//! Certificates and keys: readable, fitting each other, strong enough, valid now.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use url::{Host, Url};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Check;
use crate::config::file::{self, Tls};
use crate::config::settings::{ClientCertificates, Profile, ServerTls, TlsSuites};
use crate::config::surroundings;

/// An expiry nearer than this is worth a warning.
const NEAR_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;
/// RFC 9325 §4.5 and BSI TR-02102-2 (TLS-5).
const RSA_BITS: usize = 2048;
const BSI_RSA_BITS: usize = 3000;

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
        let client_ca = tls.client_ca.as_deref().and_then(|ca| self.anchors("server.tls.client_ca", ca));
        let chain = tls.certificate.as_deref().and_then(|path| self.chain("server.tls.certificate", path));
        if let Some(leaf) = chain.as_deref().and_then(<[_]>::first) {
            self.leaf(leaf, suites, public_url);
        }
        let key = tls.key.as_deref().and_then(|path| self.private_key(path));
        if let (Some(chain), Some(key)) = (chain, key) {
            self.belong("server.tls.key", chain, key);
        }
        Some(ServerTls {
            certificate: self.path(&tls.certificate?),
            key: self.path(&tls.key?),
            client_certificates,
            client_ca,
            client_crl: None,
            ocsp: None,
            suites,
        })
    }

    /// A PEM file of trust anchors: its path, once it is known to hold some.
    pub(super) fn anchors(&mut self, key: &str, path: &Path) -> Option<PathBuf> {
        self.chain(key, path).map(|_| self.path(path))
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
        let (from, until) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let now = self.surroundings.now().as_second();
        let day = |second: i64| {
            let stamp = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
            stamp.split('T').next().unwrap_or_default().to_owned()
        };
        if until < now {
            self.wrong(key, format!("a valid certificate (this one ended on {})", day(until)), "renew it");
        } else if from > now {
            let expected = format!("a valid certificate (this one begins on {})", day(from));
            self.wrong(key, expected, "wait, or mend this machine's clock");
        } else if until - now < NEAR_DAYS * DAY_SECONDS {
            let expected = format!("at least {NEAR_DAYS} more days of validity (it ends on {})", day(until));
            self.warn(key, expected, "renew it");
        }
        if let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed() {
            if rsa.key_size() < RSA_BITS {
                let expected = format!("an RSA key of at least {RSA_BITS} bits (it has {})", rsa.key_size());
                self.wrong(key, expected, "make a new key, best an ECDSA one on P-256");
            } else if suites == TlsSuites::BsiTr021022 && rsa.key_size() < BSI_RSA_BITS {
                let expected =
                    format!("at least {BSI_RSA_BITS} bits under BSI TR-02102-2 (it has {})", rsa.key_size());
                self.warn(key, expected, "make a new key, best an ECDSA one on P-256");
            }
        }
        if let Some(host) = public_url.and_then(Url::host)
            && !names(&certificate, &host)
        {
            let expected = format!("a certificate for `{host}`, the host of `server.public_url`");
            self.warn(key, expected, "request one with that name as subjectAltName");
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
