//! The gateway as an OAuth client: calls to authorization servers, and how it authenticates there.
//!
//! Calls have a deadline and a size limit and follow no redirect; identical calls share one flight, and a server that
//! fails is left alone for a moment. What an answer means is for those who asked, except for access tokens: those that the
//! gateway needs for its backend are asked for, judged and kept here.

mod authentication;
mod error;
mod fetch;
mod flight;
mod terms;
mod tokens;
mod trouble;

pub use authentication::Authentication;
pub use error::CallError;
pub use fetch::{Fetched, Fetcher, MAX_ANSWER_BYTES, Media, Reply, Setup, retry_after};
pub use flight::{Flights, Seat};
pub use terms::Terms;
pub use tokens::{Again, Exchange, Issued, NoToken, OwnToken, Subject, TokenFault};
pub use trouble::{Clock, Trouble, monotonic};
