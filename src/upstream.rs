//! The connection pool to the FHIR server, the only place where requests leave.
//!
//! A request names a target below the backend's base, never a host: nothing a client writes can choose where it goes
//! (HTTP-6, -8). The backend is not trusted: it may be slow, silent, endless or wrong, and each of these has a bound
//! and a name of its own in [`UpstreamError`] (HTTP-15).

mod body;
mod breaker;
mod client;
pub mod headers;
mod named;
mod pool;

pub use body::{Unfit, UpstreamBody, collect};
pub use client::Upstream;

/// Why the backend gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The connection ended before an answer began.
    #[error("the backend closed the connection before it answered: {0}")]
    Closed(String),
    /// No connection could be made.
    #[error("the backend cannot be connected to: {0}")]
    Connect(String),
    /// The answer is compressed although that was not asked for, so it cannot be checked.
    #[error("the backend answered in the coding `{0}` that was not asked for")]
    Encoded(String),
    /// The answer is no HTTP.
    #[error("the backend's answer is not well-formed HTTP: {0}")]
    Garbage(String),
    /// Too many requests are already waiting for the backend.
    #[error("`limits.backend_requests` requests already wait for the backend")]
    Overloaded,
    /// Nothing listens at the backend's address.
    #[error("the backend refused the connection: {0}")]
    Refused(String),
    /// It could not be reached several times, and is left alone for so long.
    #[error("the backend could not be reached lately; it is left alone for {0:?}")]
    Resting(std::time::Duration),
    /// The request cannot be expressed below the backend's base.
    #[error("the target cannot be sent: {0}")]
    Target(String),
    /// The backend let us wait too long.
    #[error("the backend did not answer within `backend.timeout`")]
    Timeout,
    /// TLS to the backend failed; there is no fallback to plain HTTP (TLS-8).
    #[error("TLS to the backend failed: {0}")]
    Tls(String),
    /// The answer ended before its announced end.
    #[error("the backend's answer broke off: {0}")]
    Truncated(String),
    /// The backend wants a token, and there is none.
    #[error("there is no token to send")]
    WithoutToken,
}

/// Why the pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetup {
    /// The extra trust anchor cannot be read.
    #[error("`backend.ca` is `{path}`: {cause}; expected PEM certificates of at least one CA")]
    Ca {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The gateway's own certificate or its key cannot be used.
    #[error(
        "`backend.client_certificate` is `{path}`: {cause}; expected a PEM chain, and its key in `client_key`"
    )]
    Certificate {
        /// The certificate's file.
        path: std::path::PathBuf,
        /// What is wrong with it or its key.
        cause: String,
    },
    /// The backend's URL or credentials cannot be expressed in HTTP.
    #[error("`backend` cannot be used: {0}")]
    Unusable(String),
}

#[cfg(test)]
mod tests;
