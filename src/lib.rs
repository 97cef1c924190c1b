//! Pforte.

pub mod fhir;
