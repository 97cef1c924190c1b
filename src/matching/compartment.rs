//! Membership of compartments, by the definitions of the served version (COMP-1 … COMP-7).
//!
//! Reading and writing differ. Who reads a resource may have any of the nominated roles in it. Who writes one must not
//! put it into somebody else's record, and what the backend will make of a reference cannot be seen from here; so a
//! write is held to one patient, said without a doubt (COMP-10).

use super::Site;
use super::criterion::evaluated;
use super::identity::{Denotes, contained, denotes, literal};
use super::path::{Certainty, Expression, Item, Scene};
use crate::fhir::element::Element;
use crate::fhir::{CompartmentKind, FhirVersion, ResourceType};

/// Whether a resource is in the compartment of the focus with this id: the focus itself, or one nominated parameter
/// points at it (COMP-3, COMP-4, COMP-6: a Patient is only in its own, links do not count).
#[must_use]
pub fn belongs(kind: CompartmentKind, id: &str, resource: Element<'_>, site: &Site<'_>) -> bool {
    let Some(own) = type_of(resource, site) else { return false };
    let focus = kind.resource_type();
    if own == focus {
        return resource.id() == Some(id);
    }
    let codes = site.version.compartment_parameters(kind, own).unwrap_or_default();
    let scene = Scene { root: resource, site };
    codes.iter().any(|code| {
        let Some(expression) = parameter(code, own, site) else { return false };
        let items = expression.select(resource, scene);
        items.iter().any(|item| local(item, site) == Some((focus, id))) && !is_doubled((own, code), scene)
    })
}

/// Whether the subject that a parameter selects is there twice, where FHIR allows it once: two readers could see two
/// resources, so it is nobody's (REST-10).
pub(super) fn is_doubled((own, code): (ResourceType, &str), scene: Scene<'_, '_>) -> bool {
    SUBJECTS.contains(&code)
        && !may_repeat(scene.site.version, own, code)
        && parameter(code, own, scene.site).is_some_and(|expression| expression.is_crowded(scene))
}

/// Whether a resource may be written into the compartment of this patient: it is the patient, or one of its
/// subject-type parameters points at it, and none of the compartment's parameters points at another Patient (COMP-10).
///
/// False as well when it cannot be told: a reference that might be to another Patient (on another server, contained,
/// conditional, a urn that is not resolved), one to this patient that also carries an `identifier` or a `type` other
/// than `Patient`, and a subject that is there twice.
#[must_use]
pub fn belongs_by_subject(id: &str, resource: Element<'_>, site: &Site<'_>) -> bool {
    let Some(own) = type_of(resource, site) else { return false };
    if own == ResourceType::PATIENT {
        return resource.id() == Some(id);
    }
    let codes = site.version.compartment_parameters(CompartmentKind::Patient, own).unwrap_or_default();
    let scene = Scene { root: resource, site };
    let mut subject = false;
    for code in codes {
        let Some(expression) = parameter(code, own, site) else { return false };
        let role = if SUBJECTS.contains(code) { Role::Subject } else { Role::Participant };
        if is_doubled((own, code), scene) {
            return false;
        }
        for item in expression.select(resource, scene) {
            match standing(item.element, role, id, scene) {
                Standing::Other => return false,
                Standing::Own => subject |= role == Role::Subject,
                Standing::Unrelated => {}
            }
        }
    }
    subject
}

/// The local resource that a literal reference denotes (COMP-7); nothing when it leads elsewhere, or to no type of the
/// served version.
#[must_use]
pub fn denoted(reference: &str, site: &Site<'_>) -> Option<(ResourceType, String)> {
    match denotes(reference, site) {
        Denotes::Local(resource, id) => Some((resource, id.to_owned())),
        Denotes::Contained(_) | Denotes::Elsewhere(_) => None,
    }
}

