//! What a token claims, and the proof that it was checked.
//!
//! A request brings a [`Presented`] token, the `issuer` room proves its signature or asks its issuer, and the
//! result is [`VerifiedClaims`]. [`Caller::admit`] compares their times with the one `now` of the request and yields
//! a [`Grant`]: the only thing the later rooms see of a token. Follows RFC 6750, 7515, 7519, 7662, 8725 and 9068 and
//! SMART App Launch 2.2. Nothing here reads a clock, a file or a socket, and nothing here checks a signature.
//!
//! Left out: proofs of possession. A token bound to a key or certificate (`cnf`) is read as bound and refused, whatever
//! it came with (TOK-62).

mod caller;
mod claims;
mod context;
mod details;
mod error;
mod grant;
mod jose;
mod json;
mod names;
mod nonce;
mod presented;

pub use caller::Caller;
pub use claims::{Requirements, TypeRule, VerifiedClaims};
pub use context::{FhirUser, LaunchContext, UserContext, UserType};
pub use details::DetailsRule;
pub use error::{Quoted, TokenClass, TokenError};
pub use grant::{Grant, Reading};
pub use jose::Jws;
pub use json::{JsonFault, object};
pub use names::ClaimNames;
pub use nonce::{NonceAge, NonceKey};
pub use presented::{AccessToken, MAX_TOKEN_BYTES, Presented, Proof, TokenShape};
