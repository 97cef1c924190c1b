//! COMP-7: which references are to one resource.

use super::*;
use crate::fhir::CompartmentKind;
use crate::matching::{belongs, belongs_by_subject};

const R4: FhirVersion = FhirVersion::R4;

fn observation(reference: &str) -> String {
    format!(r#"{{"resourceType":"Observation","subject":{{"reference":{reference:?}}}}}"#)
}

/// One table for the three that compare references: criteria, membership, and membership for writing.
const REFERENCES: Rows = &[
    ("Patient/x", true),
    ("Patient/x/_history/3", true),
    ("https://gateway.test/fhir/Patient/x", true),
    ("https://gateway.test/fhir/Patient/x/_history/3", true),
    ("http://gateway.test/fhir/Patient/x", true),
    ("HTTPS://Gateway.TEST/fhir/Patient/x", true),
    ("https://gateway.test:443/fhir/Patient/x", true),
    ("http://gateway.test:80/fhir/Patient/x", true),
    ("http://backend.test:8080/base/Patient/x", true),
    ("https://backend.test:8080/base/Patient/x", true),
    ("https://gateway.test:444/fhir/Patient/x", false),
    ("http://gateway.test:443/fhir/Patient/x", false),
    ("http://backend.test/base/Patient/x", false),
    ("https://gateway.test/FHIR/Patient/x", false),
    ("https://gateway.test/fhir2/Patient/x", false),
    ("https://gateway.test/fhir//Patient/x", false),
    ("https://gateway.test/fhir/./Patient/x", false),
    ("https://gateway.test/fhir/sub/Patient/x", false),
    ("https://gateway.test.evil/fhir/Patient/x", false),
    ("https://me@gateway.test/fhir/Patient/x", false),
    ("https://gateway.test/Patient/x", false),
    ("ftp://gateway.test/fhir/Patient/x", false),
    ("http://other.test/fhir/Patient/x", false),
    ("//gateway.test/fhir/Patient/x", false),
    ("/fhir/Patient/x", false),
    ("Patient/xy", false),
    ("Patient/X", false),
    ("patient/x", false),
    ("Patient/x/", false),
    ("Patient//x", false),
    ("./Patient/x", false),
    ("Patient/x#y", false),
    ("Patient/x?y", false),
    ("Patient/x|1", false),
    ("Patient/x/_history", false),
    ("Patient/x/_history/", false),
    ("Patient/x/_history/3/4", false),
    ("Patient/x/name/3", false),
    (" Patient/x", false),
    ("Patient/%78", false),
    ("Patient?identifier=x", false),
    ("Group/x", false),
    ("x", false),
    ("#x", false),
    ("", false),
    ("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", false),
    ("urn:oid:1.2.3", false),
];

#[test]
fn references_are_identities() {
    for &(reference, expected) in REFERENCES {
        let json = observation(reference);
        assert_eq!(matches(R4, &json, "subject=Patient/x"), expected, "{reference}");
        assert_eq!(matches(R4, &json, "subject:Patient=x"), expected, "{reference}");
        assert_eq!(matches(R4, &json, "patient=x"), expected, "{reference}");
        assert_eq!(
            matches(R4, &json, "subject=https://gateway.test/fhir/Patient/x"),
            expected,
            "{reference}"
        );
        assert_eq!(matches(R4, &json, "subject=x"), expected || reference == "Group/x", "{reference}");
        let site = site(R4, None);
        let within = both(&json, |root| belongs(CompartmentKind::Patient, "x", root, &site));
        let writable = both(&json, |root| belongs_by_subject("x", root, &site));
        assert_eq!((within, writable), (expected, expected), "{reference}");
    }
}

/// A base may be nothing but a host, or an address.
#[test]
fn bases_without_a_path() {
    let table = [
        ("https://gateway.test", "https://gateway.test/Patient/x", true),
        ("https://gateway.test", "https://gateway.test:443/Patient/x", true),
        ("https://gateway.test", "https://gateway.test:/Patient/x", true),
        ("https://gateway.test", "https://gateway.testing/Patient/x", false),
        ("https://gateway.test", "https://gateway.test:4433/Patient/x", false),
        ("https://gateway.test", "https://gateway.test@other.test/Patient/x", false),
        ("https://gateway.test", "https://gateway.test", false),
        ("http://[::1]:8080/fhir", "https://[::1]:8080/fhir/Patient/x", true),
        ("http://[::1]/fhir", "http://[::1]:80/fhir/Patient/x", true),
        ("http://[::1]/fhir", "http://[::2]/fhir/Patient/x", false),
    ];
    for (public_base, reference, expected) in table {
        let site = Site { public_base, ..site(R4, None) };
        let json = observation(reference);
        let within = both(&json, |root| belongs(CompartmentKind::Patient, "x", root, &site));
        assert_eq!(within, expected, "{public_base} {reference}");
    }
}

/// What is no Reference refers to nothing, whatever it says.
#[test]
fn references_are_of_their_type() {
    let table = [
        r#""Patient/x""#,
        r#""https://gateway.test/fhir/Patient/x""#,
        r#"{"reference":{"reference":"Patient/x"}}"#,
        r#"{"id":"Patient/x"}"#,
        r#"{"uri":"Patient/x"}"#,
    ];
    for subject in table {
        let json = format!(r#"{{"resourceType":"Observation","subject":{subject}}}"#);
        check(R4, &json, &[("subject=Patient/x", false), ("subject=x", false), ("patient=x", false)]);
        let site = site(R4, None);
        assert!(!both(&json, |root| belongs(CompartmentKind::Patient, "x", root, &site)), "{json}");
        assert!(!both(&json, |root| belongs_by_subject("x", root, &site)), "{json}");
    }
}

/// REST-35: a urn denotes what its entry of the transaction is, and nothing without one.
#[test]
fn urns_denote_what_the_transaction_says() {
    let urns = BTreeMap::from([
        ("urn:uuid:1".to_owned(), "Patient/x".to_owned()),
        ("urn:oid:1.2".to_owned(), "Patient/y".to_owned()),
    ]);
    let table = [("urn:uuid:1", true), ("urn:oid:1.2", false), ("urn:uuid:2", false), ("urn:uuid:", false)];
    let criterion = criterion(R4, "Observation", "patient=Patient/x").unwrap();
    for (urn, expected) in table {
        let json = observation(urn);
        let site = site(R4, Some(&urns));
        assert_eq!(both(&json, |root| belongs_by_subject("x", root, &site)), expected, "{urn}");
        assert_eq!(both(&json, |root| criterion.holds(root, &site)), expected.into(), "{urn}");
    }
}

/// FHIR R4 §3.1.1, "reference"; SRCH-3, SRCH-4.
#[test]
fn reference_values_and_modifiers() {
    let json = r##"{"resourceType":"Encounter",
        "contained":[{"resourceType":"Practitioner","id":"p"}],
        "subject":{"reference":"Patient/a","display":"Ada Lovelace"},
        "account":[{"identifier":{"system":"http://acc","value":"17"}},
            {"identifier":{"value":"18"}}],
        "participant":[{"individual":{"reference":"#p"}},
            {"individual":{"reference":"http://other.test/Practitioner/b"}}]}"##;
    check(
        R4,
        json,
        &[
            ("subject=Patient/b,Patient/a", true),
            ("subject=Patient/b,Patient/c", false),
            ("subject=a", true),
            ("subject:Patient=a", true),
            ("subject:Patient=Patient/a", true),
            ("subject:Group=a", false),
            ("account:identifier=http://acc|17", true),
            ("account:identifier=17", true),
            ("account:identifier=|18", true),
            ("account:identifier=|17", false),
            ("account:identifier=http://acc|18", false),
            ("account:identifier=http://acc|", true),
            ("subject:identifier=a", false),
            ("participant=http://other.test/Practitioner/b", true),
            ("participant=http://other.test/Practitioner/c", false),
            ("participant=Practitioner/b", false),
            ("participant=p", false),
            ("subject:missing=false", true),
            ("subject:missing=true", false),
            // An identifier alone is neither a reference nor none.
            ("account:missing=false", false),
            ("account:missing=true", false),
            ("location:missing=true", true),
            ("location:missing=false", false),
        ],
    );
    check(FhirVersion::R5, json, &[("subject:text=ada", true), ("subject:text=lovelace", false)]);
}

/// `where(resolve() is …)`: the type is what the reference says, and without one it is in doubt.
#[test]
fn references_are_selected_by_their_type() {
    let subject = |reference: &str| {
        format!(
            r##"{{"resourceType":"Encounter","contained":[{{"resourceType":"Patient","id":"c"}}],"subject":{reference}}}"##
        )
    };
    let table = [
        (r#"{"reference":"Patient/1"}"#, (false, true)),
        (r#"{"reference":"http://other.test/Patient/1"}"#, (false, true)),
        (r##"{"reference":"#c"}"##, (false, true)),
        (r#"{"reference":"Group/1"}"#, (true, false)),
        (r#"{"type":"Group","display":"g"}"#, (true, false)),
        (r#"{"reference":"urn:uuid:1"}"#, (false, false)),
        (r##"{"reference":"#d"}"##, (false, false)),
        (r#"{"display":"somebody"}"#, (false, false)),
    ];
    for (reference, (missing, present)) in table {
        let json = subject(reference);
        assert_eq!(matches(R4, &json, "patient:missing=true"), missing, "{reference}");
        assert_eq!(matches(R4, &json, "patient:missing=false"), present, "{reference}");
    }
}

/// Canonicals: FHIR R4 §3.1.1, "References and Versions".
#[test]
fn canonicals() {
    let json =
        r#"{"resourceType":"QuestionnaireResponse","questionnaire":"http://q.test/Questionnaire/1|2.0"}"#;
    check(
        R4,
        json,
        &[
            ("questionnaire=http://q.test/Questionnaire/1", true),
            ("questionnaire=http://q.test/Questionnaire/1|2.0", true),
            ("questionnaire=http://q.test/Questionnaire/1|2", false),
            ("questionnaire=http://q.test/Questionnaire/2", false),
            ("questionnaire=1", false),
            ("questionnaire=Questionnaire/1", false),
        ],
    );
    let profile = r#"{"resourceType":"Patient","meta":{"profile":["http://p.test/a|1","http://p.test/b"]}}"#;
    check(
        FhirVersion::R5,
        profile,
        &[("_profile=http://p.test/a", true), ("_profile=http://p.test/c", false)],
    );
    // In R4 `_profile` is a uri and compared exactly.
    check(R4, profile, &[("_profile=http://p.test/b", true), ("_profile=http://p.test/a", false)]);
}

/// A parameter of Bundle selects the resource that stands there.
#[test]
fn resources_in_a_bundle() {
    let json = r#"{"resourceType":"Bundle","type":"document","entry":[
        {"resource":{"resourceType":"Composition","id":"c"}},{"resource":{"resourceType":"Patient","id":"p"}}]}"#;
    for version in VERSIONS {
        check(version, json, &[("composition=c", true), ("composition=p", false)]);
    }
    check(FhirVersion::R5, json, &[("message=c", false), ("message:missing=true", true)]);
}

/// CodeableReference of R5: the reference is one step further in.
#[test]
fn references_within_codeable_references() {
    let json = r#"{"resourceType":"DeviceRequest","code":{"reference":{"reference":"Device/d"}},
        "subject":{"reference":"Patient/a"},"performer":{"reference":{"reference":"Practitioner/b"}}}"#;
    check(
        FhirVersion::R5,
        json,
        &[
            ("device=Device/d", true),
            ("device=Device/e", false),
            ("performer=b", true),
            ("performer=a", false),
        ],
    );
}
