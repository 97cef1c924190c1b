//! The vocabulary: what FHIR says, independent of who asks.

pub mod element;
pub mod json;
pub mod links;
pub mod outcome;
pub mod outline;
pub mod xml;
