//! The records behind the gateway. What belongs to patient `p2` says VICTIM.

use serde_json::{Value, json};

/// What no answer to a token of `p1` has in it.
pub const VICTIM: &str = "VICTIM";
/// Her record number.
pub const NUMBER: &str = "P2MRN";

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

fn observation(id: &str, category: (&str, &str), patient: &str) -> Value {
    let text = if patient == "p2" { VICTIM } else { "own" };
    json!({
        "resourceType": "Observation", "id": id, "meta": {"versionId": "1"}, "status": "final",
        "category": [{"coding": [{"system": category.0, "code": category.1}]}],
        "code": {"text": format!("{text} {id}"), "coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "subject": {"reference": format!("Patient/{patient}")},
        "effectiveDateTime": "2024-03-01",
    })
}

fn patient(id: &str, family: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "meta": {"versionId": "1"}, "active": true,
        "identifier": [{"system": "urn:mrn", "value": number}], "name": [{"family": family}],
    })
}

fn owned(kind: &str, id: &str, field: &str, patient: &str) -> Value {
    let text = if patient == "p2" { VICTIM } else { "own" };
    json!({
        "resourceType": kind, "id": id, "meta": {"versionId": "1"},
        "text": {"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{text}</div>")},
        field: {"reference": format!("Patient/{patient}")},
    })
}

fn shared(kind: &str, id: &str) -> Value {
    json!({"resourceType": kind, "id": id, "meta": {"versionId": "1"}})
}

/// All of them.
pub fn all() -> Vec<Value> {
    let vital = (CATEGORY, "vital-signs");
    let mut linked = patient("p1", "Own", "P1MRN");
    linked["link"] = json!([{"other": {"reference": "Patient/p2"}, "type": "seealso"}]);
    let mut focus = observation("of1", vital, "p1");
    focus["focus"] = json!([{"reference": "Patient/p2"}]);
    let mut foreign = observation("of2", vital, "p2");
    foreign["focus"] = json!([{"reference": "Patient/p1"}]);
    let mut nobody = observation("onosubj", vital, "p1");
    nobody.as_object_mut().expect("an object").remove("subject");
    nobody["code"]["text"] = VICTIM.into();
    let group = json!({
        "resourceType": "Group", "id": "g1", "type": "person", "actual": true, "name": "ward",
        "member": [{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}}],
    });
    let document = json!({
        "resourceType": "Bundle", "id": "doc2", "type": "document",
        "entry": [{"resource": owned("Composition", "comp2", "subject", "p2")}],
    });
    let binary = |id: &str, context: Option<&str>| {
        let mut it =
            json!({"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "VklDVElN"});
        if let Some(context) = context {
            it["securityContext"] = json!({"reference": format!("Patient/{context}")});
        }
        it
    };
    vec![
        linked,
        patient("p2", VICTIM, NUMBER),
        observation("o1v", vital, "p1"),
        observation("o1l", (CATEGORY, "laboratory"), "p1"),
        observation("o-social", (CATEGORY, "social-history"), "p1"),
        observation("ox", ("urn:other", "vital-signs"), "p1"),
        observation("A.b-9", vital, "p1"),
        observation("o-moved", vital, "p1"),
        observation("o2v", vital, "p2"),
        focus,
        foreign,
        nobody,
        owned("Encounter", "e1", "subject", "p1"),
        owned("Encounter", "e2", "subject", "p2"),
        owned("Condition", "c1", "subject", "p1"),
        owned("Condition", "c2", "subject", "p2"),
        owned("MedicationRequest", "m1", "subject", "p1"),
        owned("Device", "dev2", "patient", "p2"),
        owned("List", "l2", "subject", "p2"),
        owned("DocumentReference", "d1", "subject", "p1"),
        owned("DocumentReference", "d2", "subject", "p2"),
        owned("Composition", "comp2", "subject", "p2"),
        owned("Media", "m2", "subject", "p2"),
        group,
        document,
        binary("b1", Some("p1")),
        binary("b2", Some("p2")),
        binary("bx", None),
        shared("Practitioner", "pr1"),
        shared("Organization", "org1"),
        shared("Location", "loc1"),
        shared("Medication", "med1"),
    ]
}

/// An Observation of `p1` as a client writes it.
pub fn own_observation() -> Value {
    let mut it = observation("o1v", (CATEGORY, "vital-signs"), "p1");
    it.as_object_mut().expect("an object").remove("meta");
    it
}
