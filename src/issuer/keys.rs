//! A published key set (RFC 7517) and what it verifies (RFC 8725 §3.1, §3.10).
//!
//! A key that is unknown, weak, private, symmetric or not for signatures is left out; the others stay usable. Keys come
//! from here only, whatever a token's header offers (TOK-21).

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::error::IssuerError;
use crate::oauth::CallError;
use crate::token::{JsonFault, Jwk, Jws, object};

/// Most keys of a set that are looked at.
const MOST_KEYS: usize = 100;

/// Most keys tried for one token.
const MOST_TRIED: usize = 8;

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
    keys: Vec<Jwk>,
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
        let keys: Vec<Jwk> = objects.take(MOST_KEYS).filter_map(|jwk| Jwk::read(&jwk.ok()?)).collect();
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
        let named = |key: &&Jwk| jws.kid().is_none_or(|kid| key.kid() == Some(kid));
        let mut fitting =
            self.keys.iter().filter(named).filter(|key| key.serves(algorithm)).take(MOST_TRIED).peekable();
        if fitting.peek().is_none() {
            return Verdict::NoKey;
        }
        if fitting.any(|key| key.verifies(jws)) { Verdict::Verified } else { Verdict::Wrong }
    }
}
