//! The gateway as an OAuth client: calls to authorization servers, and how it authenticates there.
//!
//! Calls have a deadline and a size limit and follow no redirect; identical calls share one flight, and a server that
//! fails is left alone for a moment. What an answer means is for those who asked.

mod authentication;
mod error;
mod fetch;
mod flight;
mod terms;
mod trouble;

pub use authentication::Authentication;
pub use error::CallError;
pub use fetch::{Fetched, Fetcher, MAX_ANSWER_BYTES, Media, Setup};
pub use flight::{Flights, Seat};
pub use terms::Terms;
pub use trouble::{Clock, Trouble};
