//! Pforte: a gate in front of a FHIR server.
//!
//! It ends TLS, finds out who is asking, decides what they may see, sends on only that, checks what comes back, and
//! writes down what happened. The deciding is pure, the doing is thin, and the types make it impossible to do one
//! without the other. `docs/ARCHITECTURE.md` tells the whole; here are the rooms in reading order.

// What we know: pure rooms.
pub mod fhir;
pub mod matching;
pub mod scope;
pub mod token;
pub mod policy;
pub mod rewrite;
pub mod release;
pub mod audit;

// What we do: shell rooms.
pub mod config;
pub mod telemetry;
pub mod oauth;
pub mod shared;
pub mod issuer;
pub mod upstream;
pub mod ledger;
pub mod sink;
pub mod discovery;
pub mod reject;
pub mod gateway;
pub mod listener;
pub mod admin;
pub mod demo;
pub mod cli;
