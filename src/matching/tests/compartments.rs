//! COMP-1 … COMP-10: who is in a compartment, and what may be written into it.

use super::*;
use crate::fhir::CompartmentKind;
use crate::matching::{belongs, belongs_by_subject, points_only_at, subject_parameters};

fn within(version: FhirVersion, kind: CompartmentKind, json: &str) -> bool {
    both(json, |root| belongs(kind, "a", root, &site(version, None)))
}

fn writable(version: FhirVersion, json: &str) -> bool {
    both(json, |root| belongs_by_subject("a", root, &site(version, None)))
}

/// Every nominated parameter counts, and nothing else does; the last column says whether it may be written.
#[test]
fn patient_compartment() {
    use FhirVersion::{R4, R4B, R5};
    let old: &[_] = &[R4, R4B];
    let all: &[_] = &[R4, R4B, R5];
    let new: &[_] = &[R5];
    let a = r#"{"reference":"Patient/a"}"#;
    let table = [
        (all, "Patient", r#""id":"a""#.to_owned(), true, true),
        (all, "Patient", r#""id":"b""#.to_owned(), false, false),
        (all, "Patient", format!(r#""id":"b","link":[{{"other":{a},"type":"seealso"}}]"#), false, false),
        (all, "Observation", format!(r#""subject":{a}"#), true, true),
        (all, "Observation", format!(r#""performer":[{{"reference":"Practitioner/p"}},{a}]"#), true, false),
        (all, "Observation", format!(r#""focus":[{a}]"#), false, false),
        (all, "Observation", format!(r#""extension":[{{"url":"u","valueReference":{a}}}]"#), false, false),
        (
            all,
            "Observation",
            format!(r#""contained":[{{"resourceType":"Observation","subject":{a}}}]"#),
            false,
            false,
        ),
        (all, "Observation", r#""status":"final""#.to_owned(), false, false),
        (old, "Condition", format!(r#""asserter":{a}"#), true, false),
        (new, "Condition", format!(r#""asserter":{a}"#), false, false),
        (new, "Condition", format!(r#""participant":[{{"actor":{a}}}]"#), true, false),
        (old, "Condition", format!(r#""participant":[{{"actor":{a}}}]"#), false, false),
        (all, "Condition", format!(r#""recorder":{a}"#), false, false),
        (all, "Encounter", format!(r#""subject":{a}"#), true, true),
        (all, "Encounter", format!(r#""participant":[{{"actor":{a},"individual":{a}}}]"#), false, false),
        (
            all,
            "Appointment",
            format!(r#""participant":[{{"actor":{{"reference":"Location/l"}}}},{{"actor":{a}}}]"#),
            true,
            true,
        ),
        (all, "AppointmentResponse", format!(r#""actor":{a}"#), true, true),
        (old, "AuditEvent", format!(r#""entity":[{{"what":{a}}}]"#), true, true),
        (old, "AuditEvent", format!(r#""agent":[{{"who":{a}}}]"#), true, true),
        (new, "AuditEvent", format!(r#""agent":[{{"who":{a}}}]"#), false, false),
        (new, "AuditEvent", format!(r#""patient":{a}"#), true, true),
        (all, "Coverage", format!(r#""beneficiary":{a}"#), true, true),
        (all, "Coverage", format!(r#""subscriber":{a}"#), true, false),
        (old, "Coverage", format!(r#""payor":[{a}]"#), true, false),
        (new, "Coverage", format!(r#""paymentBy":[{{"party":{a}}}]"#), true, false),
        (all, "EnrollmentRequest", format!(r#""candidate":{a}"#), true, true),
        (all, "Group", format!(r#""member":[{{"entity":{a}}}]"#), true, true),
        (old, "ResearchSubject", format!(r#""individual":{a}"#), true, true),
        (new, "ResearchSubject", format!(r#""subject":{a}"#), true, true),
        (old, "Provenance", format!(r#""target":[{{"reference":"Observation/o"}},{a}]"#), true, true),
        (new, "Provenance", format!(r#""patient":{a}"#), true, true),
        (all, "SupplyRequest", format!(r#""deliverTo":{a}"#), true, true),
        (all, "Person", format!(r#""link":[{{"target":{a}}}]"#), true, true),
        (all, "Procedure", format!(r#""performer":[{{"actor":{a}}}]"#), true, false),
        (all, "Schedule", format!(r#""actor":[{a}]"#), true, true),
        (new, "Task", format!(r#""for":{a}"#), true, true),
        (new, "Task", format!(r#""focus":{a}"#), true, false),
        (old, "Task", format!(r#""for":{a}"#), false, false),
        (new, "NutritionIntake", format!(r#""reportedReference":{a}"#), true, false),
        (new, "DeviceRequest", format!(r#""performer":{{"reference":{a}}}"#), true, false),
        (all, "Device", format!(r#""patient":{a},"subject":{a}"#), false, false),
        (all, "Practitioner", format!(r#""id":"a","subject":{a}"#), false, false),
        (
            all,
            "Bundle",
            format!(r#""entry":[{{"resource":{{"resourceType":"Observation","subject":{a}}}}}]"#),
            false,
            false,
        ),
    ];
    for (versions, name, rest, reads, writes) in table {
        let json = format!(r#"{{"resourceType":"{name}",{rest}}}"#);
        for version in versions {
            assert_eq!(within(*version, CompartmentKind::Patient, &json), reads, "{version} {json}");
            assert_eq!(writable(*version, &json), writes, "{version} {json}");
        }
    }
}

/// Requirements, appendix B; the other compartments follow the same rule.
#[test]
fn other_compartments() {
    let table = [
        (CompartmentKind::Encounter, r#"{"resourceType":"Encounter","id":"a"}"#, true),
        (
            CompartmentKind::Encounter,
            r#"{"resourceType":"Encounter","id":"b","partOf":{"reference":"Encounter/a"}}"#,
            false,
        ),
        (
            CompartmentKind::Encounter,
            r#"{"resourceType":"Observation","encounter":{"reference":"Encounter/a"}}"#,
            true,
        ),
        (
            CompartmentKind::Encounter,
            r#"{"resourceType":"Observation","encounter":{"reference":"Encounter/b"}}"#,
            false,
        ),
        (
            CompartmentKind::Encounter,
            r#"{"resourceType":"Observation","encounter":{"reference":"EpisodeOfCare/a"}}"#,
            false,
        ),
        (
            CompartmentKind::Encounter,
            r#"{"resourceType":"AllergyIntolerance","encounter":{"reference":"Encounter/a"}}"#,
            false,
        ),
        (
            CompartmentKind::Practitioner,
            r#"{"resourceType":"Observation","performer":[{"reference":"Practitioner/a"}]}"#,
            true,
        ),
        (
            CompartmentKind::Practitioner,
            r#"{"resourceType":"Observation","performer":[{"reference":"Patient/a"}]}"#,
            false,
        ),
        (CompartmentKind::Practitioner, r#"{"resourceType":"Practitioner","id":"a"}"#, true),
        (
            CompartmentKind::RelatedPerson,
            r#"{"resourceType":"Observation","performer":[{"reference":"RelatedPerson/a"}]}"#,
            true,
        ),
        (
            CompartmentKind::Device,
            r#"{"resourceType":"Observation","device":{"reference":"Device/a"}}"#,
            true,
        ),
        (
            CompartmentKind::Device,
            r#"{"resourceType":"Observation","device":{"reference":"Device/b"}}"#,
            false,
        ),
    ];
    for (kind, json, expected) in table {
        for version in VERSIONS {
            assert_eq!(within(version, kind, json), expected, "{version} {kind:?} {json}");
        }
    }
}

/// COMP-10: nothing is written that might be somebody else's.
#[test]
fn writes_are_held_to_one_patient() {
    let own = r#""subject":{"reference":"Patient/a"}"#;
    let table = [
        (format!("{own}"), true),
        (r#""subject":{"reference":"Patient/a","type":"Patient","display":"A"}"#.to_owned(), true),
        (r#""subject":{"reference":"Patient/a","type":"Group"}"#.to_owned(), false),
        (r#""subject":{"reference":"Patient/a","identifier":{"value":"b"}}"#.to_owned(), false),
        (r#""subject":{"identifier":{"value":"a"},"type":"Patient"}"#.to_owned(), false),
        (r#""subject":{"reference":"Group/a"}"#.to_owned(), false),
        (format!(r#"{own},"performer":[{{"reference":"Practitioner/p"}},{{"display":"Dr. X"}}]"#), true),
        (format!(r#"{own},"performer":[{{"reference":"Patient/a"}}]"#), true),
        (format!(r#"{own},"performer":[{{"reference":"Patient/a","identifier":{{"value":"b"}}}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"Patient/b"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"http://other.test/Patient/a"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"http://other.test/Practitioner/a"}}]"#), true),
        (format!(r#"{own},"performer":[{{"reference":"http://other.test/a"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"Practitioner/../Patient/b"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"urn:uuid:1"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"Patient?identifier=b"}}]"#), false),
        (format!(r#"{own},"performer":[{{"reference":"Practitioner?identifier=b"}}]"#), true),
        (format!(r#"{own},"performer":[{{"reference":"Practitioner/p","type":"Patient"}}]"#), false),
        (format!(r#"{own},"performer":[{{"type":"Patient","identifier":{{"value":"b"}}}}]"#), false),
        (format!(r#"{own},"performer":[{{"identifier":{{"value":"b"}}}}]"#), true),
        (format!(r##"{own},"performer":[{{"reference":"#p"}}]"##), false),
        (
            format!(
                r##"{own},"performer":[{{"reference":"#p"}}],"contained":[{{"resourceType":"Practitioner","id":"p"}}]"##
            ),
            true,
        ),
        (
            format!(
                r##"{own},"performer":[{{"reference":"#p"}}],"contained":[{{"resourceType":"Patient","id":"p"}}]"##
            ),
            false,
        ),
        (
            format!(
                r##"{own},"performer":[{{"reference":"#p"}}],"contained":[{{"resourceType":"Practitioner","id":"p"}},{{"resourceType":"Patient","id":"p"}}]"##
            ),
            false,
        ),
        (format!(r#"{own},"focus":[{{"reference":"Patient/b"}}]"#), true),
    ];
    for (rest, expected) in table {
        let json = format!(r#"{{"resourceType":"Observation",{rest}}}"#);
        for version in VERSIONS {
            assert_eq!(writable(version, &json), expected, "{version} {json}");
        }
    }
}

/// What FHIR allows once and is there twice has no single meaning; what may be there twice must be of one patient.
#[test]
fn repeated_subjects() {
    let twice = |name: &str, before: &str, element: &str, after: &str| {
        format!(
            "<{name}>{before}<{element}><reference value='Patient/a'/></{element}>\
            <{element}><reference value='Group/g'/></{element}>{after}</{name}>"
        )
    };
    let table = [
        (FhirVersion::R4, twice("Observation", "", "subject", ""), false),
        (FhirVersion::R4, twice("Encounter", "", "subject", ""), false),
        (FhirVersion::R4, twice("Appointment", "<participant>", "actor", "</participant>"), false),
        (FhirVersion::R4, twice("Account", "", "subject", ""), true),
        (FhirVersion::R4, twice("Schedule", "", "actor", ""), true),
        (FhirVersion::R4, twice("Provenance", "", "target", ""), true),
        (FhirVersion::R4, twice("Composition", "", "subject", ""), false),
        (FhirVersion::R5, twice("Composition", "", "subject", ""), true),
        (FhirVersion::R4, twice("List", "", "subject", ""), false),
        (FhirVersion::R5, twice("List", "", "subject", ""), true),
        (FhirVersion::R5, twice("Contract", "", "subject", ""), true),
        (FhirVersion::R4, twice("Appointment", "<participant>", "actor", "</participant>").replace("</actor><actor>", "</actor></participant><participant><actor>"), true),
        (FhirVersion::R4, "<Observation><subject><reference value='Patient/a'/><reference value='Patient/a'/></subject></Observation>".into(), false),
        (FhirVersion::R4, "<Account><subject><reference value='Patient/a'/></subject><subject><reference value='Patient/b'/></subject></Account>".into(), false),
    ];
    for (version, text, expected) in table {
        let document = Document::read(text.as_bytes(), Format::Xml).unwrap();
        assert_eq!(
            belongs_by_subject("a", document.root(), &site(version, None)),
            expected,
            "{version} {text}"
        );
    }
}

/// Every type that can be in the compartment can be written through a parameter that says whose it is; Patient is
/// written by its id.
#[test]
fn each_type_has_a_subject() {
    for version in VERSIONS {
        for (resource, _) in version.compartment(CompartmentKind::Patient).members() {
            let subjects = subject_parameters(version, resource);
            assert_eq!(subjects.is_empty(), resource == ResourceType::PATIENT, "{version} {resource}");
        }
    }
    let table = [
        (FhirVersion::R4, "AllergyIntolerance", vec!["patient"]),
        (FhirVersion::R4, "Appointment", vec!["actor"]),
        (FhirVersion::R4, "AppointmentResponse", vec!["actor"]),
        (FhirVersion::R4, "AuditEvent", vec!["patient"]),
        (FhirVersion::R4, "Claim", vec!["patient"]),
        (FhirVersion::R4, "Coverage", vec!["beneficiary"]),
        (FhirVersion::R4, "EnrollmentRequest", vec!["subject"]),
        (FhirVersion::R4, "Group", vec!["member"]),
        (FhirVersion::R4, "Invoice", vec!["subject", "patient"]),
        (FhirVersion::R4, "Observation", vec!["subject"]),
        (FhirVersion::R4, "Person", vec!["patient"]),
        (FhirVersion::R4, "ResearchSubject", vec!["individual"]),
        (FhirVersion::R4, "Schedule", vec!["actor"]),
        (FhirVersion::R4, "Task", vec![]),
        (FhirVersion::R4, "Practitioner", vec![]),
        (FhirVersion::R5, "Coverage", vec!["beneficiary"]),
        (FhirVersion::R5, "DeviceAssociation", vec!["subject"]),
        (FhirVersion::R5, "ResearchSubject", vec!["subject"]),
        (FhirVersion::R5, "Task", vec!["patient"]),
    ];
    for (version, name, expected) in table {
        assert_eq!(subject_parameters(version, ty(version, name)), expected, "{version} {name}");
    }
}

/// Whichever element a parameter of the compartment selects can be evaluated, in every version and compartment.
#[test]
fn compartment_parameters_are_understood() {
    for version in VERSIONS {
        for kind in CompartmentKind::ALL {
            for (resource, codes) in version.compartment(kind).members() {
                for code in codes {
                    let written = format!("{code}={kind:?}/a");
                    let criterion = criterion(version, resource.as_str(), &written);
                    assert!(criterion.is_ok(), "{version} {resource} {written}: {criterion:?}");
                }
            }
        }
    }
}

#[test]
fn all_references_of_a_parameter() {
    let version = FhirVersion::R4;
    let table = [
        (r#"{"resourceType":"Observation","performer":[{"reference":"Patient/a"}]}"#, true),
        (
            r#"{"resourceType":"Observation","performer":[{"reference":"Patient/a"},{"reference":"http://backend.test:8080/base/Patient/a"}]}"#,
            true,
        ),
        (
            r#"{"resourceType":"Observation","performer":[{"reference":"Patient/a"},{"reference":"Patient/b"}]}"#,
            false,
        ),
        (r#"{"resourceType":"Observation","performer":[{"reference":"Patient/a"},{"display":"x"}]}"#, false),
        (r#"{"resourceType":"Observation","performer":[]}"#, false),
        (r#"{"resourceType":"Observation","subject":{"reference":"Patient/a"}}"#, false),
        (r#"{"resourceType":"Communication","performer":[{"reference":"Patient/a"}]}"#, false),
        (r#"{"resourceType":"Nonsense","performer":[{"reference":"Patient/a"}]}"#, false),
    ];
    for (json, expected) in table {
        let asked = both(json, |root| {
            points_only_at("performer", (ResourceType::PATIENT, "a"), root, &site(version, None))
        });
        assert_eq!(asked, expected, "{json}");
    }
}
