//! What a token claims, and the proof that it was checked.
//!
//! A request brings a [`Presented`] token, the `issuer` room proves its signature or asks its issuer, and the
//! result is [`VerifiedClaims`]. [`Caller::admit`] compares their times with the one `now` of the request and yields
//! a [`Grant`]: the only thing the later rooms see of a token. Follows RFC 6750, 7515, 7519, 7662, 8725 and 9068 and
//! SMART App Launch 2.2. Nothing here reads a clock, a file or a socket.

mod names;

pub use names::ClaimNames;
