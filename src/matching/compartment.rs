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

/// The local resource that a literal reference denotes (COMP-7); nothing when it leads elsewhere, or to no type of the
/// served version.
#[must_use]
pub fn denoted(reference: &str, site: &Site<'_>) -> Option<(ResourceType, String)> {
    let _ = (reference, site);
    None
}

/// The ids of all resources of one type that a reference parameter of a resource denotes; nothing when one of its
/// references could be of that type but leads to none that is known.
#[must_use]
pub fn references(
    of: (ResourceType, &str),
    target: ResourceType,
    resource: Element<'_>,
    site: &Site<'_>,
) -> Option<Vec<String>> {
    let _ = (of, target, resource, site);
    None
}
