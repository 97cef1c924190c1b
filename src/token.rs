//! What a token claims, and the proof that it was checked.
//!
//! A request brings a [`Presented`] token, the `issuer` room proves its signature or asks its issuer, and the
//! result is [`VerifiedClaims`]. [`Proof::check`] judges the proof of possession that may come with it.
//! [`Caller::admit`] compares times with the one `now` of the request and what the token is bound to with what its sender
//! showed, and yields a [`Grant`]: the only thing the later rooms see of a token. Follows RFC 6750, 7515, 7519, 7638,
//! 7662, 7800, 8705, 8725, 9068, 9440 and 9449 and SMART App Launch 2.2. Nothing here reads a clock, a file or a socket,
//! or remembers anything.

mod attributes;
mod binding;
mod caller;
mod certificate;
mod claims;
mod context;
mod details;
mod error;
mod grant;
mod jose;
mod json;
mod jwk;
mod names;
mod nonce;
mod presented;
mod proof;
mod uri;

pub use attributes::{ClaimedCode, UserAttributes};
pub use binding::{Possession, Thumbprint};
pub use caller::Caller;
pub use claims::{Requirements, TypeRule, VerifiedClaims};
pub use context::{FhirUser, LaunchContext, UserContext, UserType};
pub use details::DetailsRule;
pub use error::{Quoted, TokenClass, TokenError};
pub use grant::{Grant, Reading};
pub use jose::Jws;
pub use json::{JsonFault, object};
pub use jwk::Jwk;
pub use names::ClaimNames;
pub use nonce::{NonceAge, NonceKey};
pub use presented::{AccessToken, MAX_TOKEN_BYTES, Presented, Proof, Scheme, TokenShape};
pub use proof::{PROOF_ALGORITHMS, ProofFault, Proven, Sent};
