//! A public signature key as JWK (RFC 7517), read the same way whether an issuer publishes it or a proof brings it.
//!
//! A key that is private, symmetric, weak, of an unknown kind or not for signatures is no key (RFC 8725 §3.2, §3.10).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value, json};

use super::binding::Thumbprint;
use super::jose::Jws;

/// RFC 7518 §3.3 demands 2048 bits; more than 8192 only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that only private and symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key that signatures can be checked with.
#[derive(Debug)]
pub struct Jwk {
    kid: Option<String>,
    kind: Kind,
    algorithm: Option<String>,
    thumbprint: Thumbprint,
    material: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Kind {
    fn fits(self, algorithm: Algorithm) -> bool {
        let fitting: &[Algorithm] = match self {
            Self::Ed25519 => &[Algorithm::EdDSA],
            Self::P256 => &[Algorithm::ES256],
            Self::P384 => &[Algorithm::ES384],
            Self::Rsa => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
        };
        fitting.contains(&algorithm)
    }
}

impl Jwk {
    /// Reads a key; `None` when it is none that signatures may be checked with.
    #[must_use]
    pub fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // A private key that was sent or published is nobody's secret any more.
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) || !for_signatures(jwk) {
            return None;
        }
        // The members of the thumbprint stand in its order (RFC 7638 §3.2, RFC 8037 §2).
        let (kind, material, named) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (text("n")?, text("e")?);
                (Kind::Rsa, rsa(n, e)?, json!({"e": e, "kty": "RSA", "n": n}))
            }
            ("EC", Some(crv @ ("P-256" | "P-384"))) => {
                let (x, y) = (text("x")?, text("y")?);
                let (kind, bytes) = if crv == "P-256" { (Kind::P256, 32) } else { (Kind::P384, 48) };
                (kind, curve(x, y, bytes)?, json!({"crv": crv, "kty": "EC", "x": x, "y": y}))
            }
            ("OKP", Some("Ed25519")) => {
                let x = text("x")?;
                (Kind::Ed25519, edwards(x)?, json!({"crv": "Ed25519", "kty": "OKP", "x": x}))
            }
            (_, _) => return None,
        };
        let optional = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        };
        Some(Self {
            kid: optional("kid")?,
            kind,
            algorithm: optional("alg")?,
            thumbprint: Thumbprint::of(named.to_string().as_bytes()),
            material,
        })
    }

    /// Its id in the set that it is published in.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its SHA-256 thumbprint (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Whether it may be used with this algorithm: by kind, and by its own `alg` (JWT-010).
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        let own = self.algorithm.as_deref().map(|name| if name == "Ed25519" { "EdDSA" } else { name });
        self.kind.fits(algorithm) && own.is_none_or(|name| name.parse() == Ok(algorithm))
    }

    /// Whether it made the signature. A key that does not serve the algorithm never did.
    #[must_use]
    pub fn verifies(&self, jws: &Jws<'_>) -> bool {
        let (algorithm, message) = (jws.algorithm(), jws.signed().as_bytes());
        self.serves(algorithm)
            && jsonwebtoken::crypto::verify(jws.signature(), message, &self.material, algorithm)
                .unwrap_or(false)
    }
}

/// RFC 7517 §4.2, §4.3: `use` is `sig`, `key_ops` holds `verify`, or they are absent.
fn for_signatures(jwk: &Map<String, Value>) -> bool {
    let purpose = jwk.get("use").is_none_or(|value| value == "sig");
    let operations = match jwk.get("key_ops") {
        None => true,
        Some(value) => value.as_array().is_some_and(|list| list.iter().any(|item| item == "verify")),
    };
    purpose && operations
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let (modulus, exponent) = (number(modulus)?, number(exponent)?);
    let leading = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let bits = modulus.len().checked_mul(8)?.checked_sub(leading)?;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let one = exponent.as_slice() == [1];
    let sound = RSA_BITS.contains(&bits) && odd(&modulus) && odd(&exponent) && !one && exponent.len() <= 4;
    sound.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// An unsigned big-endian number without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn curve(x: &str, y: &str, bytes: usize) -> Option<DecodingKey> {
    let whole = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|decoded| decoded.len() == bytes);
    (whole(x) && whole(y)).then(|| DecodingKey::from_ec_components(x, y).ok()).flatten()
}

fn edwards(x: &str) -> Option<DecodingKey> {
    let whole = URL_SAFE_NO_PAD.decode(x).is_ok_and(|decoded| decoded.len() == 32);
    whole.then(|| DecodingKey::from_ed_components(x).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbprint(jwk: &Value) -> Option<String> {
        Jwk::read(jwk.as_object().unwrap()).map(|key| key.thumbprint().to_string())
    }

    /// The key of RFC 7638 §3.1.
    fn rsa_key() -> Value {
        json!({
            "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        })
    }

    /// The key of RFC 9449, figures 2 and 9.
    fn curve_key() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
        })
    }

    /// RFC 7638 §3.1; RFC 9449 §6.1; RFC 8037 appendix A.3: whatever stands beside, and in any order.
    #[test]
    fn thumbprints() {
        let mut beside = curve_key();
        beside["kid"] = json!("1");
        beside["use"] = json!("sig");
        let table = [
            (rsa_key(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (curve_key(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            (beside, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            (
                json!({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "crv": "Ed25519", "kty": "OKP"}),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ];
        for (jwk, means) in table {
            assert_eq!(thumbprint(&jwk).as_deref(), Some(means), "{jwk}");
        }
    }

    /// TOK-21, TOK-30, TOK-63: keys that are none, each beside the one it was made from.
    #[test]
    fn keys_that_are_none() {
        let table = [
            (curve_key(), "d", json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")),
            (curve_key(), "d", Value::Null),
            (curve_key(), "k", json!("c2VjcmV0")),
            (curve_key(), "use", json!("enc")),
            (curve_key(), "key_ops", json!(["sign"])),
            (curve_key(), "key_ops", json!("verify")),
            (curve_key(), "crv", json!("P-384")),
            (curve_key(), "crv", json!("secp256k1")),
            (curve_key(), "kty", json!("RSA")),
            (curve_key(), "kty", json!("oct")),
            (curve_key(), "x", json!("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBF")),
            (curve_key(), "x", json!("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFt")), // stray bits
            (curve_key(), "x", json!(7)),
            (curve_key(), "alg", json!(["ES256"])),
            (rsa_key(), "p", json!("AQAB")),
            (rsa_key(), "e", json!("AQ")),
            (rsa_key(), "e", json!("AQAA")),
            (rsa_key(), "e", json!("AQAAAAE")),
            (rsa_key(), "n", json!("0vx7agoebGcQSuuPiLJXZptN9nndrQ")),
            (rsa_key(), "n", json!("")),
        ];
        for (good, member, value) in table {
            assert!(thumbprint(&good).is_some(), "{good}");
            let mut bad = good;
            bad[member] = value;
            assert_eq!(thumbprint(&bad), None, "{bad}");
        }
    }
}
