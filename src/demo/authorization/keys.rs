//! ES256 keys: made at the start, added, rotated and withdrawn by tests.

use std::io;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

struct Key {
    kid: String,
    pair: EcdsaKeyPair,
    published: bool,
}

pub(super) struct Keys {
    all: Vec<Key>,
    active: String,
}

impl Keys {
    pub(super) fn new() -> io::Result<Self> {
        let mut keys = Self { all: Vec::new(), active: String::new() };
        keys.rotate()?;
        Ok(keys)
    }

    pub(super) fn active(&self) -> &str {
        &self.active
    }

    pub(super) fn add(&mut self) -> io::Result<String> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(io::Error::other)?;
        let kid = format!("demo-{}", self.all.len() + 1);
        self.all.push(Key { kid: kid.clone(), pair, published: true });
        Ok(kid)
    }

    pub(super) fn rotate(&mut self) -> io::Result<String> {
        self.active = self.add()?;
        Ok(self.active.clone())
    }

    pub(super) fn withdraw(&mut self, kid: &str) {
        for key in self.all.iter_mut().filter(|key| key.kid == kid) {
            key.published = false;
        }
    }

    /// The public halves as a JWK set (RFC 7517 §5).
    pub(super) fn published(&self) -> Value {
        let keys: Vec<Value> = self.all.iter().filter(|key| key.published).map(Key::public).collect();
        json!({"keys": keys})
    }

    /// A JWS in compact form; the header is that of an access token (RFC 9068 §2.1) unless told otherwise.
    pub(super) fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        let asked = header.get("kid").and_then(Value::as_str).unwrap_or(&self.active);
        let named = |kid: &str| self.all.iter().find(|key| key.kid == kid);
        let Some(key) = named(asked).or_else(|| named(&self.active)) else { return String::new() };
        let mut full = Map::new();
        full.insert("typ".to_owned(), "at+jwt".into());
        full.insert("alg".to_owned(), "ES256".into());
        full.insert("kid".to_owned(), key.kid.clone().into());
        full.extend(header.as_object().cloned().unwrap_or_default());
        full.retain(|_, value| !value.is_null());
        let encode = |map: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(map).to_string());
        let signed = format!("{}.{}", encode(full), encode(claims.clone()));
        let signature = key.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map(|bytes| URL_SAFE_NO_PAD.encode(bytes.as_ref())).unwrap_or_default();
        format!("{signed}.{signature}")
    }
}

impl Key {
    fn public(&self) -> Value {
        // An uncompressed point: 4, then x and y in 32 bytes each (SEC 1 §2.3.3).
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).and_then(|rest| rest.split_at_checked(32)).unwrap_or_default();
        json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;

    fn verifies(keys: &Keys, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let set = keys.published();
        let key = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == header.kid.clone().unwrap().as_str());
        let Some(key) = key else { return false };
        let key =
            DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        decode::<Value>(token, &key, &rules).is_ok()
    }

    #[test]
    fn tokens_verify_with_the_published_key_and_no_other() {
        let mut keys = Keys::new().unwrap();
        let claims = json!({"sub": "x"}).as_object().unwrap().clone();
        let first = keys.active().to_owned();
        let old = keys.sign(&json!({}), &claims);
        assert!(verifies(&keys, &old));
        let second = keys.rotate().unwrap();
        let new = keys.sign(&json!({}), &claims);
        assert!(verifies(&keys, &old) && verifies(&keys, &new));
        keys.withdraw(&first);
        assert!(!verifies(&keys, &old) && verifies(&keys, &new));
        let forged = keys.sign(&json!({"kid": first}), &claims).replace(&first, &second);
        assert!(!verifies(&keys, &forged));
        let swapped = format!("{}.{}", new.rsplit_once('.').unwrap().0, old.rsplit_once('.').unwrap().1);
        assert!(!verifies(&keys, &swapped));
    }
}
