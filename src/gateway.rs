//! The path of a request, from a client to the backend and back.

mod body;
mod documents;
mod fields;
mod route;

pub use route::{Passage, Question, Route, is_uri};
