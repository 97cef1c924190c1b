//! What happened, as one AuditEvent: who asked whom for what, about which patient, and how it ended.
//!
//! Follows FHIR R4 `AuditEvent` in the shape of IHE Basic Audit Log Patterns 1.1 (AUD-1 … AUD-10). One [`Entry`] is one
//! interaction attempt, permitted or refused; an entry of a batch is one of its own. Never recorded: tokens, other
//! credentials, the content of resources, and how much a search found (AUD-8). Where and how entries are kept is the
//! ledger's business.

mod agents;
mod attributes;
mod codes;
mod dicom;
mod entities;
mod entry;
mod interaction;
mod r4;
mod r5;
mod stored;
#[cfg(test)]
mod tests;

pub use attributes::{Attributes, Coding};
pub use entry::{Entry, Outcome};
pub use interaction::Interaction;
