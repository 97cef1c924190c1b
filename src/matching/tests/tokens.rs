//! Codes, identifiers and flags.

use super::*;

const R5: FhirVersion = FhirVersion::R5;

const CONCEPTS: Rows = &[
    ("category=vital-signs", true),
    ("category=vital", false),
    ("category=http://c|vital-signs", true),
    ("category=http://c|", true),
    ("category=|vital-signs", false),
    ("category=|bare", true),
    ("category=bare", true),
    ("category=http://c|bare", false),
    ("category=http://c|x", false),
    ("category=http://C|x", true),
    ("category=HTTP://c|x", false),
    ("category=http://c/|vital-signs", false),
    ("category=a,vital-signs", true),
    ("category=a,b", false),
    (r"category=a\,vital-signs", false),
    ("category:not=vital-signs", false),
    ("category:not=survey", true),
    ("category:not=survey,vital-signs", false),
    ("category:not=survey,exam", true),
    ("category:not=http://d|vital-signs", true),
    ("category:text=bare", true),
    ("category:text=thing", false),
    ("category:text=ubersicht", true),
    ("category:text=vital", false),
    // Case is not decided: neither it nor its opposite holds.
    ("category=Vital-Signs", false),
    ("category:not=Vital-Signs", false),
    // The system of a plain code is not in the resource.
    ("status=final", true),
    ("status=amended", false),
    ("status=http://hl7.org/fhir/observation-status|final", false),
    ("status:not=http://hl7.org/fhir/observation-status|final", false),
    ("status:not=http://hl7.org/fhir/observation-status|amended", true),
    ("status=http://hl7.org/fhir/observation-status|", false),
    ("status=|final", false),
    ("status:not=final", false),
    ("status:not=amended", true),
    // Nothing there: `:not` holds.
    ("data-absent-reason=x", false),
    ("data-absent-reason:not=x", true),
    ("data-absent-reason:missing=true", true),
    ("data-absent-reason:missing=false", false),
    ("method=by hand", false),
    ("method:text=By", true),
    ("method:not=by hand", true),
    // A text without a code is neither present nor missing.
    ("method:missing=true", false),
    ("method:missing=false", false),
    ("code:missing=false", true),
    ("code:missing=true", false),
];

/// FHIR R4 §3.1.1, "token", SCOPE-46, SCOPE-47.
#[test]
fn tokens_of_concepts() {
    let json = r#"{"resourceType":"Observation","status":"final",
        "category":[{"coding":[{"system":"http://c","code":"vital-signs"}]},
            {"coding":[{"code":"bare","display":"Bare thing"},{"system":"http://C","code":"x"}],"text":"Übersicht all"}],
        "code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},
        "method":{"text":"by hand"}}"#;
    for version in VERSIONS {
        check(version, json, CONCEPTS);
    }
}

const OTHERS: Rows = &[
    ("_id=p1", true),
    ("_id=p", false),
    ("_id=P1", false),
    ("_id=a,p1", true),
    ("_tag=a", true),
    ("_tag=http://t|a", true),
    ("_tag=|a", false),
    ("_tag:not=a", false),
    ("_tag:not=b", true),
    ("_security=R", true),
    ("_security:not=R", false),
    ("_security=V", false),
    ("active=true", true),
    ("active=false", false),
    ("active=yes", false),
    ("active=x|true", false),
    ("gender=female", true),
    ("gender=male", false),
    (r"identifier=urn:mrn|4\|7", true),
    ("identifier=urn:mrn|4", false),
    ("identifier=urn:mrn|", true),
    ("identifier=|x", true),
    ("identifier=x", true),
    ("identifier=urn:mrn|x", false),
    (r"identifier:of-type=http://v2|MR|4\|7", true),
    ("identifier:of-type=http://v2|MR|x", false),
    (r"identifier:of-type=http://v2|SS|4\|7", false),
    (r"identifier:of-type=http://v3|MR|4\|7", false),
    ("identifier:text=rec", true),
    ("identifier:text=x", false),
    ("phone=0301234", true),
    ("phone=a@b.test", false),
    ("email=a@b.test", true),
    ("telecom=a@b.test", true),
    ("telecom=none", true),
    ("telecom=030", false),
];

/// FHIR R4 §3.1.1, "token": what else has a code, in itself or as its value.
#[test]
fn tokens_of_other_types() {
    let patient = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"female",
        "meta":{"tag":[{"system":"http://t","code":"a"}],"security":[{"code":"R"}]},
        "identifier":[{"type":{"coding":[{"system":"http://v2","code":"MR"}],"text":"Record"},"system":"urn:mrn","value":"4|7"},
            {"value":"x"}],
        "telecom":[{"system":"phone","value":"0301234"},{"system":"email","value":"a@b.test"},{"value":"none"}]}"#;
    for version in VERSIONS {
        check(version, patient, OTHERS);
    }
    check(
        R5,
        r#"{"resourceType":"Patient","language":"de"}"#,
        &[("_language=de", true), ("_language=en", false)],
    );
}

/// HL7 defines `deceased` by what it computes: true for a date or `true`.
#[test]
fn deceased() {
    let table = [
        (r#""deceasedBoolean":true"#, (true, false)),
        (r#""deceasedBoolean":false"#, (false, true)),
        (r#""deceasedDateTime":"2020-01-01""#, (true, false)),
        (r#""active":true"#, (false, true)),
        (r#""_deceasedBoolean":{"extension":[{"url":"u","valueCode":"unknown"}]}"#, (false, false)),
    ];
    for (rest, (dead, alive)) in table {
        let json = format!(r#"{{"resourceType":"Patient",{rest}}}"#);
        for version in VERSIONS {
            check(version, &json, &[("deceased=true", dead), ("deceased=false", alive)]);
        }
    }
}
