//! The search parameters that limit grants, as far as the file knows them: those of `[[rule]]`s, and those of the scopes
//! that the discovery document names. Says who can tell whether a resource matches (SCOPE-46 … SCOPE-50).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::Value;

use crate::config::Settings;
use crate::fhir::{FhirVersion, Parameter, ResourceType, SearchParameterKind, SearchQuery};
use crate::matching::{Criterion, Means, Unusable};
use crate::scope::Scope;

/// One parameter that limits a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constraint {
    /// The type it limits; absent for `*`.
    pub(super) resource: Option<ResourceType>,
    /// As written, `{claim}` templates included.
    pub(super) parameter: Parameter,
}

/// Every constraint of the file once, in its order.
pub(super) fn constraints(settings: &Settings) -> Vec<Constraint> {
    let rules = settings.rules.limits.iter().flat_map(|rule| &rule.limit);
    let rules = rules.map(|limit| (limit.resource, limit.only.clone()));
    let published = settings.discovery.get("scopes_supported").and_then(Value::as_array);
    let published = published.into_iter().flatten().filter_map(Value::as_str);
    let scopes = published.filter_map(|text| Scope::parse(text, settings.rules.scopes)?.ok());
    let scopes = scopes.map(|scope| (scope.resource(), scope.only().clone()));
    let mut all: Vec<Constraint> = Vec::new();
    for (resource, only) in rules.chain(scopes) {
        for parameter in only.iter() {
            let constraint = Constraint { resource, parameter: parameter.clone() };
            if !all.contains(&constraint) {
                all.push(constraint);
            }
        }
    }
    all
}

impl Constraint {
    /// The types it limits that know the parameter; all that it may be meant for when it names no single type.
    pub(super) fn types(&self, version: FhirVersion) -> Vec<ResourceType> {
        match self.resource {
            Some(resource) => vec![resource],
            None => version.resource_types().filter(|ty| self.known(version, *ty)).collect(),
        }
    }

    fn known(&self, version: FhirVersion, resource: ResourceType) -> bool {
        self.parameter.code() == "_has" || version.search_parameter(resource, self.parameter.code()).is_some()
    }

    /// Who can tell for one type.
    fn means(&self, version: FhirVersion, resource: ResourceType) -> Result<Means, Unusable> {
        let kind = version.search_parameter(resource, self.parameter.code()).map(|found| found.kind);
        let value = filled(self.parameter.value(), stand_in(kind));
        let templated = value != self.parameter.value();
        let parameter = Parameter::new(self.parameter.name(), value);
        match Criterion::new(version, resource, &parameter).map(|criterion| criterion.means()) {
            // What the claim will be is not known here; the parameter itself can be evaluated.
            Err(Unusable::Value(_)) if templated => Ok(Means::Here),
            told => told,
        }
    }

    fn written(&self) -> String {
        let mut query = SearchQuery::default();
        query.push(self.parameter.clone());
        let query = query.to_string().replace("%7B", "{").replace("%7D", "}").replace("%7C", "|");
        format!("{}?{query}", self.resource.map_or("*", ResourceType::as_str))
    }
}

/// A value with `stand_in` in the place of each `{claim}`.
pub(super) fn filled(template: &str, stand_in: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(stand_in);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Something of the form that values of this kind have.
fn stand_in(kind: Option<SearchParameterKind>) -> &'static str {
    match kind {
        Some(SearchParameterKind::Date) => "2000-01-01",
        Some(SearchParameterKind::Number | SearchParameterKind::Quantity) => "1",
        Some(SearchParameterKind::Reference) => "Patient/x",
        Some(SearchParameterKind::Uri) => "urn:x",
        Some(
            SearchParameterKind::Composite
            | SearchParameterKind::Special
            | SearchParameterKind::String
            | SearchParameterKind::Token,
        )
        | None => "x",
    }
}

/// What becomes of one constraint, by type.
#[derive(Default)]
struct Told {
    here: BTreeSet<ResourceType>,
    backend: BTreeSet<ResourceType>,
    unusable: BTreeMap<String, BTreeSet<ResourceType>>,
}

