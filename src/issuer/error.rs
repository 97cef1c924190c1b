//! What can go wrong between the gateway and an authorization server.

use std::time::Duration;

use crate::oauth::CallError;

/// Why an issuer could not be set up, asked or understood. Texts are for operators; they hold no token and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// A call went wrong, or could not be prepared.
    #[error(transparent)]
    Call(#[from] CallError),
    /// More than one issuer takes opaque tokens.
    #[error("`{first}` and `{second}` both take opaque tokens: expected at most one")]
    SeveralOpaque {
        /// The first of them.
        first: String,
        /// The second of them.
        second: String,
    },
    /// Metadata points to another host, and configuration does not (KEYS-013).
    #[error(
        "metadata gives `{member}` as `{url}`: expected the issuer's own host, or the address in the configuration"
    )]
    HostForeign {
        /// The member of the metadata.
        member: &'static str,
        /// The address.
        url: String,
    },
    /// Neither configuration nor metadata has the address.
    #[error("metadata has no usable `{member}` and the configuration has none either")]
    EndpointMissing {
        /// The member of the metadata.
        member: &'static str,
    },
    /// Metadata of somebody else (DISC-21).
    #[error("metadata names the issuer `{found}`: expected `{expected}`")]
    IssuerDiffers {
        /// What it says.
        found: String,
        /// What is configured.
        expected: String,
    },
    /// A key set without one key that could verify anything.
    #[error("`{url}` has no usable signature key")]
    NoUsableKey {
        /// The address.
        url: String,
    },
    /// An answer that nothing has changed, and nothing to which that could apply.
    #[error("the answer says that nothing has changed, but nothing is kept")]
    NothingKept,
    /// A signed introspection answer that is not this issuer's, not for us, or not of now (TOK-48).
    #[error("the signed introspection answer of `{issuer}` is refused: {cause}")]
    AnswerRefused {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Introspection without client credentials.
    #[error("introspection at `{issuer}` needs `client`")]
    ClientMissing {
        /// The issuer.
        issuer: String,
    },
}

impl IssuerError {
    /// For how long the server wants to be left alone, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Call(error) = self { error.retry_after() } else { None }
    }
}
