//! Searches that can find nothing where their parameter is honoured: one for each parameter that narrowing will use.

use std::collections::BTreeSet;

use serde_json::Value;

use super::backend::rows;
use super::constraints::{constraints, filled};
use crate::config::Settings;
use crate::fhir::{
    CompartmentKind, FhirVersion, Parameter, ResourceType, SearchParameter, SearchParameterKind, SearchQuery,
};
use crate::policy::EncounterContext;

/// An id that nobody has issued, and things that have no place in any record.
pub(super) const UNKNOWN_ID: &str = "pforte-check-6f1c0c3e9a7d4b52";
const UNKNOWN_URI: &str = "urn:uuid:6f1c0c3e-9a7d-4b52-8a51-2f7b1c9e0d34";
const UNKNOWN_NUMBER: &str = "-98765432.125";
const UNKNOWN_DATE: &str = "1000-01-01";

/// A search that can find nothing where its parameter is honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) resource: ResourceType,
    /// What is tried, in the words of a report: `patient`, `category:not`.
    pub(super) name: String,
    pub(super) query: SearchQuery,
    pub(super) proves: Proves,
}

/// What an empty answer proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proves {
    /// The parameter is taken; the search was empty anyway.
    Accepted,
    /// The parameter is honoured.
    Honoured,
}

/// What the gateway will ask for when it narrows: membership in the compartments, and what the file limits grants by.
pub(super) fn questions(settings: &Settings, statement: &Value) -> Vec<Question> {
    let version = settings.rules.version();
    let served = served(version, statement);
    let mut all = vec![asking(ResourceType::PATIENT, Parameter::new("_id", UNKNOWN_ID))];
    let mut kinds = vec![CompartmentKind::Patient];
    if settings.rules.patient.encounter == EncounterContext::Restrict {
        kinds.push(CompartmentKind::Encounter);
    }
    for kind in kinds {
        let focus = format!("{}/{UNKNOWN_ID}", kind.resource_type());
        for (resource, by) in version.compartment(kind).members() {
            if served.contains(&resource) {
                all.extend(by.iter().map(|name| asking(resource, Parameter::new(*name, focus.as_str()))));
            }
        }
    }
    // How a Binary without a securityContext is found to belong to somebody.
    if let Some(document) = version.resource_type("DocumentReference").filter(|ty| served.contains(ty)) {
        let parameter = Parameter::new("location", format!("Binary/{UNKNOWN_ID}"));
        all.push(asking(document, parameter));
    }
    for constraint in constraints(settings) {
        let types = constraint.types(version).into_iter().filter(|resource| served.contains(resource));
        all.extend(types.map(|resource| question(version, resource, &constraint.parameter)));
    }
    let mut asked: Vec<Question> = Vec::new();
    for question in all {
        if !asked.contains(&question) {
            asked.push(question);
        }
    }
    asked
}

/// The types that can be searched; those every record has when the CapabilityStatement lists none.
fn served(version: FhirVersion, statement: &Value) -> BTreeSet<ResourceType> {
    let searched = |row: &&Value| {
        row.get("interaction").and_then(Value::as_array).is_none_or(|interactions| {
            interactions.iter().any(|it| it.get("code").and_then(Value::as_str) == Some("search-type"))
        })
    };
    let named: BTreeSet<ResourceType> = rows(statement)
        .filter(searched)
        .filter_map(|row| version.resource_type(row.get("type")?.as_str()?))
        .collect();
    if !named.is_empty() {
        return named;
    }
    let usual = ["Patient", "Observation", "Condition", "Encounter"];
    usual.into_iter().filter_map(|name| version.resource_type(name)).collect()
}

fn asking(resource: ResourceType, parameter: Parameter) -> Question {
    let name = parameter.name().to_owned();
    let mut query = SearchQuery::default();
    query.push(parameter);
    Question { resource, name, query, proves: Proves::Honoured }
}

