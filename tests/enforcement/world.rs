//! Who and what there is: two patients and those beside them, and the names that must not leave.

use serde_json::Value;

/// The public base.
pub const PUBLIC: &str = "https://gw.test/fhir";
/// The backend's base.
pub const BACKEND: &str = "http://upstream.internal/fhir";
/// The backend's host: it never reaches a client.
pub const HOST: &str = "upstream.internal";
/// Stands in every cursor of the backend.
pub const CURSOR: &str = "zqcursorqz";
/// The types that are generated.
pub const TYPES: [&str; 14] = [
    "Patient",
    "Observation",
    "Condition",
    "Encounter",
    "MedicationRequest",
    "Medication",
    "Practitioner",
    "Device",
    "Group",
    "List",
    "DocumentReference",
    "Provenance",
    "AllergyIntolerance",
    "Composition",
];
/// The patients, the launch patient first.
pub const PATIENTS: [&str; 4] = ["p1", "p2", "p3", "p1x"];
/// The name of a patient: it leaves only with what may be seen.
pub fn canary(patient: &str) -> String {
    format!("zqcanary{patient}qz")
}

/// What is somewhere in a value, arrays aside: `member.entity` is every `entity` of every `member`.
pub fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('.').fold(vec![value], |found, name| {
        found.into_iter().filter_map(|value| value.get(name)).flat_map(each).collect()
    })
}

/// The elements of an array, or the value itself.
pub fn each(value: &Value) -> Vec<&Value> {
    match value.as_array() {
        Some(items) => items.iter().collect(),
        None => vec![value],
    }
}

/// The text at a path, when there is one.
pub fn text<'v>(value: &'v Value, path: &str) -> Option<&'v str> {
    at(value, path).first().and_then(|value| value.as_str())
}

/// The type a resource says it is of.
pub fn type_of(resource: &Value) -> &str {
    text(resource, "resourceType").unwrap_or("")
}
