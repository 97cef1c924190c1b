//! A published key set (RFC 7517) and what it verifies (RFC 8725 §3.1, §3.10).
//!
//! A key that is unknown, weak, private, symmetric or not for signatures is left out; the others stay usable. Keys come
//! from here only, whatever a token's header offers (TOK-21).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;

use super::error::IssuerError;
use crate::oauth::CallError;
use crate::token::{JsonFault, Jws, object};

/// Most keys of a set that are looked at.
const MOST_KEYS: usize = 100;

/// Most keys tried for one token.
const MOST_TRIED: usize = 8;

/// RFC 7518 §3.3 demands 2048 bits; more than 8192 only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// SHA-256 of something.
pub(super) type Digest = [u8; 32];

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// The usable signature keys of an issuer.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    identity: Digest,
}

/// What a key set says about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of its keys made the signature.
    Verified,
    /// It has no key of this id that fits; a newer set may.
    NoKey,
    /// The keys that fit did not make the signature.
    Wrong,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    kind: Kind,
    algorithm: Option<String>,
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

#[derive(Deserialize)]
struct Published {
    keys: Vec<Box<RawValue>>,
}

impl KeySet {
    /// Reads a key set, key by key.
    pub(super) fn read(bytes: &[u8], url: &Url) -> Result<Self, IssuerError> {
        let published: Published = serde_json::from_slice(bytes)
            .map_err(|_| CallError::Unreadable { url: url.to_string(), fault: JsonFault::Syntax })?;
        let objects = published.keys.iter().map(|raw| object(raw.get().as_bytes()));
        let keys: Vec<Key> = objects.take(MOST_KEYS).filter_map(|jwk| Key::read(&jwk.ok()?)).collect();
        if keys.is_empty() {
            return Err(IssuerError::NoUsableKey { url: url.to_string() });
        }
        Ok(Self { keys, identity: sha256(bytes) })
    }

    /// Changes whenever the published set does.
    pub(super) fn identity(&self) -> Digest {
        self.identity
    }

    /// Tries the keys of the token's `kid`, or all that fit when it has none.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Verdict {
        let algorithm = jws.algorithm();
        let named = |key: &&Key| jws.kid().is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let mut fitting =
            self.keys.iter().filter(named).filter(|key| key.serves(algorithm)).take(MOST_TRIED).peekable();
        if fitting.peek().is_none() {
            return Verdict::NoKey;
        }
        let message = jws.signed().as_bytes();
        let mut made = fitting
            .map(|key| jsonwebtoken::crypto::verify(jws.signature(), message, &key.material, algorithm));
        if made.any(|verified| verified.unwrap_or(false)) { Verdict::Verified } else { Verdict::Wrong }
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // A private key in a published set is nobody's secret any more.
        if jwk.contains_key("d") || !for_signatures(jwk) {
            return None;
        }
        let (kind, material) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Kind::Rsa, rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Kind::P256, curve(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Kind::P384, curve(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, edwards(text("x")?)?),
            (_, _) => return None,
        };
        let optional = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        };
        Some(Self { kid: optional("kid")?, kind, algorithm: optional("alg")?, material })
    }

    /// Whether it may be used with this algorithm: by kind, and by its own `alg` (JWT-010).
    fn serves(&self, algorithm: Algorithm) -> bool {
        let own = self.algorithm.as_deref().map(|name| if name == "Ed25519" { "EdDSA" } else { name });
        self.kind.fits(algorithm) && own.is_none_or(|name| name.parse() == Ok(algorithm))
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
