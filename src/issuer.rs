//! Trusted issuers: whose token this is, and whether that issuer stands behind it.
//!
//! A JWT is verified with the keys its issuer publishes (RFC 7515, 7517), an opaque token is asked about at its issuer
//! (RFC 7662), and with `validation = "both"` the two must agree. Metadata, keys and answers are kept for a bounded
//! time; every call has a deadline and a size limit, identical calls share one flight, and a server that fails is left
//! alone for a moment. What cannot be found out is a refusal with 503, never an admission (TOK-45).
//!
//! The claims' times are not judged here: that is `token::Caller::admit`, with the one `now` of the request.

mod error;
mod introspection;
mod kept;
mod keys;
mod memory;
mod metadata;
mod server;
mod signed;
mod verify;

pub use error::IssuerError;
pub use metadata::addresses as metadata_addresses;
pub use server::{Figures, Health, IssuerStatus};
pub use verify::Issuers;

#[cfg(test)]
mod tests;