/// The ids of all resources of one type that a reference parameter of a resource denotes; nothing when one of its
/// references could be of that type but leads to none that is known.
#[must_use]
pub fn references(
    (of, code): (ResourceType, &str),
    target: ResourceType,
    resource: Element<'_>,
    site: &Site<'_>,
) -> Option<Vec<String>> {
    let scene = Scene { root: resource, site };
    let items = parameter(code, of, site)?.select(resource, scene);
    let mut ids = Vec::with_capacity(items.len());
    for item in &items {
        match denotes(literal(item.element)?, site) {
            Denotes::Local(kind, id) if kind == target => ids.push(id.to_owned()),
            // A contained resource is part of the one that is shown.
            Denotes::Local(..) | Denotes::Contained(_) => {}
            Denotes::Elsewhere(Some(kind)) if kind != target => {}
            Denotes::Elsewhere(_) => return None,
        }
    }
    Some(ids)
}

/// Those of a type's compartment parameters that say whose the record is (COMP-10).
#[cfg(test)]
pub(super) fn subject_parameters(version: FhirVersion, resource: ResourceType) -> Vec<&'static str> {
    let codes = version.compartment_parameters(CompartmentKind::Patient, resource).unwrap_or_default();
    codes.iter().copied().filter(|code| SUBJECTS.contains(code)).collect()
}

/// The names that HL7 gives to the parameter for whom or what a record is about. Where a type has no subject, its
/// participants are: `actor` of an Appointment, `member` of a Group.
const SUBJECTS: &[&str] =
    &["actor", "beneficiary", "candidate", "individual", "member", "patient", "subject"];

/// What a parameter of the compartment says of whom it points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Participant,
    Subject,
}

/// How a reference in the compartment's parameters stands to the patient.
enum Standing {
    /// It is, or might be, to another Patient; or it is to this one, but says more than that.
    Other,
    Own,
    /// It is to no Patient.
    Unrelated,
}

fn standing(element: Element<'_>, role: Role, id: &str, scene: Scene<'_, '_>) -> Standing {
    if let Some(canonical) = element.value() {
        // Some parameters take canonicals as well, and those never lead to a Patient. A subject is no canonical.
        let patient = matches!(denotes(canonical, scene.site), Denotes::Local(ResourceType::PATIENT, _));
        return if patient || role == Role::Subject { Standing::Other } else { Standing::Unrelated };
    }
    let identified = element.children("identifier").next().is_some();
    let says_patient = element.children("type").any(|it| it.value() == Some("Patient"));
    let Some(text) = literal(element) else {
        // Without text it is nobody's, unless it says who is meant in another way.
        let unclear = element.children("reference").next().is_some();
        let meant = says_patient || identified && role == Role::Subject;
        return if unclear || meant { Standing::Other } else { Standing::Unrelated };
    };
    let kind = match denotes(text, scene.site) {
        Denotes::Local(ResourceType::PATIENT, found) if found == id => {
            let says_else = element.children("type").any(|it| it.value() != Some("Patient"));
            return if identified || says_else { Standing::Other } else { Standing::Own };
        }
        Denotes::Contained(inner) => contained(inner, scene),
        Denotes::Elsewhere(kind) => kind,
        Denotes::Local(kind, _) => Some(kind),
    };
    match kind {
        Some(kind) if kind != ResourceType::PATIENT && !says_patient => Standing::Unrelated,
        Some(_) | None => Standing::Other,
    }
}

/// The resource of this server that a reference is to.
fn local<'d>(item: &Item<'d>, site: &Site<'d>) -> Option<(ResourceType, &'d str)> {
    let reference = item.element.value().is_none() && item.certainty == Certainty::Sure;
    match denotes(literal(item.element).filter(|_| reference)?, site) {
        Denotes::Local(kind, id) => Some((kind, id)),
        Denotes::Contained(_) | Denotes::Elsewhere(_) => None,
    }
}

fn parameter(code: &str, own: ResourceType, site: &Site<'_>) -> Option<&'static Expression> {
    evaluated(site.version, own, site.version.search_parameter(own, code)?)
}

fn type_of(resource: Element<'_>, site: &Site<'_>) -> Option<ResourceType> {
    site.version.resource_type(resource.resource_type()?)
}

/// Whether FHIR allows the element of a subject-type parameter several times in one parent.
fn may_repeat(version: FhirVersion, own: ResourceType, code: &str) -> bool {
    match (own.as_str(), code) {
        ("Account", "subject") | ("Schedule", "actor") => true,
        ("Provenance", "patient") => version != FhirVersion::R5,
        ("Composition" | "List", "subject") | ("Contract", "patient") => version == FhirVersion::R5,
        _ => false,
    }
}
