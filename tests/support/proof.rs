//! A client that holds a key and proves it: DPoP proofs (RFC 9449 §4.2), good ones and, by a change, any other.
//!
//! Stands alone, so that a test program or a bench that needs it names it by its path; the rest of `support` does not.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey};
use serde_json::{Map, Value, json};

/// A key pair, and what it says of itself.
pub struct Holder {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
}

/// What a proof says before it is signed.
pub struct Proof {
    /// The JOSE header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
}

impl Holder {
    /// A new key for ES256, ES384, EdDSA, or an algorithm of RSA (2048 bits).
    pub fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm.family() {
            AlgorithmFamily::Ec if algorithm == Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            AlgorithmFamily::Ec => &rcgen::PKCS_ECDSA_P256_SHA256,
            AlgorithmFamily::Ed => &rcgen::PKCS_ED25519,
            AlgorithmFamily::Hmac | AlgorithmFamily::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key pair");
        let pem = pair.serialize_pem().into_bytes();
        if algorithm == Algorithm::EdDSA {
            let key = EncodingKey::from_ed_pem(&pem).expect("a key of Ed25519");
            let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
            return Self { key, algorithm, jwk: json!({"crv": "Ed25519", "kty": "OKP", "x": x}) };
        }
        let key = EncodingKey::from_ec_pem(&pem).or_else(|_| EncodingKey::from_rsa_pem(&pem)).expect("a key");
        let whole = Jwk::from_encoding_key(&key, algorithm).expect("the public half");
        let whole = serde_json::to_value(whole).expect("JSON");
        // Only what the thumbprint is made of, in its order (RFC 7638 §3.2).
        let named = ["crv", "e", "kty", "n", "x", "y"].into_iter();
        let members = named.filter_map(|name| Some((name.to_owned(), whole.get(name)?.clone())));
        let jwk = Value::Object(members.collect::<Map<_, _>>());
        Self { key, algorithm, jwk }
    }

    /// What a token bound to this key has as `cnf.jkt` (RFC 7638).
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.jwk.to_string().as_bytes()))
    }

    /// A proof for one request: of now, with a new `jti`, and with the hash of the token unless the token is still
    /// being asked for. `change` has the last word before it is signed, on headers and claims alike.
    pub fn proof(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        change: impl FnOnce(&mut Proof),
    ) -> String {
        let url = url.split(['?', '#']).next().unwrap_or(url);
        let header = json!({"typ": "dpop+jwt", "alg": format!("{:?}", self.algorithm), "jwk": self.jwk});
        let mut claims = json!({"jti": random(), "htm": method, "htu": url, "iat": now()});
        if let (Some(token), Some(members)) = (token, claims.as_object_mut()) {
            let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
            members.insert("ath".to_owned(), json!(hash));
        }
        let mut proof = Proof { header, claims };
        change(&mut proof);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&proof.header), part(&proof.claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).expect("a signature");
        format!("{message}.{signature}")
    }
}

fn random() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock that is set").as_secs()
}
