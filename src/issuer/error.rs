//! What can go wrong between the gateway and an authorization server.

use crate::token::JsonFault;

/// Why an issuer could not be set up, asked or understood. Texts are for operators; they hold no token and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The extra trust anchor cannot be read.
    #[error("trust anchor `{path}` cannot be read: {cause}")]
    AnchorUnreadable {
        /// The file.
        path: String,
        /// What the system or the PEM reader said.
        cause: String,
    },
    /// The HTTP client cannot be built.
    #[error("no HTTP client for `{issuer}`: {cause}")]
    ClientUnusable {
        /// The issuer.
        issuer: String,
        /// What the TLS library said.
        cause: String,
    },
    /// More than one issuer takes opaque tokens.
    #[error("`{first}` and `{second}` both take opaque tokens: expected at most one")]
    SeveralOpaque {
        /// The first of them.
        first: String,
        /// The second of them.
        second: String,
    },
    /// Neither https nor loopback.
    #[error("`{url}` is not used: expected https, or http on loopback")]
    UrlInsecure {
        /// The address.
        url: String,
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
    /// No answer in time.
    #[error("`{url}` did not answer in time")]
    TimedOut {
        /// The address.
        url: String,
    },
    /// No connection, or it broke.
    #[error("`{url}` cannot be reached: {cause}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// Not 200.
    #[error("`{url}` answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The body is larger than we hold.
    #[error("`{url}` answered with more than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The body is not the JSON it should be.
    #[error("`{url}` answered with something unreadable: {fault}")]
    Unreadable {
        /// The address.
        url: String,
        /// What is wrong with it.
        fault: JsonFault,
    },
    /// A key set without one key that could verify anything.
    #[error("`{url}` has no usable signature key")]
    NoUsableKey {
        /// The address.
        url: String,
    },
    /// Introspection without client credentials.
    #[error("introspection at `{issuer}` needs `client`")]
    ClientMissing {
        /// The issuer.
        issuer: String,
    },
    /// The call took longer than a request may wait.
    #[error("no answer in time")]
    NoAnswer,
}