/// One line or more for each constraint.
pub(super) fn print(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    let version = settings.rules.version();
    for constraint in constraints(settings) {
        let mut told = Told::default();
        let types = constraint.types(version);
        let strangers = version.resource_types().count().saturating_sub(types.len());
        for resource in types {
            let types = match constraint.means(version, resource) {
                Ok(Means::Here) => &mut told.here,
                Ok(Means::Backend) => &mut told.backend,
                Err(unusable) => told.unusable.entry(unusable.to_string()).or_default(),
            };
            types.insert(resource);
        }
        let written = constraint.written();
        for line in lines(&constraint, told, strangers) {
            writeln!(out, "  criterion    {written} {line}")?;
        }
    }
    Ok(())
}

/// `strangers` is how many types do not have the parameter.
fn lines(constraint: &Constraint, told: Told, strangers: usize) -> Vec<String> {
    let of = |types: &BTreeSet<ResourceType>| match constraint.resource {
        Some(_) => String::new(),
        None => format!(" for {}", some(types)),
    };
    let mut lines = Vec::new();
    if !told.here.is_empty() {
        lines.push(format!("is evaluated here{}", of(&told.here)));
    }
    if !told.backend.is_empty() {
        let of = of(&told.backend);
        lines.push(format!("is asked of the backend{of}; nothing can be written under it"));
    }
    for (why, types) in told.unusable {
        lines.push(format!("is NOT USABLE{}, so that nothing is reached: {why}", of(&types)));
    }
    if lines.is_empty() {
        lines.push("is NOT USABLE: no type has the parameter".to_owned());
    } else if constraint.resource.is_none() && strangers > 0 {
        lines.push(format!("reaches nothing of {strangers} types without that parameter"));
    }
    lines
}

/// The first few names, and how many more there are.
pub(super) fn some(types: &BTreeSet<ResourceType>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = types.iter().take(SHOWN).map(|resource| resource.as_str()).collect();
    let names = names.join(", ");
    match types.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{names} and {more} more types"),
        Some(_) | None => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    fn said(more: &str) -> String {
        let mut out = Vec::new();
        print(&settings(more), &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    /// Each constraint of the file is named once, with who evaluates it.
    #[test]
    fn constraints_say_who_evaluates_them() {
        let rules = "[[rule]]\nlimit = [\"Patient?general-practitioner={fhirUser}\", \"*?_security:not=R\"]\n\
                     [[rule]]\nlimit = [\"Patient?general-practitioner={fhirUser}&active=true\"]\n";
        let text = said(rules);
        let table = [
            ("Patient?general-practitioner={fhirUser} is evaluated here\n", 1),
            ("Patient?active=true is evaluated here\n", 1),
            ("*?_security:not=R is evaluated here for Account, ", 1),
            ("NOT USABLE", 0),
            ("asked of the backend", 0),
        ];
        for (line, times) in table {
            assert_eq!(text.matches(line).count(), times, "{line} in\n{text}");
        }
        let scopes = "[discovery]\nscopes_supported = [\"openid\", \"patient/Observation.rs\", \
                      \"patient/Observation.rs?category=laboratory\", \"user/*.rs?category=laboratory\"]\n";
        let text = said(scopes);
        assert!(text.contains("Observation?category=laboratory is evaluated here\n"), "{text}");
        assert!(text.contains("*?category=laboratory is evaluated here for "), "{text}");
        assert!(text.contains("*?category=laboratory reaches nothing of 1"), "{text}");
        let others = "[[rule]]\nlimit = [\"Observation?code:in=http://vs\", \"Location?near=1|2\", \
                      \"Observation?code:not-in=http://vs\", \"Observation?date=ge{since}\", \
                      \"Observation?patient.general-practitioner={fhirUser}\"]\n";
        let text = said(others);
        let table = [
            "Observation?code:in=http://vs is asked of the backend; nothing can be written under it\n",
            "Location?near=1|2 is NOT USABLE, so that nothing is reached: ",
            "Observation?code:not-in=http://vs is NOT USABLE, so that nothing is reached: ",
            "Observation?date=ge{since} is evaluated here\n",
            "Observation?patient.general-practitioner={fhirUser} is asked of the backend; ",
        ];
        for line in table {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(said(""), "");
    }

    #[test]
    fn templates_are_filled() {
        let table = [
            ("{a}", "x"),
            ("Practitioner/{a}", "Practitioner/x"),
            ("{a}|{b}", "x|x"),
            ("a", "a"),
            ("{a", "{a"),
        ];
        for (template, expected) in table {
            assert_eq!(filled(template, "x"), expected, "{template}");
        }
    }
}
