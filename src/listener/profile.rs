//! What each value of `server.tls.suites` offers: versions, suites, groups and signature schemes (TLS-1, TLS-3 … TLS-6).
//!
//! `modern` is the library's choice: TLS 1.3 and 1.2, ephemeral elliptic curves and AEAD only, X25519MLKEM768 first.
//! `bsi-tr-02102-2` holds what the tables of BSI TR-02102-2 list and the library has: AES-GCM suites, the NIST curves, and
//! signatures by ECDSA or RSA-PSS. The library has neither AES-CCM, secp521r1, brainpool curves nor finite-field groups.
//! X25519 and its hybrid with ML-KEM are not in the tables for TLS, so they are off.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::config::TlsSuites;

/// Signature schemes of the BSI profile, ours and the clients' (TLS-5). Under TLS 1.2 the ECDSA schemes name the hash only.
const BSI_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
];

/// The cryptography of a profile, in the server's order of preference.
pub(super) fn provider(suites: TlsSuites) -> CryptoProvider {
    let library = aws_lc_rs::default_provider();
    match suites {
        TlsSuites::BsiTr021022 => CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            kx_groups: vec![kx_group::SECP256R1, kx_group::SECP384R1],
            signature_verification_algorithms: *BSI_ALGORITHMS,
            key_provider: &BsiKeys,
            ..library
        },
        TlsSuites::Modern => library,
    }
}

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// The library's algorithms, without those of other schemes: for handshakes, certificates and revocation lists of clients.
static BSI_ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    let library = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mapping: Vec<(SignatureScheme, Algorithms)> =
        library.mapping.iter().filter(|(scheme, _)| BSI_SCHEMES.contains(scheme)).copied().collect();
    let all: Vec<_> = mapping.iter().flat_map(|(_, algorithms)| algorithms.iter().copied()).collect();
    // The library wants them to live for ever; they are made once.
    WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() }
});

/// Loads keys that sign by the schemes of the BSI profile only.
#[derive(Debug)]
struct BsiKeys;

impl KeyProvider for BsiKeys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        let key = aws_lc_rs::sign::any_supported_type(&key)?;
        if key.choose_scheme(&BSI_SCHEMES).is_none() {
            let cause = "a key that signs with ECDSA or RSA-PSS is needed under bsi-tr-02102-2";
            return Err(rustls::Error::General(cause.to_owned()));
        }
        Ok(Arc::new(BsiKey(key)))
    }
}

/// The library signs by whatever the client offers, PKCS#1 v1.5 under TLS 1.2 included; this key sees less of the offer.
#[derive(Debug)]
struct BsiKey(Arc<dyn SigningKey>);

impl SigningKey for BsiKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let listed: Vec<_> = offered.iter().filter(|scheme| BSI_SCHEMES.contains(scheme)).copied().collect();
        self.0.choose_scheme(&listed)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}
