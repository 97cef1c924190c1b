//! What replicas of one gateway share: which DPoP proofs were used, which tokens are revoked, how many requests a client
//! made, and the key that links and nonces are made with.
//!
//! Without `[shared_state]` it is kept in this process.

mod memory;

pub use memory::{Shared, SharedError, Use};
