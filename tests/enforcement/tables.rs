//! The naive evaluator itself: each rule with a yes and a no.

use serde_json::{Value, json};

use crate::compartment::denotes;
use crate::config::Config;
use crate::criteria::{Usable, holds, usable};
use crate::naive::{Grant, Reach, Role, Truth};

fn observation(subject: &str) -> Value {
    json!({"resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": subject},
        "code": {"coding": [{"system": "urn:codes", "code": "x", "display": "Alpha wave"}]},
        "category": [{"coding": [{"system": "urn:c", "code": "lab"}]}], "effectiveDateTime": "2024-06-15",
        "valueQuantity": {"value": 5.2, "system": "u", "code": "mg"}, "encounter": {"reference": "Encounter/e1"},
        "meta": {"security": [{"code": "N"}]}})
}

/// COMP-7: what a reference denotes.
#[test]
fn references() {
    let own = [
        "Patient/p1",
        "https://gw.test/fhir/Patient/p1",
        "http://gw.test/fhir/Patient/p1",
        "http://upstream.internal/fhir/Patient/p1",
        "Patient/p1/_history/3",
    ];
    let others = [
        "Patient/p1x",
        "patient/p1",
        "#p1",
        "https://other.test/fhir/Patient/p1",
        "https://gw.test:8443/fhir/Patient/p1",
        "Patient/p1/",
        "Patient?identifier=p1",
        "Patient/p1/_history",
    ];
    for written in own {
        assert_eq!(denotes(written), Some(("Patient", "p1")), "{written}");
    }
    for written in others {
        assert_ne!(denotes(written), Some(("Patient", "p1")), "{written}");
    }
}

/// FHIR R4 §3.1.1, parameter by parameter.
#[test]
fn criteria() {
    let table = [
        ("category", "lab", true),
        ("category", "urn:c|lab", true),
        ("category", "urn:d|lab", false),
        ("category", "urn:c|", true),
        ("category", "|lab", false),
        ("category", "x,lab", true),
        ("category:not", "lab", false),
        ("category:not", "x,y", true),
        ("category:missing", "false", true),
        ("identifier:missing", "true", true),
        ("code:text", "alpha", true),
        ("code:text", "beta", false),
        ("date", "2024", true),
        ("date", "2024-06-16", false),
        ("date", "ge2024-06-15", true),
        ("date", "gt2024-06-15", false),
        ("date", "lt2024-06-16", true),
        ("date", "sa2024-06-14", true),
        ("date", "ne2024", false),
        ("value-quantity", "gt5", true),
        ("value-quantity", "5", true),
        ("value-quantity", "5.0", false),
        ("value-quantity", "5.2|u|mg", true),
        ("value-quantity", "5.2||g", false),
        ("subject", "p1", true),
        ("subject", "Patient/p1", true),
        ("subject:Patient", "p1", true),
        ("subject:Group", "p1", false),
        ("patient", "Patient/p2", false),
        ("encounter", "https://gw.test/fhir/Encounter/e1", true),
        ("_security:not", "R", true),
        ("_security:not", "N", false),
        ("_id", "o2,o1", true),
    ];
    let resource = observation("Patient/p1");
    for (name, value, expected) in table {
        assert_eq!(holds(&resource, name, value), Truth::from(expected), "{name}={value}");
    }
    assert_eq!(usable("Observation", "code:in"), Usable::Asked);
    assert_eq!(usable("Observation", "subject.family"), Usable::Asked);
    assert_eq!(usable("Observation", "code:not-in"), Usable::Never);
    assert_eq!(usable("Observation", "clinical-status"), Usable::Never);
}

/// Contract §5: what scopes reach.
#[test]
fn grants() {
    let plain = Config::default();
    let restrict = Config { restrict: true, ..Config::default() };
    let table = [
        ("patient/Observation.rs", "Patient/p1", &plain, true),
        ("patient/Observation.rs", "Patient/p2", &plain, false),
        ("patient/Observation.s", "Patient/p1", &plain, false),
        ("patient/Condition.rs", "Patient/p1", &plain, false),
        ("system/*.rs", "Patient/p2", &plain, true),
        ("patient/Observation.sr", "Patient/p1", &plain, false),
        ("patient/*.read", "Patient/p1", &plain, true),
        ("patient/Observation.rs?category=lab", "Patient/p1", &plain, true),
        ("patient/Observation.rs?category=vital", "Patient/p1", &plain, false),
        ("patient/Observation.rs?category=vital patient/Observation.r?code=x", "Patient/p1", &plain, true),
        ("patient/Observation.rs", "Patient/p1", &restrict, false),
        ("user/Observation.rs", "Patient/p2", &restrict, true),
    ];
    for (scope, subject, config, expected) in table {
        let claims = json!({"scope": scope, "patient": "p1", "encounter": "e2"});
        let seen = Grant::new(&claims, config).sees(&observation(subject), "r", Role::Read);
        assert_eq!(seen, Truth::from(expected), "{scope}, {subject}");
    }
    let claims = json!({"scope": "patient/Observation.cruds", "patient": "p1"});
    let grant = Grant::new(&claims, &plain);
    assert_eq!(grant.reach("Observation", "c"), Reach::Part);
    assert_eq!(grant.reach("Practitioner", "r"), Reach::None);
    let mut mentioned = observation("Patient/p2");
    mentioned["performer"] = json!([{"reference": "Patient/p1"}]);
    let roles = [(Role::Read, Truth::Yes), (Role::Stored, Truth::No), (Role::Submitted, Truth::No)];
    for (role, expected) in roles {
        assert_eq!(grant.sees(&mentioned, "u", role), expected, "{role:?}");
    }
}
