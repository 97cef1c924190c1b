//! What a criterion can be made of, and who can tell.

use super::*;

/// What becomes of `parameter=value` on a type.
fn outcome(version: FhirVersion, on: &str, written: &str) -> &'static str {
    match criterion(version, on, written).map(|it| it.means()) {
        Ok(Means::Backend) => "backend",
        Ok(Means::Here) => "here",
        Err(Unusable::Modifier(_)) => "modifier",
        Err(Unusable::Special(_)) => "special",
        Err(Unusable::Undefined(_)) => "undefined",
        Err(Unusable::Value(_)) => "value",
    }
}

/// SCOPE-47 … SCOPE-50, SRCH-1 … SRCH-4.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("Observation", "category=a", "here"),
    ("Observation", "category:not=a", "here"),
    ("Observation", "category:text=a", "here"),
    ("Observation", "category:missing=true", "here"),
    ("Observation", "category:missing=yes", "value"),
    ("Observation", "category:missing=true,false", "value"),
    ("Patient", "identifier:of-type=a|b|c", "here"),
    ("Patient", "identifier:of-type=a|b", "value"),
    ("Patient", "identifier:of-type=|b|c", "value"),
    ("Observation", "category:in=http://vs", "backend"),
    ("Observation", "category:below=a|b", "backend"),
    ("Observation", "category:above=a|b", "backend"),
    ("Observation", "category:in=", "value"),
    ("Observation", "category:not-in=http://vs", "modifier"),
    ("Observation", "category:exact=a", "modifier"),
    ("Observation", "category:Patient=a", "modifier"),
    ("Observation", "category:nonsense=a", "modifier"),
    ("Observation", "category:=a", "modifier"),
    ("Observation", "category:NOT=a", "modifier"),
    ("Observation", "category=", "value"),
    ("Observation", "category=a,", "value"),
    ("Observation", "category=,a", "value"),
    ("Observation", "category=|", "value"),
    ("Observation", "category=a|b|c", "value"),
    ("Patient", "name=a", "here"),
    ("Patient", "name:exact=a", "here"),
    ("Patient", "name:contains=a", "here"),
    ("Patient", "name:missing=false", "here"),
    ("Patient", "name:text=a", "modifier"),
    ("Patient", "name:not=a", "modifier"),
    ("Patient", "name=\u{301}", "value"),
    ("Patient", "phonetic=a", "special"),
    ("Patient", "birthdate=2000", "here"),
    ("Patient", "birthdate=ge2000-01-01T10:00:00Z", "here"),
    ("Patient", "birthdate:missing=true", "here"),
    ("Patient", "birthdate:exact=2000", "modifier"),
    ("Patient", "birthdate=ap2000", "value"),
    ("Patient", "birthdate=yesterday", "value"),
    ("Patient", "birthdate=2000-13", "value"),
    ("Patient", "birthdate=2001-02-29", "value"),
    ("Patient", "birthdate=2000-1-1", "value"),
    ("Patient", "birthdate=xx2000", "value"),
    ("Patient", "birthdate=2000-01-01T24:00", "value"),
    ("Patient", "birthdate=2000-01-01T10", "value"),
    ("Patient", "birthdate=2000-01T10:00", "value"),
    ("Patient", "birthdate=2000-01-01T10:00:00 01:00", "value"),
    ("Patient", "birthdate=0000", "value"),
    ("Patient", "birthdate=2000,2001-02", "here"),
    ("RiskAssessment", "probability=gt0.8", "here"),
    ("RiskAssessment", "probability=ap0.8", "here"),
    ("RiskAssessment", "probability=.8", "value"),
    ("RiskAssessment", "probability=0.", "value"),
    ("RiskAssessment", "probability=1e", "value"),
    ("RiskAssessment", "probability=1e99", "value"),
    ("RiskAssessment", "probability=0,8", "here"),
    ("RiskAssessment", "probability=NaN", "value"),
    ("Observation", "value-quantity=5.4|http://unitsofmeasure.org|mg", "here"),
    ("Observation", "value-quantity=5.4||mg", "here"),
    ("Observation", "value-quantity=5.4|mg", "value"),
    ("Observation", "value-quantity=5.4||", "value"),
    ("Observation", "value-quantity=|a|mg", "value"),
    ("Observation", "code-value-quantity=a$gt5", "here"),
    ("Observation", "code-value-quantity=a", "value"),
    ("Observation", "code-value-quantity=a$5$6", "value"),
    ("Observation", "code-value-quantity=$5", "value"),
    ("Observation", "code-value-quantity:missing=true", "modifier"),
    ("Observation", "subject=a", "here"),
    ("Observation", "subject=Patient/a", "here"),
    ("Observation", "subject=https://gateway.test/fhir/Patient/a", "here"),
    ("Observation", "subject=Patient/a/_history/1", "value"),
    ("Observation", "subject=Nonsense/a", "value"),
    ("Observation", "subject=#a", "value"),
    ("Observation", "subject=Patient?x=y", "value"),
    ("Observation", "subject:Patient=a", "here"),
    ("Observation", "subject:Patient=Group/a", "value"),
    ("Observation", "subject:CodeSystem=a", "modifier"),
    ("Observation", "subject:Nonsense=a", "modifier"),
    ("Observation", "subject:identifier=a|b", "here"),
    ("Observation", "subject:below=a", "backend"),
    ("Observation", "subject:exact=a", "modifier"),
    ("ValueSet", "url:below=http://a", "here"),
    ("ValueSet", "url:above=http://a", "here"),
    ("ValueSet", "url:exact=http://a", "modifier"),
    ("Observation", "nonsense=a", "undefined"),
    ("Observation", "Category=a", "undefined"),
    ("Observation", "_id=a", "here"),
    ("Observation", "_tag:not=a", "here"),
    ("Observation", "_security=a|b", "here"),
    ("Observation", "_lastUpdated=gt2020", "here"),
    ("Observation", "_source=http://a", "here"),
    ("Observation", "_text=a", "backend"),
    ("Observation", "_content=a", "backend"),
    ("Observation", "_content=", "value"),
    ("Observation", "_content:missing=true", "modifier"),
    ("Location", "near=1|2", "special"),
    ("DocumentReference", "relationship=a$b", "special"),
];

