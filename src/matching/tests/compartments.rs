//! COMP-1 … COMP-10: who is in a compartment, and what may be written into it.

use super::*;
use crate::fhir::CompartmentKind;
use crate::matching::{belongs, belongs_by_subject, references, subject_parameters};

fn within(version: FhirVersion, kind: CompartmentKind, json: &str) -> bool {
    both(json, |root| belongs(kind, "a", root, &site(version, None)))
}

fn writable(version: FhirVersion, json: &str) -> bool {
    both(json, |root| belongs_by_subject("a", root, &site(version, None)))
}

const OLD: &[FhirVersion] = &[FhirVersion::R4, FhirVersion::R4B];
const NEW: &[FhirVersion] = &[FhirVersion::R5];

/// What Patient/a is in a resource, as far as its compartment goes.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    None,
    Other,
    Subject,
}

/// `$` stands for a reference to Patient/a.
const MEMBERS: &[(&[FhirVersion], &str, &str, Role)] = &[
    (&VERSIONS, "Patient", r#""id":"a""#, Role::Subject),
    (&VERSIONS, "Patient", r#""id":"b""#, Role::None),
    (&VERSIONS, "Patient", r#""id":"b","link":[{"other":$,"type":"seealso"}]"#, Role::None),
    (&VERSIONS, "Observation", r#""subject":$"#, Role::Subject),
    (&VERSIONS, "Observation", r#""performer":[{"reference":"Practitioner/p"},$]"#, Role::Other),
    (&VERSIONS, "Observation", r#""focus":[$]"#, Role::None),
    (&VERSIONS, "Observation", r#""extension":[{"url":"u","valueReference":$}]"#, Role::None),
    (&VERSIONS, "Observation", r#""contained":[{"resourceType":"Observation","subject":$}]"#, Role::None),
    (&VERSIONS, "Observation", r#""status":"final""#, Role::None),
    (OLD, "Condition", r#""asserter":$"#, Role::Other),
    (NEW, "Condition", r#""asserter":$"#, Role::None),
    (NEW, "Condition", r#""participant":[{"actor":$}]"#, Role::Other),
    (OLD, "Condition", r#""participant":[{"actor":$}]"#, Role::None),
    (&VERSIONS, "Condition", r#""recorder":$"#, Role::None),
    (&VERSIONS, "Encounter", r#""subject":$"#, Role::Subject),
    (&VERSIONS, "Encounter", r#""participant":[{"actor":$,"individual":$}]"#, Role::None),
    (
        &VERSIONS,
        "Appointment",
        r#""participant":[{"actor":{"reference":"Location/l"}},{"actor":$}]"#,
        Role::Subject,
    ),
    (&VERSIONS, "AppointmentResponse", r#""actor":$"#, Role::Subject),
    (OLD, "AuditEvent", r#""entity":[{"what":$}]"#, Role::Subject),
    (OLD, "AuditEvent", r#""agent":[{"who":$}]"#, Role::Subject),
    (NEW, "AuditEvent", r#""agent":[{"who":$}]"#, Role::None),
    (NEW, "AuditEvent", r#""patient":$"#, Role::Subject),
    (&VERSIONS, "Coverage", r#""beneficiary":$"#, Role::Subject),
    (&VERSIONS, "Coverage", r#""subscriber":$"#, Role::Other),
    (OLD, "Coverage", r#""payor":[$]"#, Role::Other),
    (NEW, "Coverage", r#""paymentBy":[{"party":$}]"#, Role::Other),
    (&VERSIONS, "EnrollmentRequest", r#""candidate":$"#, Role::Subject),
    (&VERSIONS, "Group", r#""member":[{"entity":$}]"#, Role::Subject),
    (OLD, "ResearchSubject", r#""individual":$"#, Role::Subject),
    (NEW, "ResearchSubject", r#""subject":$"#, Role::Subject),
    (OLD, "Provenance", r#""target":[{"reference":"Observation/o"},$]"#, Role::Subject),
    (NEW, "Provenance", r#""patient":$"#, Role::Subject),
    (&VERSIONS, "SupplyRequest", r#""deliverTo":$"#, Role::Subject),
    (&VERSIONS, "Person", r#""link":[{"target":$}]"#, Role::Subject),
    (&VERSIONS, "Procedure", r#""performer":[{"actor":$}]"#, Role::Other),
    (&VERSIONS, "Schedule", r#""actor":[$]"#, Role::Subject),
    (NEW, "Task", r#""for":$"#, Role::Subject),
    (NEW, "Task", r#""focus":$"#, Role::Other),
    (OLD, "Task", r#""for":$"#, Role::None),
    (NEW, "NutritionIntake", r#""reportedReference":$"#, Role::Other),
    (NEW, "DeviceRequest", r#""performer":{"reference":$}"#, Role::Other),
    (&VERSIONS, "Device", r#""patient":$,"subject":$"#, Role::None),
    (&VERSIONS, "Practitioner", r#""id":"a","subject":$"#, Role::None),
    (&VERSIONS, "Bundle", r#""entry":[{"resource":{"resourceType":"Observation","subject":$}}]"#, Role::None),
];

/// Every nominated parameter counts, and nothing else does; only those that say whose the record is let it be written.
#[test]
fn patient_compartment() {
    for (versions, name, rest, role) in MEMBERS {
        let rest = rest.replace('$', r#"{"reference":"Patient/a"}"#);
        let json = format!(r#"{{"resourceType":"{name}",{rest}}}"#);
        for version in *versions {
            let reads = within(*version, CompartmentKind::Patient, &json);
            assert_eq!(reads, *role != Role::None, "{version} {json}");
            assert_eq!(writable(*version, &json), *role == Role::Subject, "{version} {json}");
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
        (own.to_owned(), true),
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

/// SRCH-5: what a chain could have been asked about: all references of the type, or nothing where one cannot be told.
#[test]
fn all_references_of_a_parameter() {
    let version = FhirVersion::R4;
    let observation = version.resource_type("Observation").expect("a type");
    let table: [(&str, Option<&[&str]>); 7] = [
        (r#""performer":[{"reference":"Patient/a"}]"#, Some(&["a"])),
        (
            r#""performer":[{"reference":"Patient/a"},{"reference":"http://backend.test:8080/base/Patient/b"}]"#,
            Some(&["a", "b"]),
        ),
        (r#""performer":[{"reference":"Practitioner/a"}]"#, Some(&[])),
        (r#""performer":[{"reference":"Patient/a"},{"display":"x"}]"#, None),
        (r#""performer":[{"reference":"https://other.test/Patient/a"}]"#, None),
        (r#""performer":[]"#, Some(&[])),
        (r#""subject":{"reference":"Patient/a"}"#, Some(&[])),
    ];
    for (member, expected) in table {
        let json = format!(r#"{{"resourceType":"Observation",{member}}}"#);
        let ids = both(&json, |root| {
            references((observation, "performer"), ResourceType::PATIENT, root, &site(version, None))
        });
        let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(ids, expected, "{json}");
    }
}
