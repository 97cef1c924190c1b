//! What replicas of one gateway share: which DPoP proofs were used, which tokens are revoked, how many requests a client
//! made, and the key that links and nonces are made with.
//!
//! Without `[shared_state]` it is kept in this process. What cannot be known of a proof is a refusal, never an
//! acceptance (TOK-64); rates and revocations go on with what this process knows (KEYS-032, FLT-011).

mod proofs;

pub use proofs::Proof;

use std::time::{Duration, Instant};

use crate::config::SharedState;
use proofs::Proofs;

/// Why it cannot be known whether a proof was used before: it must be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// The server that keeps it does not answer.
    #[error("`shared_state.url` cannot be used: {0}")]
    Away(String),
    /// One key used as many proofs as it may in their lifetime.
    #[error("the proofs of one key fill their share of the memory of used proofs")]
    Crowded,
    /// There is no room for more.
    #[error("the memory of used proofs is full")]
    Full,
}

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Never in its lifetime.
    First,
    /// Before.
    Again,
}

/// What replicas share. Outlives reloads.
#[derive(Debug)]
pub struct Shared {
    proofs: Proofs,
}

impl Shared {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// When the address or the trust anchor cannot be used.
    pub fn new(_settings: Option<&SharedState>) -> Result<Self, SharedError> {
        Ok(Self { proofs: Proofs::new(Instant::now()) })
    }

    /// Notes the use of a proof for as long as it could be accepted again: `lifetime`, from now (TOK-64, RFC 9449 §11.1).
    ///
    /// # Errors
    /// When it cannot be known whether this is the first use: the proof must not be accepted then.
    #[expect(clippy::unused_async, reason = "a shared memory is asked over the network")]
    pub async fn first_use(&self, proof: &Proof, lifetime: Duration) -> Result<Use, SharedError> {
        self.proofs.note(proof, lifetime, Instant::now())
    }
}
