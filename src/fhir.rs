//! The vocabulary: what FHIR says, independent of who asks.

pub mod json;
pub mod outline;
pub mod xml;