#[test]
fn who_can_tell() {
    for (on, written, expected) in PARAMETERS {
        for version in [FhirVersion::R4, FhirVersion::R4B] {
            assert_eq!(outcome(version, on, written), *expected, "{version} {on}?{written}");
        }
    }
    let differing = [
        (FhirVersion::R4, "Observation", "code:code-text=a", "modifier"),
        (FhirVersion::R5, "Observation", "code:code-text=a", "backend"),
        (FhirVersion::R4, "Observation", "code:text-advanced=a", "modifier"),
        (FhirVersion::R5, "Observation", "code:text-advanced=a", "backend"),
        (FhirVersion::R4, "Observation", "subject:text=a", "modifier"),
        (FhirVersion::R5, "Observation", "subject:text=a", "here"),
        (FhirVersion::R4B, "Binary", "_text=a", "backend"),
        (FhirVersion::R4, "Binary", "_text=a", "undefined"),
        (FhirVersion::R5, "CareTeam", "date=2000", "special"),
        (FhirVersion::R5, "Encounter", "location-period=a$2000", "special"),
        (FhirVersion::R5, "Composition", "section-text=a", "special"),
    ];
    for (version, on, written, expected) in differing {
        assert_eq!(outcome(version, on, written), expected, "{version} {on}?{written}");
    }
}

/// SCOPE-49: what says something about the search and not the resource.
#[test]
fn search_control_constrains_nothing() {
    let table = [
        "_include=Observation:subject",
        "_revinclude=Provenance:target",
        "_count=1",
        "_sort=date",
        "_elements=id",
        "_summary=true",
        "_format=json",
        "_total=none",
        "_type=Patient",
        "_contained=true",
        "_list=42",
        "_filter=a eq b",
        "_query=x",
        "_in=a",
        "_pretty=true",
    ];
    for version in VERSIONS {
        for written in table {
            let outcome = outcome(version, "Observation", written);
            assert!(matches!(outcome, "undefined" | "special"), "{version} {written}: {outcome}");
        }
    }
}

