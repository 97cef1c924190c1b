//! What leaves towards the backend, and what of its answer leaves towards the client: tables by requirement id.
//!
//! Requests are real ones, decided by real scopes, so that the duties are those that serve.

#![cfg(test)]

#[path = "release/announced.rs"]
mod announced;
#[path = "release/answers.rs"]
mod answers;
#[path = "release/asked.rs"]
mod asked;
#[path = "release/batches.rs"]
mod batches;
#[path = "release/faults.rs"]
mod faults;
#[path = "release/links.rs"]
mod links;
#[path = "release/requests.rs"]
mod requests;
#[path = "release/searches.rs"]
mod searches;
#[path = "release/setting.rs"]
mod setting;
#[path = "release/writes.rs"]
mod writes;
