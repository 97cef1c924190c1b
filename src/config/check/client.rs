//! How the gateway authenticates as an OAuth client: a secret, a signed assertion, or a certificate.

use std::path::Path;
use std::str::FromStr as _;

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::Check;
use super::secret::Kept;
use crate::config::file::ClientAuth;
use crate::config::settings::{AssertionKey, CertificateFiles, IssuerClientAuth, Secret};
use crate::config::surroundings::Files;

/// What a key signs with when the file does not say (SMART App Launch 2.2 asks servers for RS384 and ES384).
const BY_KEY: [Algorithm; 4] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS384];

/// The keys of a client, as written.
pub(super) struct Written<'w> {
    /// The path of the table that holds them.
    pub(super) table: &'w str,
    /// The method.
    pub(super) auth: Option<ClientAuth>,
    /// Where the secret is.
    pub(super) secret: Kept<'w>,
    /// `key_file`.
    pub(super) key_file: Option<&'w Path>,
    /// `kid`.
    pub(super) kid: Option<&'w str>,
    /// `algorithm`.
    pub(super) algorithm: Option<&'w str>,
    /// `certificate`.
    pub(super) certificate: Option<&'w Path>,
}

impl Check<'_> {
    /// The method with what it needs; what it does not need must not be there.
    pub(super) fn client_auth(&mut self, written: &Written<'_>) -> Option<IssuerClientAuth> {
        let auth = written.auth.unwrap_or(ClientAuth::ClientSecretBasic);
        self.unused(written, auth);
        match auth {
            ClientAuth::ClientSecretBasic => self.secret(written.secret).map(IssuerClientAuth::SecretBasic),
            ClientAuth::ClientSecretPost => self.secret(written.secret).map(IssuerClientAuth::SecretPost),
            ClientAuth::PrivateKeyJwt => self.assertion_key(written).map(IssuerClientAuth::PrivateKeyJwt),
            ClientAuth::Tls => {
                let files = (written.certificate, written.key_file);
                self.certificate_files(written.table, ("certificate", "key_file"), files)
                    .map(IssuerClientAuth::Tls)
            }
        }
    }

    /// A key that nothing reads is a misunderstanding.
    fn unused(&mut self, written: &Written<'_>, auth: ClientAuth) {
        let secret = matches!(auth, ClientAuth::ClientSecretBasic | ClientAuth::ClientSecretPost);
        let assertion = auth == ClientAuth::PrivateKeyJwt;
        let (file, environment) =
            (format!("{}_file", written.secret.key), format!("{}_env", written.secret.key));
        let at = |name: &str| format!("{}.{name}", written.table);
        let unread = [
            (file, written.secret.file.is_some() && !secret, "a secret"),
            (environment, written.secret.environment.is_some() && !secret, "a secret"),
            (at("key_file"), written.key_file.is_some() && secret, "`private_key_jwt` or `tls`"),
            (at("kid"), written.kid.is_some() && !assertion, "`private_key_jwt`"),
            (at("algorithm"), written.algorithm.is_some() && !assertion, "`private_key_jwt`"),
            (at("certificate"), written.certificate.is_some() && auth != ClientAuth::Tls, "`tls`"),
        ];
        for (key, _, method) in unread.into_iter().filter(|(_, unread, _)| *unread) {
            let expected = format!("nothing there: only a client with {method} uses it");
            self.wrong(&key, expected, "remove it, or change `auth`");
        }
    }

    fn assertion_key(&mut self, written: &Written<'_>) -> Option<AssertionKey> {
        let key = format!("{}.key_file", written.table);
        let Some(file) = written.key_file else {
            self.missing(&key, "a PEM file with the private key", "add `key_file = \"secrets/client.key\"`");
            return None;
        };
        let named = written.algorithm.map(|name| (name, Algorithm::from_str(name).ok()));
        let symmetric = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
        if let Some((_, None)) = named.map(|(name, known)| (name, known.filter(|known| !symmetric(known)))) {
            let expected =
                "one of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`";
            self.wrong(&format!("{}.algorithm", written.table), expected, "write it as in RFC 7518");
            return None;
        }
        let kid = written.kid.map(str::to_owned);
        if self.surroundings.files() == Files::Assumed {
            let algorithm = named.and_then(|(_, known)| known).unwrap_or(Algorithm::ES384);
            return Some(AssertionKey { pem: Secret::new(String::new()), kid, algorithm });
        }
        let pem = self.secret_bytes(&key, file)?;
        let candidates = named.and_then(|(_, known)| known).map_or(BY_KEY.to_vec(), |one| vec![one]);
        let Some(algorithm) = candidates.into_iter().find(|algorithm| signs(&pem, *algorithm)) else {
            let expected = match written.algorithm {
                Some(name) => format!("a PEM private key that signs with {name}"),
                None => "a PEM private key: RSA of at least 2048 bits, P-256, P-384 or Ed25519".to_owned(),
            };
            self.wrong(&key, expected, "make a key pair of such a kind, and register the public key");
            return None;
        };
        let pem = String::from_utf8(pem).ok()?;
        Some(AssertionKey { pem: Secret::new(pem), kid, algorithm })
    }

    /// A certificate chain and its key, by the names of their keys in a table.
    pub(super) fn certificate_files(
        &mut self,
        table: &str,
        names: (&str, &str),
        files: (Option<&Path>, Option<&Path>),
    ) -> Option<CertificateFiles> {
        let (certificate_key, key_key) = (format!("{table}.{}", names.0), format!("{table}.{}", names.1));
        if files.0.is_none() {
            self.missing(&certificate_key, "a PEM certificate chain", "name the file, leaf first");
        }
        if files.1.is_none() {
            self.missing(&key_key, "the PEM private key of the certificate", "name the file");
        }
        let (certificate, key) = (files.0?, files.1?);
        let found = CertificateFiles { certificate: self.path(certificate), key: self.path(key) };
        if self.surroundings.files() == Files::Assumed {
            return Some(found);
        }
        let chain = self.chain(&certificate_key, certificate);
        let pem = self.secret_bytes(&key_key, key)?;
        let Ok(private) = PrivateKeyDer::from_pem_slice(&pem) else {
            let mend = "use a file with one `-----BEGIN … PRIVATE KEY-----` block, not encrypted";
            self.wrong(&key_key, "a PEM private key (PKCS#8, PKCS#1 or SEC1)", mend);
            return None;
        };
        self.belong(&key_key, chain?, private).then_some(found)
    }
}

/// Whether the key signs with the algorithm.
fn signs(pem: &[u8], algorithm: Algorithm) -> bool {
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => return false,
    };
    key.is_ok_and(|key| jsonwebtoken::crypto::sign(b"a key that fits", &key, algorithm).is_ok())
}