/// The search that tries one parameter of the file.
fn question(version: FhirVersion, resource: ResourceType, parameter: &Parameter) -> Question {
    let (name, code) = (parameter.name(), parameter.code());
    let written = filled(parameter.value(), UNKNOWN_ID);
    let two = |second: Parameter, proves| {
        let mut question = asking(resource, Parameter::new(name, written.as_str()));
        question.query.push(second);
        Question { proves, ..question }
    };
    let accepted = || two(Parameter::new("_id", UNKNOWN_ID), Proves::Accepted);
    let definition = version.search_parameter(resource, code);
    let Some(definition) = definition.filter(|_| parameter.chain().is_none()) else { return accepted() };
    match parameter.modifier() {
        // What is not so and is so. A server that ignores the modifier is seen only where something is so.
        Some("not") => two(Parameter::new(code, written.as_str()), Proves::Accepted),
        Some("missing") => {
            let other = if written == "true" { "false" } else { "true" };
            two(Parameter::new(name, other), Proves::Honoured)
        }
        modifier => match impossible(definition, modifier) {
            Some(value) => asking(resource, Parameter::new(name, value)),
            None => accepted(),
        },
    }
}

/// A value that nothing has; none where no such value can be told from one that is refused for its own sake.
fn impossible(definition: &SearchParameter, modifier: Option<&str>) -> Option<String> {
    use SearchParameterKind as Kind;
    let value = match (definition.kind, modifier) {
        (Kind::Token, Some("of-type")) => format!("urn:pforte:check|check|{UNKNOWN_ID}"),
        (Kind::Reference, Some("identifier")) => format!("urn:pforte:check|{UNKNOWN_ID}"),
        (Kind::Token, None | Some("text"))
        | (Kind::String, None | Some("exact" | "contains"))
        | (Kind::Reference, Some(_)) => UNKNOWN_ID.to_owned(),
        (Kind::Reference, None) => {
            let patient = definition.targets.iter().find(|target| **target == ResourceType::PATIENT);
            match patient.or(definition.targets.first()) {
                Some(target) => format!("{target}/{UNKNOWN_ID}"),
                None => UNKNOWN_URI.to_owned(),
            }
        }
        (Kind::Uri, None | Some("above" | "below")) => UNKNOWN_URI.to_owned(),
        (Kind::Date, None) => UNKNOWN_DATE.to_owned(),
        (Kind::Number | Kind::Quantity, None) => UNKNOWN_NUMBER.to_owned(),
        (
            Kind::Composite
            | Kind::Date
            | Kind::Number
            | Kind::Quantity
            | Kind::Special
            | Kind::String
            | Kind::Token
            | Kind::Uri,
            _,
        ) => return None,
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is searched for is not there, whatever the kind of the parameter.
    #[test]
    fn impossible_searches() {
        let table = [
            ("Patient", "gender", "male", "gender=pforte-check-6f1c0c3e9a7d4b52"),
            ("Patient", "birthdate", "ge2000", "birthdate=1000-01-01"),
            ("Patient", "family:exact", "Fuchs", "family:exact=pforte-check-6f1c0c3e9a7d4b52"),
            ("Patient", "gender:not", "male", "gender:not=male&gender=male"),
            (
                "Patient",
                "gender:not",
                "{g}",
                "gender:not=pforte-check-6f1c0c3e9a7d4b52&gender=pforte-check-6f1c0c3e9a7d4b52",
            ),
            ("Patient", "gender:missing", "true", "gender:missing=true&gender:missing=false"),
            ("Observation", "subject", "{p}", "subject=Patient/pforte-check-6f1c0c3e9a7d4b52"),
            ("Observation", "subject:Patient", "x", "subject:Patient=pforte-check-6f1c0c3e9a7d4b52"),
            ("Observation", "code:in", "http://vs", "code:in=http://vs&_id=pforte-check-6f1c0c3e9a7d4b52"),
            ("Observation", "subject.name", "x", "subject.name=x&_id=pforte-check-6f1c0c3e9a7d4b52"),
            ("Observation", "value-quantity", "gt5", "value-quantity=-98765432.125"),
            (
                "Patient",
                "_has:Observation:patient:code",
                "x",
                "_has:Observation:patient:code=x&_id=pforte-check-6f1c0c3e9a7d4b52",
            ),
        ];
        for (resource, name, value, expected) in table {
            let resource = FhirVersion::R4.resource_type(resource).expect("a type");
            let question = question(FhirVersion::R4, resource, &Parameter::new(name, value));
            assert_eq!(question.query.to_string(), expected, "{name}");
        }
    }
}