/// Every step of a chain must lead somewhere, or a server may ignore it.
#[test]
fn chains_are_for_the_backend() {
    let long = format!("{}name=a", "part-of.".repeat(9));
    let table = [
        ("Observation", "subject.name=a", "backend"),
        ("Observation", "subject:Patient.name=a", "backend"),
        ("Observation", "subject:Patient.name:exact=a", "backend"),
        ("Observation", "patient.organization.name=a", "backend"),
        ("Observation", "subject:CodeSystem.name=a", "undefined"),
        ("Observation", "subject:Nonsense.name=a", "undefined"),
        ("Observation", "subject:Patient.nonsense=a", "undefined"),
        ("Observation", "subject.nonsense=a", "undefined"),
        ("Observation", "nonsense.name=a", "undefined"),
        ("Observation", "code.name=a", "undefined"),
        ("Observation", "subject:Patient.birthdate=x", "value"),
        ("Observation", "subject:Patient.name:nonsense=a", "modifier"),
        ("Observation", "subject:Patient.identifier:not-in=a", "modifier"),
        ("Observation", "subject.=a", "undefined"),
        ("Patient", "_has:Observation:patient:code=a", "backend"),
        ("Patient", "_has:Observation:subject:code=a", "backend"),
        ("Patient", "_has:Observation:patient:_has:AuditEvent:entity:agent=a", "backend"),
        ("Patient", "_has:Observation:patient:patient.name=a", "backend"),
        ("Observation", "subject:Patient._has:Encounter:patient:status=a", "backend"),
        ("Patient", "_has:Observation:patient:nonsense=a", "undefined"),
        ("Patient", "_has:Observation:nonsense:code=a", "undefined"),
        ("Patient", "_has:Observation:code:code=a", "undefined"),
        ("Patient", "_has:Observation:encounter:code=a", "undefined"),
        ("Patient", "_has:Nonsense:patient:code=a", "undefined"),
        ("Patient", "_has:Observation:patient=a", "undefined"),
        ("Patient", "_has=a", "undefined"),
        ("Organization", "partof.partof.partof.name=a", "backend"),
        ("Encounter", long.as_str(), "special"),
    ];
    for (on, written, expected) in table {
        for version in VERSIONS {
            assert_eq!(outcome(version, on, written), expected, "{version} {on}?{written}");
        }
    }
}

/// The backend's criteria are never decided here, and a criterion of one type never holds for another.
#[test]
fn what_is_asked_of_others() {
    let version = FhirVersion::R4;
    let observation = r#"{"resourceType":"Observation","id":"a","code":{"coding":[{"code":"a"}]}}"#;
    let holds = |on: &str, written: &str| {
        let criterion = criterion(version, on, written).unwrap();
        both(observation, |root| criterion.holds(root, &site(version, None)))
    };
    assert_eq!(holds("Observation", "code:in=http://vs"), Verdict::Unknown);
    assert_eq!(holds("Observation", "subject.name=a"), Verdict::Unknown);
    assert_eq!(holds("Observation", "code=a"), Verdict::Yes);
    assert_eq!(holds("Observation", "code=b"), Verdict::No);
    assert_eq!(holds("Observation", "_id=a"), Verdict::Yes);
    assert_eq!(holds("Condition", "_id=a"), Verdict::No);
    assert_eq!(holds("Condition", "code:not=b"), Verdict::No);
    let criterion = criterion(version, "Observation", "code=a").unwrap();
    assert_eq!(criterion.resource(), ty(version, "Observation"));
    assert_eq!(criterion.parameter(), &Parameter::new("code", "a"));
}

#[test]
fn verdicts_combine() {
    use Verdict::{No, Unknown, Yes};
    for (left, right, both, one) in [
        (No, No, No, No),
        (No, Unknown, No, Unknown),
        (No, Yes, No, Yes),
        (Unknown, Unknown, Unknown, Unknown),
        (Unknown, Yes, Unknown, Yes),
        (Yes, Yes, Yes, Yes),
    ] {
        assert_eq!((left.and(right), right.and(left)), (both, both), "{left:?} {right:?}");
        assert_eq!((left.or(right), right.or(left)), (one, one), "{left:?} {right:?}");
    }
    assert_eq!((Verdict::from(true), Verdict::from(false)), (Yes, No));
}
