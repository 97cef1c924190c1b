//! Sockets, TLS, HTTP/1.1 and HTTP/2, and every bound on what a client may make us hold.
//!
//! The listener hands a request on only when its framing, authority and method leave nothing to interpretation;
//! everything else reaches [`Service::refuse`], so that refusals are recorded and answered in one place. Follows
//! RFC 9112 and RFC 9113, and RFC 8446 and BSI TR-02102-2 for TLS. It knows nothing of FHIR.
//!
//! A request that has begun runs to its end: with its connection, and without it when the client hangs up.

mod admissible;
mod clients;
mod connection;
mod deliver;
mod framing;
mod guard;
mod pace;
mod profile;
mod serve;
mod tls;
mod workers;

pub use admissible::{Bounds, Over, Protocol, Refusal, Rules, admissible};
pub use connection::{Connection, TlsSession};
pub use serve::{Drained, Options, Service, bind, serve};
pub use tls::{CertificateStore, Ends};
pub use workers::cores;

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the listener cannot start, or a new certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// An address cannot be listened on.
    #[error("`server.listen` names `{address}`: {cause}; choose a free address of this machine")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The certificate chain cannot be read.
    #[error("`server.tls.certificate` is `{path}`: {cause}; expected a PEM chain, leaf first")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The CA bundle for client certificates cannot be read.
    #[error("`server.tls.client_ca` is `{path}`: {cause}; expected PEM certificates of at least one CA")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The revocation lists for client certificates cannot be used.
    #[error(
        "`server.tls.client_crl` is `{path}`: {cause}; expected PEM revocation lists of the CAs of `client_ca`"
    )]
    ClientCrl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A socket that is handed over cannot be used.
    #[error("socket {number} of `LISTEN_FDS`: {cause}; name its address in `server.listen`")]
    HandedOver {
        /// Which one, from 0.
        number: usize,
        /// What is wrong with it.
        cause: std::io::Error,
    },
    /// The private key cannot be read.
    #[error("`server.tls.key` is `{path}`: {cause}; expected a PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The OCSP response cannot be stapled.
    #[error(
        "`server.tls.ocsp` is `{path}`: {cause}; expected a DER response that says `good` of the certificate"
    )]
    Ocsp {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Certificate, key and suites do not fit together.
    #[error("`server.tls` cannot be used: {0}; expected the key that belongs to the certificate")]
    Unusable(String),
    /// A thread to serve with cannot be had.
    #[error("a thread to serve with cannot be started: {cause}; allow the process more threads and files")]
    Worker {
        /// What the system said.
        cause: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
