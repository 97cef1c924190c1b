//! Nonces for DPoP proofs (RFC 9449 §8, §9; TOK-65): the time, and a code that only holders of the key can make.
//!
//! Nothing is remembered, so every replica with the same key accepts the nonces of all. A nonce may be used more than
//! once while it lasts; that a proof is not used twice is the replay memory's business.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

/// How long a nonce is accepted.
const LIFETIME: SignedDuration = SignedDuration::from_secs(300);

/// A nonce older than this is renewed with the next answer.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_secs(150);

/// Clocks of replicas may differ by this much.
pub(super) const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Bytes of the code.
const CODE: usize = 16;

/// What nonces are made with, and a key before it whose nonces are still accepted.
#[derive(Debug)]
pub struct NonceKey {
    key: hmac::Key,
    former: Option<hmac::Key>,
}

/// What a nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceAge {
    /// Accepted.
    Fresh,
    /// Accepted, and the next answer should bring a new one.
    Aging,
    /// Too old, not ours, or no nonce at all.
    Unusable,
}

impl NonceKey {
    /// Derives the key from 32 secret bytes that may serve other purposes too.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: derived(secret), former: None }
    }

    /// The same, accepting what was made with another secret as well.
    #[must_use]
    pub fn succeeding(self, former: &[u8; 32]) -> Self {
        Self { former: Some(derived(former)), ..self }
    }

    /// The nonce of this instant.
    #[must_use]
    pub fn issue(&self, now: Timestamp) -> String {
        let time = now.as_second().to_be_bytes();
        let code = hmac::sign(&self.key, &time);
        let code = code.as_ref().get(..CODE).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&time, code].concat())
    }

    /// Judges a nonce.
    #[must_use]
    pub fn judge(&self, nonce: &str, now: Timestamp) -> NonceAge {
        let Some(issued) = self.issued(nonce) else { return NonceAge::Unusable };
        let age = now.duration_since(issued);
        if age < -SKEW || age >= LIFETIME {
            NonceAge::Unusable
        } else if age >= RENEWED_AFTER {
            NonceAge::Aging
        } else {
            NonceAge::Fresh
        }
    }

    fn issued(&self, nonce: &str) -> Option<Timestamp> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (time, code) = bytes.split_first_chunk::<8>()?;
        let made_with = |key: &hmac::Key| {
            let expected = hmac::sign(key, time);
            let expected = expected.as_ref().get(..CODE).unwrap_or_default();
            verify_slices_are_equal(code, expected).is_ok()
        };
        if !made_with(&self.key) && !self.former.as_ref().is_some_and(made_with) {
            return None;
        }
        Timestamp::from_second(i64::from_be_bytes(*time)).ok()
    }
}

fn derived(secret: &[u8; 32]) -> hmac::Key {
    let purpose = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"pforte DPoP nonce");
    hmac::Key::new(hmac::HMAC_SHA256, purpose.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TOK-65, POP-013: each limit on both sides, and nonces of others.
    #[test]
    fn ages() {
        let (key, other) = (NonceKey::new(&[1; 32]), NonceKey::new(&[2; 32]));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let nonce = key.issue(at(0));
        let table = [
            (0, NonceAge::Fresh),
            (-30, NonceAge::Fresh),
            (-31, NonceAge::Unusable),
            (149, NonceAge::Fresh),
            (150, NonceAge::Aging),
            (299, NonceAge::Aging),
            (300, NonceAge::Unusable),
        ];
        for (later, age) in table {
            assert_eq!(key.judge(&nonce, at(later)), age, "{later}");
        }
        assert_eq!(NonceKey::new(&[1; 32]).judge(&nonce, at(0)), NonceAge::Fresh);
        assert_eq!(other.judge(&nonce, at(0)), NonceAge::Unusable);
        let successor = NonceKey::new(&[2; 32]).succeeding(&[1; 32]);
        assert_eq!(successor.judge(&nonce, at(0)), NonceAge::Fresh);
        assert_eq!(successor.judge(&other.issue(at(0)), at(0)), NonceAge::Fresh);
        assert_eq!(key.judge(&successor.issue(at(0)), at(0)), NonceAge::Unusable);
        for text in
            ["", "x", "AAAA", nonce.trim_start_matches('A'), &format!("{nonce}A"), &nonce.to_uppercase()]
        {
            assert_eq!(key.judge(text, at(0)), NonceAge::Unusable, "{text}");
        }
    }
}
