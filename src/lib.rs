//! Pforte.
pub mod demo;
