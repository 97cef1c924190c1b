//! Tokens seen before: one hash and one look-up instead of a signature or a call (TOK-44).
//!
//! The key is the whole SHA-256 of the token (KEYS-024). Good and refused tokens live apart, so that a flood of junk
//! cannot push out good ones. A finding is worth something only while the very server it came from is configured, so the
//! memory outlives a reload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use moka::future::Cache;

use super::keys::Digest;
use super::server::Server;
use crate::telemetry::TokenFigures;
use crate::token::{TokenError, VerifiedClaims};

const MOST_GOOD: u64 = 20_000;
const MOST_REFUSED: u64 = 5_000;

/// What was found out about a token, and what that rests on.
#[derive(Clone)]
pub(super) struct Remembered<T> {
    /// Who vouches for it. Weak: a server that is no longer configured goes, whatever is remembered of its tokens.
    pub(super) server: Weak<Server>,
    /// The key set that verified it; another set makes the finding void.
    pub(super) keys: Option<Digest>,
    /// Not to be believed from here on.
    pub(super) until: Instant,
    /// The finding.
    pub(super) finding: T,
}

/// Findings about tokens, bounded in number. Clones share them.
#[derive(Clone)]
pub(super) struct Memory {
    good: Cache<Digest, Remembered<VerifiedClaims>>,
    refused: Cache<Digest, Remembered<TokenError>>,
    lookups: Arc<Lookups>,
}

/// How often a token was known, for those who watch.
#[derive(Default)]
struct Lookups {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { good: Cache::new(MOST_GOOD), refused: Cache::new(MOST_REFUSED), lookups: Arc::default() }
    }

    /// A token was known.
    pub(super) fn hit(&self) {
        self.lookups.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// A token was not known, or what was known of it holds no longer.
    pub(super) fn missed(&self) {
        self.lookups.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// How many are kept, and how often they were of use.
    pub(super) fn figures(&self) -> TokenFigures {
        TokenFigures {
            hits: self.lookups.hits.load(Ordering::Relaxed),
            misses: self.lookups.misses.load(Ordering::Relaxed),
            good: self.good.entry_count(),
            refused: self.refused.entry_count(),
        }
    }

    /// What is known of a good token; it may hold no longer.
    pub(super) async fn good(&self, token: &Digest) -> Option<Remembered<VerifiedClaims>> {
        self.good.get(token).await
    }

    /// Why a token was refused a moment ago; it may hold no longer.
    pub(super) async fn refused(&self, token: &Digest) -> Option<Remembered<TokenError>> {
        self.refused.get(token).await
    }

    /// Forgets that a token was good.
    pub(super) async fn forget(&self, token: &Digest) {
        self.good.invalidate(token).await;
    }

    pub(super) async fn keep(&self, token: Digest, known: Remembered<VerifiedClaims>) {
        self.good.insert(token, known).await;
    }

    pub(super) async fn keep_refusal(&self, token: Digest, known: Remembered<TokenError>) {
        self.refused.insert(token, known).await;
    }
}
