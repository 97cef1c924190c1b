//! Placeholder of the merge.
use crate::fhir::{Document, FhirVersion};

/// Why.
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct PatchError;
/// RFC 6902.
pub fn json(_: &[u8], _: &[u8]) -> Result<Vec<u8>, PatchError> {
    Err(PatchError)
}
/// FHIRPath Patch.
pub fn fhirpath(_: &[u8], _: &Document, _: FhirVersion) -> Result<Vec<u8>, PatchError> {
    Err(PatchError)
}
/// id.
pub fn with_id(_: &Document, _: &str) -> Option<bytes::Bytes> {
    None
}
