//! Tokens seen before: one hash and one look-up instead of a signature or a call (TOK-44).
//!
//! The key is the whole SHA-256 of the token (KEYS-024). Good and refused tokens live apart, so that a flood of junk
//! cannot push out good ones.

use std::time::Instant;

use moka::future::Cache;

use super::keys::Digest;
use crate::token::{TokenError, VerifiedClaims};

const MOST_GOOD: u64 = 20_000;
const MOST_REFUSED: u64 = 5_000;

/// What was found out about a token, and what that rests on.
#[derive(Debug, Clone)]
pub(super) struct Remembered<T> {
    /// The issuer, by position.
    pub(super) server: usize,
    /// The key set that verified it; another set makes the finding void.
    pub(super) keys: Option<Digest>,
    /// Not to be believed from here on.
    pub(super) until: Instant,
    /// The finding.
    pub(super) finding: T,
}

/// Findings about tokens, bounded in number.
#[derive(Debug)]
pub(super) struct Memory {
    good: Cache<Digest, Remembered<VerifiedClaims>>,
    refused: Cache<Digest, Remembered<TokenError>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { good: Cache::new(MOST_GOOD), refused: Cache::new(MOST_REFUSED) }
    }

    /// What is known of a good token, if it still holds at `now`.
    pub(super) async fn good(&self, token: &Digest, now: Instant) -> Option<Remembered<VerifiedClaims>> {
        let known = self.good.get(token).await?;
        if now < known.until {
            return Some(known);
        }
        self.good.invalidate(token).await;
        None
    }

    /// Why a token was refused a moment ago, if that still holds at `now`.
    pub(super) async fn refused(&self, token: &Digest, now: Instant) -> Option<TokenError> {
        self.refused.get(token).await.filter(|known| now < known.until).map(|known| known.finding)
    }

    pub(super) async fn keep(&self, token: Digest, known: Remembered<VerifiedClaims>) {
        self.good.insert(token, known).await;
    }

    pub(super) async fn keep_refusal(&self, token: Digest, known: Remembered<TokenError>) {
        self.refused.insert(token, known).await;
    }
}
