//! Checks a DPoP proof (RFC 9449 §4.3; TOK-63): every check but two, which need a memory.
//!
//! Whether a nonce is good is [`super::NonceKey`]'s to judge, and whether the proof was used before (RFC 9449 §11.1) is
//! known to whoever remembers [`Proven::digest`]. That its key is the token's is for [`super::Caller::admit`].

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::binding::Thumbprint;
use super::claims::date;
use super::error::TokenError;
use super::jose::Jws;
use super::jwk::Jwk;
use super::nonce::SKEW;
use super::presented::{AccessToken, Proof};
use super::uri::normal;

/// The algorithms of accepted proofs, by their names in `algs` and in published metadata: every asymmetric one that
/// can be checked. A client chooses its key itself, so there is nobody to restrict them for.
pub const PROOF_ALGORITHMS: [&str; 10] =
    ["ES256", "ES384", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// The longest proof that is read: one with an RSA key of 8192 bits has less than 5 KiB.
const MAX_PROOF_BYTES: usize = 8 * 1024;

/// The longest `jti` that is taken.
const MAX_JTI_BYTES: usize = 256;

/// The request that a proof must have been made for.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its URL as the client knows it, without query.
    pub url: &'r str,
    /// Its instant.
    pub now: Timestamp,
    /// How far `iat` may lie from it, in either direction.
    pub window: Duration,
}

/// A proof that passed every check that needs no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    key: Thumbprint,
    nonce: Option<String>,
    digest: [u8; 32],
    issued: Timestamp,
    lifetime: Duration,
}

impl Proven {
    /// The key whose possession it proves.
    #[must_use]
    pub fn key(&self) -> Thumbprint {
        self.key
    }

    /// Its nonce, not yet judged.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The same for every proof of this key, `jti` and URL, whatever else stands in it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Its `iat`.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        self.issued
    }

    /// How long it would pass again, from the request's instant, on any replica: up to twice the window when it was made
    /// by a clock ahead of ours.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// The check of RFC 9449 §4.3 that a proof did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// Longer than any that is read.
    #[error("it is longer than {MAX_PROOF_BYTES} bytes")]
    Oversized,
    /// Checks 2, 4 to 6: no JWS whose header leaves nothing to choose.
    #[error("read as a JWS: {0}")]
    Jws(Box<TokenError>),
    /// Check 4.
    #[error("`typ` is not `dpop+jwt`")]
    Type,
    /// Check 7: absent, private, weak, or of another kind than the algorithm.
    #[error("`jwk` is no public key that fits `alg`")]
    Key,
    /// Check 6.
    #[error("the signature does not verify with `jwk`")]
    Signature,
    /// Check 3.
    #[error("claim `{0}` is missing or unusable")]
    Claim(&'static str),
    /// Check 8.
    #[error("`htm` is not the request's method")]
    Method,
    /// Check 9.
    #[error("`htu` is not the request's URL without query, `{0}`")]
    Url(String),
    /// Check 11.
    #[error("`iat` is {0}: further from now than `dpop.clock_window`")]
    Time(Timestamp),
    /// Check 12.
    #[error("`ath` is not the hash of the access token")]
    Token,
}

impl ProofFault {
    /// A name for this that stays the same between versions.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::Oversized | Self::Jws(_) | Self::Type | Self::Key | Self::Claim(_) => {
                "dpop_proof_malformed"
            }
            Self::Signature => "dpop_proof_signature_invalid",
            Self::Method => "dpop_proof_method",
            Self::Url(_) => "dpop_proof_url",
            Self::Time(_) => "dpop_proof_time",
            Self::Token => "dpop_proof_token",
        }
    }
}

impl Proof {
    /// Checks that whoever holds the key in the proof sends this token with this request.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(&self, token: &AccessToken, sent: &Sent<'_>) -> Result<Proven, TokenError> {
        self.checked(token, sent).map_err(TokenError::DpopProofRefused)
    }

    fn checked(&self, token: &AccessToken, sent: &Sent<'_>) -> Result<Proven, ProofFault> {
        let text = self.reveal();
        if text.len() > MAX_PROOF_BYTES {
            return Err(ProofFault::Oversized);
        }
        let (jws, header) = Jws::of(text).map_err(|error| ProofFault::Jws(Box::new(error)))?;
        if jws.typ() != Some("dpop+jwt") {
            return Err(ProofFault::Type);
        }
        let jwk = header.get("jwk").and_then(Value::as_object).and_then(Jwk::read);
        let jwk = jwk.filter(|jwk| jwk.serves(jws.algorithm())).ok_or(ProofFault::Key)?;
        if !jwk.verifies(&jws) {
            return Err(ProofFault::Signature);
        }
        let claims = jws.unverified();
        if text_claim(claims, "htm")? != sent.method.as_str() {
            return Err(ProofFault::Method);
        }
        let url = normal(sent.url).ok_or_else(|| ProofFault::Url(sent.url.to_owned()))?;
        if normal(text_claim(claims, "htu")?).as_ref() != Some(&url) {
            return Err(ProofFault::Url(url));
        }
        let hash = digest::digest(&digest::SHA256, token.reveal().as_bytes());
        if text_claim(claims, "ath")? != URL_SAFE_NO_PAD.encode(hash) {
            return Err(ProofFault::Token);
        }
        let nonce = match claims.get("nonce") {
            None => None,
            Some(_) => Some(text_claim(claims, "nonce")?.to_owned()),
        };
        let jti = text_claim(claims, "jti")?;
        if jti.len() > MAX_JTI_BYTES {
            return Err(ProofFault::Claim("jti"));
        }
        let issued = date(claims, "iat").ok().flatten().ok_or(ProofFault::Claim("iat"))?;
        let lifetime = lifetime(issued, sent)?;
        let key = jwk.thumbprint();
        Ok(Proven { key, nonce, digest: identity(key, jti, &url), issued, lifetime })
    }
}

fn text_claim<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, ProofFault> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(ProofFault::Claim(name)),
    }
}

/// Checks `iat`, and says how long it will be within the window of any replica.
fn lifetime(iat: Timestamp, sent: &Sent<'_>) -> Result<Duration, ProofFault> {
    let age = sent.now.duration_since(iat);
    if age.unsigned_abs() > sent.window {
        return Err(ProofFault::Time(iat));
    }
    let window = SignedDuration::try_from(sent.window).unwrap_or(SignedDuration::MAX);
    let left = window.saturating_sub(age).saturating_add(SKEW);
    Ok(Duration::try_from(left).unwrap_or(sent.window))
}

/// RFC 9449 §11.1: a `jti` counts in the context of its URL. Lengths keep the parts apart.
fn identity(key: Thumbprint, jti: &str, url: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(key.bytes());
    for part in [jti, url] {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests;
