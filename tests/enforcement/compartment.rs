//! Who a resource belongs to: FHIR R4's Patient and Encounter compartments, written down a second time.

use serde_json::Value;

use crate::naive::{Role, Truth};
use crate::world::{BACKEND, at, text, type_of};

/// The elements that make a resource a member of the Patient compartment (R4 CompartmentDefinition, Appendix A).
pub fn members(kind: &str) -> &'static [&'static str] {
    match kind {
        "AllergyIntolerance" => &["patient", "recorder", "asserter"],
        "Composition" => &["subject", "author", "attester.party"],
        "Condition" => &["subject", "asserter"],
        "DocumentReference" => &["subject", "author"],
        "Encounter" | "MedicationRequest" => &["subject"],
        "Group" => &["member.entity"],
        "List" => &["subject", "source"],
        "Observation" => &["subject", "performer"],
        "Provenance" => &["target"],
        _ => &[],
    }
}

/// Whether the type is in the Patient compartment at all.
pub fn belongs_to_patients(kind: &str) -> bool {
    kind == "Patient" || !members(kind).is_empty()
}

/// The element that says whose record it is, for types that have one.
fn owner(kind: &str) -> Option<&'static str> {
    match kind {
        "AllergyIntolerance" => Some("patient"),
        "Composition" | "Condition" | "DocumentReference" | "Encounter" | "List" | "MedicationRequest"
        | "Observation" => Some("subject"),
        _ => None,
    }
}

/// The element that makes a resource a member of the Encounter compartment (Appendix B).
pub fn encounter_element(kind: &str) -> Option<&'static str> {
    match kind {
        "Composition" | "Condition" | "MedicationRequest" | "Observation" => Some("encounter"),
        "DocumentReference" => Some("context.encounter"),
        _ => None,
    }
}

/// Type and id of what a reference denotes on this server, its version left aside (COMP-7).
pub fn denotes(reference: &str) -> Option<(&str, &str)> {
    let bases = ["https://gw.test/fhir/", "http://gw.test/fhir/"];
    let rest = bases.iter().find_map(|base| reference.strip_prefix(base));
    let rest = rest.or_else(|| reference.strip_prefix(BACKEND)?.strip_prefix('/')).unwrap_or(reference);
    let parts: Vec<&str> = rest.split('/').collect();
    let ([kind, id] | [kind, id, "_history", _]) = parts[..] else { return None };
    if parts.get(3).is_some_and(|version| !is_id(version)) {
        return None;
    }
    // Every type has a name such as `Patient`.
    let named = kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase());
    (named && kind.chars().all(|c| c.is_ascii_alphabetic()) && is_id(id)).then_some((kind, id))
}

/// FHIR's `id`.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

fn points_at(reference: &Value, kind: &str, id: &str) -> bool {
    text(reference, "reference").and_then(denotes) == Some((kind, id))
}

/// Whether every patient that these references name is this one, and there is at least one.
pub fn only_points_at(resource: &Value, path: &str, patient: &str) -> bool {
    let found = at(resource, path);
    !found.is_empty() && found.iter().all(|reference| points_at(reference, "Patient", patient))
}

/// Whether a resource is in the compartment of a patient.
pub fn in_patient(resource: &Value, patient: &str, linked: bool, role: Role) -> Truth {
    let kind = type_of(resource);
    if kind == "Patient" {
        return of_patient(resource, patient, linked, role);
    }
    let named: Vec<&Value> = members(kind).iter().flat_map(|path| at(resource, path)).collect();
    if !named.iter().any(|reference| points_at(reference, "Patient", patient)) {
        return Truth::No;
    }
    let owned = owner(kind).map(|path| only_points_at(resource, path, patient));
    match role {
        Role::Read | Role::OldVersion => Truth::Yes,
        // COMP-10: being mentioned in somebody's record does not make it one's own.
        Role::Stored if owned == Some(false) => Truth::No,
        // Nobody wrote down how much doubt about a stored record is too much.
        Role::Stored => submitted(owned, &named, patient).max(Truth::Maybe),
        Role::Submitted => submitted(owned, &named, patient),
    }
}

/// The Patient resource itself, and those that are linked to it (COMP-6, COMP-11).
fn of_patient(resource: &Value, patient: &str, linked: bool, role: Role) -> Truth {
    let own = text(resource, "id") == Some(patient);
    let alias = linked && at(resource, "link.other").iter().any(|other| points_at(other, "Patient", patient));
    match role {
        Role::Read | Role::OldVersion => Truth::from(own || alias),
        Role::Stored | Role::Submitted if own => Truth::Yes,
        // Nobody wrote down whether linked records may be written.
        Role::Stored | Role::Submitted if alias => Truth::Maybe,
        Role::Stored | Role::Submitted => Truth::No,
    }
}

/// COMP-10: through its own subject, nobody else's, and by nothing that a server may resolve otherwise.
fn submitted(owned: Option<bool>, named: &[&Value], patient: &str) -> Truth {
    let somebody_else = |reference: &&&Value| {
        let denoted = text(reference, "reference").and_then(denotes);
        denoted.is_some_and(|(kind, id)| kind == "Patient" && id != patient)
    };
    let doubtful = |reference: &&&Value| {
        text(reference, "reference").is_none_or(|reference| denotes(reference).is_none())
    };
    let with_identifier = |reference: &&&Value| {
        points_at(reference, "Patient", patient) && reference.get("identifier").is_some()
    };
    if owned == Some(false) || named.iter().any(|it| somebody_else(&it) || with_identifier(&it)) {
        return Truth::No;
    }
    if owned.is_none() || named.iter().any(|it| doubtful(&it)) { Truth::Maybe } else { Truth::Yes }
}

/// Whether a resource is in the compartment of an encounter; types that are in nobody's are.
pub fn in_encounter(resource: &Value, encounter: &str) -> bool {
    let kind = type_of(resource);
    if kind == "Encounter" {
        return text(resource, "id") == Some(encounter);
    }
    encounter_element(kind).is_none_or(|path| {
        at(resource, path).iter().any(|reference| points_at(reference, "Encounter", encounter))
    })
}

/// COMP-9: a device of nobody, or of this patient.
pub fn free_device(resource: &Value, patient: &str) -> bool {
    at(resource, "patient").iter().all(|reference| points_at(reference, "Patient", patient))
}

/// OPS-40: what a Binary says itself of who may see it. A context that has to be fetched is not known here.
pub fn binary_of(resource: &Value, patient: &str) -> Truth {
    match text(resource, "securityContext.reference").and_then(denotes) {
        Some(("Patient", id)) => {
            if id == patient {
                Truth::Maybe
            } else {
                Truth::No
            }
        }
        Some(_) => Truth::Maybe,
        None => Truth::No,
    }
}
