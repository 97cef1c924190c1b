//! The gateway between parties that misbehave: raw bytes and frames that no library would send, floods, peers that are slow,
//! backends and authorization servers that fail in every way, too much of everything, and operators' mistakes.
//!
//! The whole program over real TLS, between the demo servers and doubles of its own. Classes `h1-framing`, `h2-frames`, `dos`,
//! `tls` and `fault` of the hostile catalogue; `cases.rs` fails for a row that nobody shows.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "what the process takes is read, and where a row is shown")]

#[path = "siege/cases.rs"]
mod cases;
#[path = "siege/floods.rs"]
mod floods;
#[path = "siege/frames.rs"]
mod frames;
#[path = "siege/h1.rs"]
mod h1;
#[path = "siege/h2.rs"]
mod h2;
#[expect(dead_code, reason = "journeys use the rest")]
#[path = "journeys/house.rs"]
mod house;
#[path = "siege/idle.rs"]
mod idle;
#[path = "siege/place.rs"]
mod place;
#[path = "siege/slow.rs"]
mod slow;
#[expect(dead_code, reason = "journeys use the rest")]
mod support;
#[path = "siege/wire.rs"]
mod wire;
#[path = "siege/soak.rs"]
mod soak;
#[path = "siege/overload.rs"]
mod overload;
#[path = "siege/operations.rs"]
mod operations;
#[path = "siege/faults.rs"]
mod faults;
#[path = "siege/breaker.rs"]
mod breaker;
