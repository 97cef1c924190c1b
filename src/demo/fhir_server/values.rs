//! Finds the values of a search parameter in a resource and compares them with what was asked
//! (FHIR R4 §3.1.1.4: token, string, date, reference, quantity, number, uri).

use serde_json::Value;

use super::moment::{Moment, prefix};
use super::parameters::{Kind, Parameter};

/// All values at a dotted path; lists are walked through.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for name in path.split('.') {
        found = found.into_iter().flat_map(flatten).filter_map(|value| value.get(name)).collect();
    }
    found.into_iter().flat_map(flatten).collect()
}

fn flatten(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![value],
    }
}

/// All values of a parameter in a resource.
pub(super) fn of<'a>(resource: &'a Value, parameter: &Parameter) -> Vec<&'a Value> {
    let found = parameter.paths.iter().flat_map(|path| at(resource, path));
    match parameter.target {
        None => found.collect(),
        Some(target) => {
            found.filter(|value| reference(value).is_some_and(|text| points_to(text, target))).collect()
        }
    }
}

fn points_to(reference: &str, target: &str) -> bool {
    reference.rsplit('/').nth(1) == Some(target)
}

/// The reference in a Reference, or a canonical or uri as it stands.
pub(super) fn reference(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("reference")?.as_str())
}

/// Splits at commas that are not escaped (FHIR R4 §3.1.1.4.7: `\,`).
pub(super) fn alternatives(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == ',' && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
        escaped = letter == '\\' && !escaped;
    }
    parts
}

fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' { out.extend(letters.next()) } else { out.push(letter) }
    }
    out
}

/// Whether one value meets one alternative.
pub(super) fn meets(kind: Kind, modifier: &str, value: &Value, asked: &str, base: &str) -> bool {
    match kind {
        Kind::Token => token(modifier, value, asked),
        Kind::String => string(modifier, value, asked),
        Kind::Reference => refers(modifier, value, asked, base),
        Kind::Uri => uri(modifier, value, &plain(asked)),
        Kind::Date => {
            let (prefix, rest) = prefix(asked);
            Moment::of(value)
                .zip(Moment::parse(rest))
                .is_some_and(|(found, asked)| found.meets(prefix, asked))
        }
        Kind::Number => value.as_f64().is_some_and(|found| number(found, asked)),
        Kind::Quantity => quantity(value, asked),
    }
}

/// System and code of a value: Coding, CodeableConcept, Identifier, ContactPoint, code, boolean.
fn codes(value: &Value) -> Vec<(Option<&str>, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match value {
        Value::String(code) => vec![(None, code.clone())],
        Value::Bool(code) => vec![(None, code.to_string())],
        Value::Object(map) if map.contains_key("coding") => {
            value.get("coding").into_iter().flat_map(flatten).flat_map(codes).collect()
        }
        Value::Object(_) => {
            let code = text("code").or_else(|| text("value"));
            code.map(|code| (text("system"), code.to_owned())).into_iter().collect()
        }
        Value::Null | Value::Number(_) | Value::Array(_) => Vec::new(),
    }
}

fn token(modifier: &str, value: &Value, asked: &str) -> bool {
    if modifier == "text" {
        let texts =
            at(value, "coding.display").into_iter().chain(at(value, "text")).chain(at(value, "display"));
        return texts.filter_map(Value::as_str).any(|text| folded(text).starts_with(&folded(&plain(asked))));
    }
    if modifier == "of-type" {
        let parts: Vec<_> = asked.splitn(3, '|').collect();
        let [system, code, number] = parts.as_slice() else { return false };
        let typed = at(value, "type").into_iter().flat_map(codes);
        return value.get("value").and_then(Value::as_str) == Some(number)
            && typed.into_iter().any(|(found, name)| found == Some(system) && name == *code);
    }
    let (system, code) = match asked.split_once('|') {
        Some((system, code)) => (Some(plain(system)), plain(code)),
        None => (None, plain(asked)),
    };
    codes(value).into_iter().any(|(found, name)| {
        let same_code = code.is_empty() || name == code;
        match (&system, found) {
            (None, _) => name == code,
            // A bare `code` has its system by the definition of the element, which is not looked up here.
            (Some(_), None) if value.is_string() => same_code,
            (Some(system), found) => found.unwrap_or_default() == system && same_code,
        }
    })
}

