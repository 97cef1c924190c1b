//! Why a sink takes nothing now.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::oauth::{CallError, TokenFault};

/// Why a sink takes nothing now, or cannot be used at all. Texts are for operators: they hold no secret, and nothing of an
/// event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It answered with something that says nothing of the events.
    #[error("`{address}` answered {what}")]
    Answer {
        /// The address.
        address: String,
        /// With what.
        what: String,
    },
    /// A trust anchor, certificate or key cannot be used.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It ended the connection.
    #[error("`{address}` ended the connection")]
    Closed {
        /// The address.
        address: String,
    },
    /// A file cannot be written.
    #[error("`{path}`: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Another process writes the file, and does not come to an end.
    #[error("`{path}`: another process holds it")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It refuses whatever it is sent, so that the events are not to blame.
    #[error("`{address}` refuses every event (status {status})")]
    RefusesAll {
        /// The address.
        address: String,
        /// The status of the last one.
        status: u16,
    },
    /// It answered with a status that says nothing of the events.
    #[error("`{address}` answered {status}")]
    Status {
        /// The address.
        address: String,
        /// The status.
        status: u16,
        /// For how long it wants to be left alone (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    /// No answer, or no room for what is sent, in time.
    #[error("`{address}` did not answer in time")]
    TimedOut {
        /// The address.
        address: String,
    },
    /// There is no token to show it.
    #[error("no token for it: {0}")]
    Token(#[from] TokenFault),
    /// No connection, or it broke.
    #[error("`{address}` cannot be reached: {cause}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the network or the TLS library said.
        cause: String,
    },
}

impl SinkError {
    pub(super) fn file(path: &Path, cause: &std::io::Error) -> Self {
        Self::File { path: path.to_owned(), cause: cause.to_string() }
    }

    pub(super) fn unreachable(address: &str, cause: &(dyn Error + 'static)) -> Self {
        Self::Unreachable { address: address.to_owned(), cause: innermost(cause) }
    }

    /// For how long it wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Call(call) => call.retry_after(),
            Self::Answer { .. }
            | Self::Closed { .. }
            | Self::File { .. }
            | Self::Locked { .. }
            | Self::RefusesAll { .. }
            | Self::TimedOut { .. }
            | Self::Token(_)
            | Self::Unreachable { .. } => None,
        }
    }

    /// Whether less at once might go through where much did not.
    pub(super) fn may_be_too_much(&self) -> bool {
        match self {
            Self::Closed { .. } | Self::TimedOut { .. } | Self::Unreachable { .. } => true,
            Self::Answer { .. }
            | Self::Call(_)
            | Self::File { .. }
            | Self::Locked { .. }
            | Self::RefusesAll { .. }
            | Self::Status { .. }
            | Self::Token(_) => false,
        }
    }
}

/// The innermost cause, which names what happened; the outer ones repeat the address.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
