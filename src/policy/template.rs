//! Fills `{claim}` templates of a rule's limits with what the token says.
//!
//! A claim's value is data: FHIR's separators in it are escaped, so that it can neither add an alternative nor turn a
//! token into another one. A claim with several values means any of them. A claim that is missing, empty or no text
//! fills nothing: the limit cannot be met.

use serde_json::Value;

use crate::fhir::{Parameter, SearchQuery};
use crate::token::{Grant, UserContext};

/// The search with every template filled; `None` when a claim is missing.
pub(super) fn filled(only: &SearchQuery, grant: &Grant) -> Option<Vec<Parameter>> {
    only.iter().map(|parameter| fill(parameter, grant)).collect()
}

fn fill(parameter: &Parameter, grant: &Grant) -> Option<Parameter> {
    if !parameter.value().contains('{') {
        return Some(parameter.clone());
    }
    let mut filled: Vec<String> = Vec::new();
    for alternative in parameter.alternatives() {
        filled.extend(alternatives(alternative, grant)?);
    }
    Some(Parameter::new(parameter.name(), filled.join(",")))
}

/// One alternative, once for each value of the claims it names.
fn alternatives(written: &str, grant: &Grant) -> Option<Vec<String>> {
    let Some((before, rest)) = written.split_once('{') else { return Some(vec![written.to_owned()]) };
    let (name, after) = rest.split_once('}')?;
    let tails = alternatives(after, grant)?;
    let values = values(name, grant)?;
    let joined =
        |value: &String| tails.iter().map(|tail| format!("{before}{value}{tail}")).collect::<Vec<_>>();
    Some(values.iter().flat_map(joined).collect())
}

fn values(name: &str, grant: &Grant) -> Option<Vec<String>> {
    // The launch context and the user by what they were read as, wherever the token keeps them.
    match name {
        "patient" => return grant.patient().map(|id| vec![id.to_owned()]),
        "encounter" => return grant.encounter().map(|id| vec![id.to_owned()]),
        "fhirUser" => {
            let UserContext::Local(user) = grant.user() else { return None };
            return Some(vec![format!("{}/{}", user.kind().as_str(), user.id())]);
        }
        _ => {}
    }
    let claim = grant.claims().get(name)?;
    let values: Vec<String> = match claim.as_array() {
        Some(items) => items.iter().map(text).collect::<Option<_>>()?,
        None => vec![text(claim)?],
    };
    (!values.is_empty()).then_some(values)
}

fn text(value: &Value) -> Option<String> {
    let plain = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    // A brace would be read as a template no more, but nothing legitimate holds control characters.
    if plain.chars().any(char::is_control) {
        return None;
    }
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        if matches!(c, '\\' | ',' | '|' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::FhirVersion;
    use crate::scope::Reader;
    use crate::token::{ClaimNames, Reading};

    /// Contract §5: claims fill limits, and none of them can say more than one value.
    #[test]
    fn claims_fill_templates_as_data() {
        let claims = serde_json::json!({
            "scope": "user/Patient.rs", "fhirUser": "https://gw.test/fhir/Practitioner/d1", "ward": "w7",
            "wards": ["w7", "w8"], "evil": r"a,b|c$d\", "empty": "", "none": [], "deep": {"a": 1}, "odd": ["a", null],
            "number": 7
        });
        let reading = Reading {
            scopes: Reader { version: FhirVersion::R4, v1: true },
            base: "https://gw.test/fhir".into(),
        };
        let claims = claims.as_object().expect("claims").clone();
        let grant = Grant::from_claims(&claims, &ClaimNames::default(), &reading).expect("a grant");
        let table = [
            ("general-practitioner={fhirUser}", Some("Practitioner/d1")),
            ("location=Location/{ward}", Some("Location/w7")),
            ("location=Location/{wards}", Some("Location/w7,Location/w8")),
            ("location=x,{ward}", Some("x,w7")),
            ("location={ward}-{wards}", Some("w7-w7,w7-w8")),
            ("identifier=urn:x|{evil}", Some(r"urn:x|a\,b\|c\$d\\")),
            ("identifier={number}", Some("7")),
            ("identifier={empty}", None),
            ("identifier={none}", None),
            ("identifier={deep}", None),
            ("identifier={odd}", None),
            ("identifier={missing}", None),
            ("identifier={patient}", None),
            ("_security:not=R", Some("R")),
        ];
        for (written, value) in table {
            let filled = filled(&SearchQuery::parse(written).expect(written), &grant);
            assert_eq!(filled.as_ref().map(|all| all[0].value()), value, "{written}");
        }
    }
}