fn folded(text: &str) -> String {
    text.to_lowercase().replace('ä', "a").replace('ö', "o").replace('ü', "u").replace(['é', 'è'], "e")
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => {
            let parts = map
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "use" | "period" | "type" | "extension"));
            parts.flat_map(|(_, part)| texts(part)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn string(modifier: &str, value: &Value, asked: &str) -> bool {
    let asked = plain(asked);
    texts(value).into_iter().any(|text| match modifier {
        "exact" => text == asked,
        "contains" => folded(text).contains(&folded(&asked)),
        _ => folded(text).starts_with(&folded(&asked)),
    })
}

fn refers(modifier: &str, value: &Value, asked: &str, base: &str) -> bool {
    if modifier == "identifier" {
        return value.get("identifier").is_some_and(|identifier| token("", identifier, asked));
    }
    let Some(found) = reference(value) else { return false };
    let relative =
        |text: &str| text.strip_prefix(base).map_or(text, |rest| rest.trim_start_matches('/')).to_owned();
    let found = relative(found);
    let asked = relative(&plain(asked));
    let wanted =
        if modifier.is_empty() || asked.contains('/') { asked } else { format!("{modifier}/{asked}") };
    let unversioned = found.split("/_history/").next().unwrap_or_default();
    if wanted.contains('/') {
        unversioned == wanted
    } else {
        unversioned.rsplit('/').next() == Some(wanted.as_str())
    }
}

fn uri(modifier: &str, value: &Value, asked: &str) -> bool {
    value.as_str().is_some_and(|found| match modifier {
        "below" => found.starts_with(asked),
        "above" => asked.starts_with(found),
        _ => found == asked,
    })
}

fn number(found: f64, asked: &str) -> bool {
    let (prefix, rest) = prefix(asked);
    let Ok(wanted) = rest.parse::<f64>() else { return false };
    // The precision that was written is the precision that is meant: 5.4 is 5.35 … 5.45.
    let places = rest.split_once('.').map_or(0, |(_, places)| places.len());
    let slack = 0.5 * 10f64.powi(-i32::try_from(places).unwrap_or(0));
    let near = (found - wanted).abs() < slack;
    match prefix {
        "ne" => !near,
        "gt" | "sa" => found > wanted,
        "ge" => found >= wanted,
        "lt" | "eb" => found < wanted,
        "le" => found <= wanted,
        "ap" => (found - wanted).abs() <= wanted.abs() / 10.0,
        _ => near,
    }
}

fn quantity(value: &Value, asked: &str) -> bool {
    let mut parts = asked.split('|');
    let amount = parts.next().unwrap_or_default();
    let (system, code) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    value.get("value").and_then(Value::as_f64).is_some_and(|found| number(found, amount))
        && (system.is_empty() || text("system") == system)
        && (code.is_empty() || text("code") == code || text("unit") == code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_meet_what_is_asked() {
        let concept = json!({"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}], "text": "Pulse"});
        let name = json!({"family": "Müller", "given": ["Änne", "Marie"], "use": "official"});
        let subject = json!({"reference": "Patient/amy", "identifier": {"system": "urn:x", "value": "7"}});
        let weight =
            json!({"value": 71.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
        let table = [
            (Kind::Token, "", &concept, "8867-4", true),
            (Kind::Token, "", &concept, "8867", false),
            (Kind::Token, "", &concept, "http://loinc.org|8867-4", true),
            (Kind::Token, "", &concept, "http://loinc.org|", true),
            (Kind::Token, "", &concept, "|8867-4", false),
            (Kind::Token, "", &concept, "http://snomed.info/sct|8867-4", false),
            (Kind::Token, "text", &concept, "heart", true),
            (Kind::Token, "text", &concept, "rate", false),
            (Kind::Token, "", &json!(true), "true", true),
            (Kind::Token, "", &json!("final"), "final", true),
            (Kind::Token, "", &json!("final"), "fin", false),
            (Kind::String, "", &name, "mul", true),
            (Kind::String, "", &name, "ler", false),
            (Kind::String, "contains", &name, "LLER", true),
            (Kind::String, "exact", &name, "Müller", true),
            (Kind::String, "exact", &name, "müller", false),
            (Kind::String, "", &name, "official", false),
            (Kind::Reference, "", &subject, "amy", true),
            (Kind::Reference, "", &subject, "Patient/amy", true),
            (Kind::Reference, "", &subject, "http://b/fhir/Patient/amy", true),
            (Kind::Reference, "", &subject, "http://c/fhir/Patient/amy", false),
            (Kind::Reference, "Patient", &subject, "amy", true),
            (Kind::Reference, "Group", &subject, "amy", false),
            (Kind::Reference, "identifier", &subject, "urn:x|7", true),
            (Kind::Reference, "identifier", &subject, "urn:x|8", false),
            (Kind::Quantity, "", &weight, "71.5|http://unitsofmeasure.org|kg", true),
            (Kind::Quantity, "", &weight, "gt70", true),
            (Kind::Quantity, "", &weight, "lt70||kg", false),
            (Kind::Uri, "below", &json!("http://a/b/c"), "http://a/b", true),
            (Kind::Uri, "", &json!("http://a/b/c"), "http://a/b", false),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .filter(|(kind, modifier, value, asked, holds)| {
                meets(*kind, modifier, value, asked, "http://b/fhir") != *holds
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn an_escaped_comma_is_no_or() {
        assert_eq!(alternatives(r"a,b\,c,d\\,e"), ["a", r"b\,c", r"d\\", "e"]);
    }
}
