//! The expressions of all versions, and what they select.

use super::*;
use crate::fhir::SearchParameterKind;
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
                if !evaluable(version, resource, parameter) && !unknown.contains(&name) {
                    unknown.push(name);
                }
            }
        }
        unknown.sort();
        assert_eq!(unknown, expected, "{version}");
    }
}

/// Whether the parameter and, of a composite, all parts can be evaluated.
fn evaluable(
    version: FhirVersion,
    resource: ResourceType,
    parameter: &'static crate::fhir::SearchParameter,
) -> bool {
    evaluated(resource, parameter).is_some()
        && parameter.components.iter().all(|component| {
            crate::matching::path::expression(component.expression).is_some()
                && version
                    .search_parameter(resource, component.code)
                    .is_some_and(|it| it.kind != SearchParameterKind::Special)
        })
}

const R4_UNKNOWN: &[&str] = &[];
const R4B_UNKNOWN: &[&str] = &[];
const R5_UNKNOWN: &[&str] = &[];
