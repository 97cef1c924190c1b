//! Whether a resource matches a search: the one evaluator behind granular scopes, rules and compartments.
//!
//! It reads a parameter as its definition says (FHIR R4 §3.1.1, "Search"; R4B and R5 alike), on the
//! [`Element`](crate::fhir::element::Element) view, so that JSON and XML are one. What the resource itself cannot
//! answer (`:in`, token `:below`, chains, full text) is for the backend to answer, and what nobody can answer for sure
//! is unusable: a constraint is never skipped (SCOPE-48).

mod chain;
mod compartment;
mod criterion;
mod date;
mod identity;
mod number;
mod order;
mod path;
mod reference;
mod text;
mod token;
mod uri;
mod value;

use std::collections::BTreeMap;

use crate::fhir::FhirVersion;

pub use compartment::{belongs, belongs_by_subject, denoted, references};
pub use criterion::{Criterion, Means, Unusable};
pub use order::{SortKey, sort_key};

/// Where a resource stands: what turns its references into identities (COMP-7).
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// The served version.
    pub version: FhirVersion,
    /// The public FHIR base, without a trailing slash.
    pub public_base: &'s str,
    /// The backend's FHIR base, without a trailing slash.
    pub backend_base: &'s str,
    /// Within a transaction: what `urn:uuid:` and `urn:oid:` URLs of its entries stand for, as `Type/id`. A urn that is
    /// not here denotes nothing that is known (REST-35).
    pub urns: Option<&'s BTreeMap<String, String>>,
}

/// What the evaluation of a constraint on one resource says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does not match.
    No,
    /// Only the backend can tell.
    Unknown,
    /// It matches.
    Yes,
}

impl Verdict {
    /// Both must hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    /// One is enough.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::No, Self::No) => Self::No,
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
use compartment::subject_parameters;
#[cfg(test)]
mod tests;
