//! Strings and URIs, composites and extensions.

use super::*;

const R4: FhirVersion = FhirVersion::R4;
const R5: FhirVersion = FhirVersion::R5;

/// FHIR R4 §3.1.1, "string".
#[test]
fn strings() {
    let json = r#"{"resourceType":"Patient",
        "name":[{"family":"Müller-Lüdenscheidt","given":["Éva","Zoë Marie"],"use":"official"},{"text":"Evita, Queen"}],
        "address":[{"line":["Hauptstraße 1"],"city":"KÖLN","postalCode":"50667","country":"DE","use":"home"}]}"#;
    let table = [
        ("name=eva", true),
        ("name=EV", true),
        ("name=éva", true),
        ("name=e\u{301}va", true),
        ("name=va", false),
        ("name=marie", false),
        ("name=zoe m", true),
        ("name=mull", true),
        ("name=Mueller", false),
        ("name=official", false),
        ("name=x,evita", true),
        (r"name=Evita\, Q", true),
        (r"name=Evita\, K", false),
        ("family=muller-ludenscheidt", true),
        ("family=eva", false),
        ("given=eva", true),
        ("name:contains=marie", true),
        ("name:contains=dens", true),
        ("name:contains=xyz", false),
        ("name:exact=Éva", true),
        ("name:exact=Eva", false),
        ("name:exact=éva", false),
        ("name:exact=Év", false),
        ("family:exact=Müller-Lüdenscheidt", true),
        ("address=koln", true),
        ("address=hauptstraße", true),
        ("address=506", true),
        ("address=home", false),
        ("address-city=Koln", true),
        ("address-city=50667", false),
        ("name:missing=false", true),
        ("name:missing=true", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
}

/// FHIR R4 §3.1.1, "uri".
#[test]
fn uris() {
    let json = r#"{"resourceType":"ValueSet","url":"http://acme.org/fhir/ValueSet/123","version":"1"}"#;
    let table = [
        ("url=http://acme.org/fhir/ValueSet/123", true),
        ("url=http://acme.org/fhir/ValueSet/12", false),
        ("url=http://acme.org/fhir/valueset/123", false),
        ("url=https://acme.org/fhir/ValueSet/123", false),
        ("url=a,http://acme.org/fhir/ValueSet/123", true),
        ("url:below=http://acme.org/fhir/", true),
        ("url:below=http://acme.org/fhir", true),
        ("url:below=http://acme.org/fh", false),
        ("url:below=http://acme.org/fhir/ValueSet/123", true),
        ("url:below=http://acme.org/fhir/ValueSet/123/4", false),
        ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", true),
        ("url:above=http://acme.org/fhir/ValueSet/1234", false),
        ("url:above=http://acme.org/fhir/ValueSet/123", true),
        ("url:above=http://acme.org/fhir", false),
        ("url:missing=false", true),
        ("url:missing=true", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
    check(
        R4,
        r#"{"resourceType":"ValueSet","url":"urn:oid:1.2.3"}"#,
        &[("url=urn:oid:1.2.3", true), ("url:below=urn:oid:1.2", false), ("url:below=urn:oid:1.2.3", true)],
    );
}

/// FHIR R4 §3.1.1, "composite": all parts on one element.
#[test]
fn composites() {
    let json = r#"{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
        "component":[
            {"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg"}},
            {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"unit":"mmHg"}},
            {"code":{"coding":[{"code":"a$b"}]},"valueCodeableConcept":{"coding":[{"code":"yes"}]}}]}"#;
    let table = [
        ("component-code-value-quantity=8480-6$120", true),
        ("component-code-value-quantity=http://loinc.org|8480-6$gt100||mmHg", true),
        ("component-code-value-quantity=8480-6$80", false),
        ("component-code-value-quantity=8462-4$gt100", false),
        ("component-code-value-quantity=8462-4$gt100,8462-4$lt100", true),
        ("component-code-value-concept=8480-6$yes", false),
        (r"component-code-value-concept=a\$b$yes", true),
        ("combo-code-value-quantity=8480-6$120", true),
        ("combo-code-value-quantity=85354-9$120", false),
        ("code-value-quantity=8480-6$120", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
    let sequence = r#"{"resourceType":"MolecularSequence","referenceSeq":{"chromosome":{"coding":[{"code":"1"}]}},
        "variant":[{"start":5,"end":9}]}"#;
    check(
        R4,
        sequence,
        &[
            ("chromosome-variant-coordinate=1$lt6$gt8", true),
            ("chromosome-variant-coordinate=2$lt6$gt8", false),
        ],
    );
    let group = r#"{"resourceType":"Group","characteristic":[{"code":{"coding":[{"code":"g"}]},"valueBoolean":true}]}"#;
    for version in VERSIONS {
        check(
            version,
            group,
            &[("characteristic-value=g$true", true), ("characteristic-value=g$false", false)],
        );
    }
}

/// Extensions are selected by their URL, and never stand in for what they extend.
#[test]
fn extensions() {
    let alias = "http://hl7.org/fhir/StructureDefinition/careteam-alias";
    let json = format!(
        r#"{{"resourceType":"CareTeam","name":"One","extension":[{{"url":"{alias}","valueString":"Two"}},
            {{"url":"http://other","valueString":"Three"}}]}}"#
    );
    check(R5, &json, &[("name=one", true), ("name=two", true), ("name=three", false)]);
    let subject = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject";
    let answer = |url: &str| {
        format!(
            r#"{{"resourceType":"QuestionnaireResponse","item":[{{"linkId":"1","extension":[{{"url":"{url}","valueBoolean":true}}],
                "answer":[{{"valueReference":{{"reference":"Patient/a"}}}}]}}]}}"#
        )
    };
    check(R5, &answer(subject), &[("item-subject=Patient/a", true)]);
    check(R5, &answer("http://other"), &[("item-subject=Patient/a", false)]);
    let birth = r#"{"resourceType":"Patient","birthDate":"2000-01-01","_birthDate":{"extension":[{"url":"u","valueDateTime":"2001-01-01"}]}}"#;
    check(R4, birth, &[("birthdate=2000", true), ("birthdate=2001", false)]);
}
