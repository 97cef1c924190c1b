//! The expressions of all versions, and what they select.

use super::*;
use crate::matching::criterion::evaluated;

/// SCOPE-48: what cannot be evaluated on a resource is known by name, and nothing else is.
#[test]
fn parameters_that_are_not_understood() {
    let expected =
        [(FhirVersion::R4, R4_UNKNOWN), (FhirVersion::R4B, R4B_UNKNOWN), (FhirVersion::R5, R5_UNKNOWN)];
    for (version, expected) in expected {
        let mut unknown = Vec::new();
        for resource in version.resource_types() {
            for parameter in version.search_parameters(resource) {
                let name = match parameter.code.strip_prefix('_') {
                    Some(_) => parameter.code.to_owned(),
                    None => format!("{resource}.{}", parameter.code),
                };
                if evaluated(version, resource, parameter).is_none() && !unknown.contains(&name) {
                    unknown.push(name);
                }
            }
        }
        unknown.sort();
        assert_eq!(unknown, expected, "{version}");
    }
}

/// Components in the wrong order, sounds, places, and what is about the search or its full text.
const R4_UNKNOWN: &[&str] = &[
    "DocumentReference.relationship",
    "InsurancePlan.phonetic",
    "Location.near",
    "Organization.phonetic",
    "Patient.phonetic",
    "Person.phonetic",
    "Practitioner.phonetic",
    "RelatedPerson.phonetic",
    "_content",
    "_query",
    "_text",
];

const R4B_UNKNOWN: &[&str] = &[
    "ClinicalUseDefinition.contraindication-reference",
    "ClinicalUseDefinition.effect-reference",
    "ClinicalUseDefinition.indication-reference",
    "DocumentReference.relationship",
    "Ingredient.manufacturer",
    "InsurancePlan.phonetic",
    "Location.near",
    "Organization.phonetic",
    "Patient.phonetic",
    "Person.phonetic",
    "Practitioner.phonetic",
    "RelatedPerson.phonetic",
    "_content",
    "_filter",
    "_has",
    "_list",
    "_query",
    "_text",
    "_type",
];

/// R5 also has parameters without an expression, and composites of parameters that it does not define.
const R5_UNKNOWN: &[&str] = &[
    "CareTeam.date",
    "Composition.section-code-text",
    "Composition.section-text",
    "Device.code-value-concept",
    "DeviceDefinition.specification-version",
    "DocumentReference.relationship",
    "Encounter.location-period",
    "EvidenceVariable.topic",
    "ImagingStudy.reason",
    "Ingredient.strength-concentration-ratio",
    "Ingredient.strength-presentation-ratio",
    "InsurancePlan.phonetic",
    "Location.contains",
    "Location.near",
    "Medication.form",
    "MedicationKnowledge.packaging-cost",
    "MedicationKnowledge.packaging-cost-concept",
    "Observation.code-value-string",
    "Organization.phonetic",
    "Patient.phonetic",
    "Person.phonetic",
    "Practitioner.phonetic",
    "RelatedPerson.phonetic",
    "ResearchStudy.progress-status-state-actual",
    "ResearchStudy.progress-status-state-period",
    "ResearchStudy.progress-status-state-period-actual",
    "TestScript.scope-artifact-conformance",
    "TestScript.scope-artifact-phase",
    "_content",
    "_filter",
    "_has",
    "_in",
    "_list",
    "_query",
    "_text",
    "_type",
];

/// FHIRPath N1, "Types": `as` and `ofType` take a type and what specialises it.
#[test]
fn choice_elements_by_type() {
    let map =
        |element: &str| format!(r#"{{"resourceType":"ConceptMap","{element}":"http://a.test/ValueSet/1"}}"#);
    let table = [("sourceUri", true), ("sourceCanonical", true), ("source", false), ("sourceString", false)];
    for (element, expected) in table {
        check(FhirVersion::R4, &map(element), &[("source-uri=http://a.test/ValueSet/1", expected)]);
    }
    let goal = |element: &str| format!(r#"{{"resourceType":"Goal","{element}":"2020-01-01"}}"#);
    for (element, expected) in [("startDate", true), ("startDateTime", false), ("start", false)] {
        check(FhirVersion::R4, &goal(element), &[("start-date=2020", expected)]);
    }
}
