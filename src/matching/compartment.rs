//! Membership of compartments, by the definitions of the served version (COMP-1 … COMP-7).

use super::Site;
use crate::fhir::element::Element;
use crate::fhir::{CompartmentKind, FhirVersion, ResourceType};

/// Whether a resource is in the compartment of the focus with this id: the focus itself, or one nominated parameter
/// points at it (COMP-3, COMP-4, COMP-6: a Patient is only in its own, links do not count).
#[must_use]
pub fn belongs(kind: CompartmentKind, id: &str, resource: Element<'_>, site: &Site<'_>) -> bool {
    let _ = (kind, id, resource, site);
    false
}

/// Whether a resource may be written into the compartment of this patient: it is the patient, or one of its
/// subject-type parameters points at it, and none of the compartment's parameters points at another Patient (COMP-10).
#[must_use]
pub fn belongs_by_subject(id: &str, resource: Element<'_>, site: &Site<'_>) -> bool {
    let _ = (id, resource, site);
    false
}

/// Whether every reference that a parameter selects is `Type/id` of this type and id, and there is one at least.
#[must_use]
pub fn points_only_at(
    code: &str,
    target: (ResourceType, &str),
    resource: Element<'_>,
    site: &Site<'_>,
) -> bool {
    let _ = (code, target, resource, site);
    false
}

/// Those of a type's compartment parameters that say whose the record is (COMP-10).
#[must_use]
pub fn subject_parameters(version: FhirVersion, resource: ResourceType) -> Vec<&'static str> {
    let _ = (version, resource);
    Vec::new()
}
