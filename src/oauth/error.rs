//! What can go wrong when the gateway calls an authorization server.

use std::time::Duration;

use crate::token::{JsonFault, Quoted};

/// Why a call could not be prepared, made or understood. Texts are for operators; they hold no token and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A trust anchor, certificate or key cannot be read.
    #[error("`{path}` cannot be read: {cause}")]
    AnchorUnreadable {
        /// The file.
        path: String,
        /// What the system or the PEM reader said.
        cause: String,
    },
    /// The HTTP client cannot be built.
    #[error("no HTTP client for `{server}`: {cause}")]
    ClientUnusable {
        /// What it is for.
        server: String,
        /// What the TLS library said.
        cause: String,
    },
    /// No client assertion can be made.
    #[error("the key of the client `{client}` cannot sign: {cause}")]
    KeyUnusable {
        /// The client, or the key's id.
        client: String,
        /// What the library said.
        cause: String,
    },
    /// Neither https nor loopback.
    #[error("`{url}` is not used: expected https, or http on loopback")]
    UrlInsecure {
        /// The address.
        url: String,
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
        /// For how long it wants to be left alone (RFC 9110 §10.2.3); of 429 and 503 only.
        retry_after: Option<Duration>,
    },
    /// Not the media type that was asked for.
    #[error("`{url}` answered with `{found}`: expected `{expected}`")]
    MediaType {
        /// The address.
        url: String,
        /// Its `Content-Type`; empty when absent.
        found: Quoted,
        /// What was asked for.
        expected: &'static str,
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
    /// The call took longer than a request may wait.
    #[error("no answer in time")]
    NoAnswer,
}

impl CallError {
    /// For how long the server wants to be left alone, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }
}
