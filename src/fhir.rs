//! The vocabulary of FHIR.

pub mod definitions;
