//! Whether a resource matches one search parameter: FHIR R4 §3.1.1, in the most obvious way, for a small vocabulary.

use serde_json::Value;

use crate::compartment::denotes;
use crate::naive::Truth;
use crate::time::Span;
use crate::world::{at, text, type_of};

/// How a parameter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Date,
    Id,
    Quantity,
    /// To these types only, when there are any.
    Reference(&'static [&'static str]),
    String,
    Token,
    Uri,
}

const ANY: Kind = Kind::Reference(&[]);
const PATIENT: Kind = Kind::Reference(&["Patient"]);

type Definition = (&'static str, Kind, &'static [&'static str]);

/// Parameters of every resource.
const COMMON: [Definition; 5] = [
    ("_id", Kind::Id, &["id"]),
    ("_lastUpdated", Kind::Date, &["meta.lastUpdated"]),
    ("_profile", Kind::Uri, &["meta.profile"]),
    ("_security", Kind::Token, &["meta.security"]),
    ("_tag", Kind::Token, &["meta.tag"]),
];

const IDENTIFIER: Definition = ("identifier", Kind::Token, &["identifier"]);
const SUBJECT: Definition = ("subject", ANY, &["subject"]);
const SUBJECT_PATIENT: Definition = ("patient", PATIENT, &["subject"]);
const ENCOUNTER: Definition = ("encounter", Kind::Reference(&["Encounter"]), &["encounter"]);
const STATUS: Definition = ("status", Kind::Token, &["status"]);
const CATEGORY: Definition = ("category", Kind::Token, &["category"]);
const CODE: Definition = ("code", Kind::Token, &["code"]);
const CLINICAL: Definition = ("clinical-status", Kind::Token, &["clinicalStatus"]);
const TYPE: Definition = ("type", Kind::Token, &["type"]);
const DATE: Definition = ("date", Kind::Date, &["date"]);

const OF_ALLERGY_INTOLERANCE: &[Definition] = &[
    IDENTIFIER,
    CODE,
    CATEGORY,
    CLINICAL,
    ("patient", ANY, &["patient"]),
    ("date", Kind::Date, &["recordedDate"]),
];
const OF_COMPOSITION: &[Definition] = &[SUBJECT, SUBJECT_PATIENT, ENCOUNTER, STATUS, CATEGORY, TYPE, DATE];
const OF_CONDITION: &[Definition] = &[
    IDENTIFIER,
    SUBJECT,
    SUBJECT_PATIENT,
    ENCOUNTER,
    CATEGORY,
    CODE,
    CLINICAL,
    ("recorded-date", Kind::Date, &["recordedDate"]),
    ("onset-date", Kind::Date, &["onsetDateTime", "onsetPeriod"]),
];
const OF_DEVICE: &[Definition] = &[IDENTIFIER, STATUS, ("patient", ANY, &["patient"])];
const OF_DOCUMENT_REFERENCE: &[Definition] = &[
    IDENTIFIER,
    SUBJECT,
    SUBJECT_PATIENT,
    STATUS,
    CATEGORY,
    TYPE,
    DATE,
    ("encounter", Kind::Reference(&["Encounter"]), &["context.encounter"]),
    ("author", ANY, &["author"]),
];
const OF_ENCOUNTER: &[Definition] = &[
    IDENTIFIER,
    SUBJECT,
    SUBJECT_PATIENT,
    STATUS,
    TYPE,
    ("class", Kind::Token, &["class"]),
    ("date", Kind::Date, &["period"]),
];
const OF_GROUP: &[Definition] = &[IDENTIFIER, TYPE, ("member", ANY, &["member.entity"])];
const OF_LIST: &[Definition] =
    &[IDENTIFIER, SUBJECT, SUBJECT_PATIENT, CODE, STATUS, DATE, ("source", ANY, &["source"])];
const OF_MEDICATION: &[Definition] = &[IDENTIFIER, CODE, STATUS];
const OF_MEDICATION_REQUEST: &[Definition] = &[
    IDENTIFIER,
    SUBJECT,
    SUBJECT_PATIENT,
    ENCOUNTER,
    STATUS,
    CATEGORY,
    ("intent", Kind::Token, &["intent"]),
    ("authoredon", Kind::Date, &["authoredOn"]),
];
const OF_OBSERVATION: &[Definition] = &[
    IDENTIFIER,
    SUBJECT,
    SUBJECT_PATIENT,
    ENCOUNTER,
    STATUS,
    CATEGORY,
    CODE,
    ("date", Kind::Date, &["effectiveDateTime", "effectivePeriod", "effectiveInstant"]),
    ("performer", ANY, &["performer"]),
    ("value-quantity", Kind::Quantity, &["valueQuantity"]),
];
const OF_PATIENT: &[Definition] = &[
    IDENTIFIER,
    ("active", Kind::Token, &["active"]),
    ("gender", Kind::Token, &["gender"]),
    ("family", Kind::String, &["name.family"]),
    ("birthdate", Kind::Date, &["birthDate"]),
    ("general-practitioner", ANY, &["generalPractitioner"]),
];
const OF_PRACTITIONER: &[Definition] = &[IDENTIFIER, ("family", Kind::String, &["name.family"])];
const OF_PROVENANCE: &[Definition] = &[("target", ANY, &["target"]), ("patient", PATIENT, &["target"])];

/// The vocabulary of a type (R4 search parameters).
fn definitions(kind: &str) -> &'static [Definition] {
    match kind {
        "AllergyIntolerance" => OF_ALLERGY_INTOLERANCE,
        "Composition" => OF_COMPOSITION,
        "Condition" => OF_CONDITION,
        "Device" => OF_DEVICE,
        "DocumentReference" => OF_DOCUMENT_REFERENCE,
        "Encounter" => OF_ENCOUNTER,
        "Group" => OF_GROUP,
        "List" => OF_LIST,
        "Medication" => OF_MEDICATION,
        "MedicationRequest" => OF_MEDICATION_REQUEST,
        "Observation" => OF_OBSERVATION,
        "Patient" => OF_PATIENT,
        "Practitioner" => OF_PRACTITIONER,
        "Provenance" => OF_PROVENANCE,
        _ => &[],
    }
}

fn definition(kind: &str, code: &str) -> Option<Definition> {
    COMMON.iter().chain(definitions(kind)).find(|(name, _, _)| *name == code).copied()
}

/// Who can tell whether a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// Only the backend.
    Asked,
    /// The resource itself.
    Here,
    /// Nobody: what depends on it grants nothing.
    Never,
}

/// Who can tell whether a parameter holds of a type.
pub fn usable(kind: &str, name: &str) -> Usable {
    let (code, modifier) = split_name(name);
    if matches!(code, "_text" | "_content") {
        return Usable::Asked;
    }
    if let Some((link, _)) = name.split_once('.') {
        let reference = definition(kind, link.split(':').next().unwrap_or(""));
        return if reference.is_some_and(|(_, kind, _)| matches!(kind, Kind::Reference(_))) {
            Usable::Asked
        } else {
            Usable::Never
        };
    }
    let Some((_, compares, _)) = definition(kind, code) else { return Usable::Never };
    match (modifier, compares) {
        (None | Some("missing"), _)
        | (Some("not" | "text"), Kind::Token)
        | (Some("exact" | "contains"), Kind::String)
        | (Some("identifier"), Kind::Reference(_)) => Usable::Here,
        (Some("in" | "above" | "below"), Kind::Token) => Usable::Asked,
        (Some(kind), Kind::Reference(_)) if crate::world::TYPES.contains(&kind) => Usable::Here,
        _ => Usable::Never,
    }
}

fn split_name(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(code, modifier)| (code, Some(modifier)))
}

/// Whether a resource matches a parameter that the resource itself can answer.
pub fn holds(resource: &Value, name: &str, value: &str) -> Truth {
    let kind = type_of(resource);
    match usable(kind, name) {
        Usable::Asked => return Truth::Maybe,
        Usable::Never => return Truth::No,
        Usable::Here => {}
    }
    let (code, modifier) = split_name(name);
    let Some((_, compares, paths)) = definition(kind, code) else { return Truth::No };
    let mut found: Vec<&Value> = paths.iter().flat_map(|path| at(resource, path)).collect();
    // R4 defines `patient` as references that are to a Patient; any other reference is there, whatever it is to.
    if modifier == Some("missing") && compares != PATIENT {
        return Truth::from(found.is_empty() == (value == "true"));
    }
    if let Kind::Reference(types) = compares
        && !types.is_empty()
    {
        found.retain(|it| {
            let denoted = text(it, "reference").and_then(denotes);
            denoted.is_some_and(|(kind, _)| types.contains(&kind))
        });
    }
    if modifier == Some("missing") {
        return Truth::from(found.is_empty() == (value == "true"));
    }
    let alternatives = split(value, ',');
    let any =
        found.iter().any(|it| alternatives.iter().any(|wanted| matches(compares, modifier, it, wanted)));
    Truth::from(any != (modifier == Some("not")))
}

fn matches(compares: Kind, modifier: Option<&str>, found: &Value, wanted: &str) -> bool {
    match compares {
        Kind::Date => date(found, wanted),
        Kind::Id | Kind::Uri => found.as_str() == Some(&*unescape(wanted)),
        Kind::Quantity => quantity(found, wanted),
        Kind::Reference(_) if modifier == Some("identifier") => {
            found.get("identifier").is_some_and(|identifier| token(identifier, wanted))
        }
        Kind::Reference(_) => reference(found, modifier, &unescape(wanted)),
        Kind::String => string(found.as_str().unwrap_or(""), modifier, &unescape(wanted)),
        Kind::Token if modifier == Some("text") => {
            words(found).iter().any(|text| string(text, None, &unescape(wanted)))
        }
        Kind::Token => token(found, wanted),
    }
}

/// Splits where the separator is not escaped; escapes stay.
pub fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == separator && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        parts.last_mut().expect("one part").push(c);
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

fn string(found: &str, modifier: Option<&str>, wanted: &str) -> bool {
    let (low, wanted_low) = (found.to_lowercase(), wanted.to_lowercase());
    match modifier {
        Some("exact") => found == wanted,
        Some("contains") => low.contains(&wanted_low),
        _ => low.starts_with(&wanted_low),
    }
}

/// System and code of everything that a token parameter looks at in an element.
fn codes(found: &Value) -> Vec<(Option<&str>, String)> {
    if let Some(plain) = found.as_str() {
        return vec![(None, plain.to_owned())];
    }
    if let Some(flag) = found.as_bool() {
        return vec![(None, flag.to_string())];
    }
    if found.get("coding").is_some() {
        return at(found, "coding").into_iter().flat_map(codes).collect();
    }
    let code = text(found, "code").or_else(|| text(found, "value"));
    code.map(|code| (text(found, "system"), code.to_owned())).into_iter().collect()
}

/// What a person reads of a coded element.
fn words(found: &Value) -> Vec<&str> {
    let paths = ["text", "coding.display", "display", "type.text"];
    paths.iter().flat_map(|path| at(found, path)).filter_map(Value::as_str).collect()
}

fn token(found: &Value, wanted: &str) -> bool {
    let parts: Vec<String> = split(wanted, '|').iter().map(|part| unescape(part)).collect();
    codes(found).into_iter().any(|(system, code)| match parts.as_slice() {
        [any] => code == *any,
        [none, only] if none.is_empty() => system.is_none() && code == *only,
        [of, any] if any.is_empty() => system == Some(of),
        [of, only] => system == Some(of) && code == *only,
        _ => false,
    })
}

fn reference(found: &Value, modifier: Option<&str>, wanted: &str) -> bool {
    let Some(written) = text(found, "reference") else { return false };
    let Some((kind, id)) = denotes(written) else { return written == wanted };
    if let Some(only) = modifier {
        return kind == only && (id == wanted || denotes(wanted) == Some((kind, id)));
    }
    id == wanted || denotes(wanted) == Some((kind, id))
}

/// The prefix of an ordered value, and the rest.
fn prefixed(wanted: &str) -> (&str, &str) {
    let prefixes = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"];
    let found = prefixes.iter().find_map(|prefix| Some((*prefix, wanted.strip_prefix(prefix)?)));
    found.unwrap_or(("eq", wanted))
}

fn date(found: &Value, wanted: &str) -> bool {
    let (prefix, wanted) = prefixed(wanted);
    let span = match found.as_str() {
        Some(point) => Span::of(point),
        None => Span::between(text(found, "start"), text(found, "end")),
    };
    let (Some(there), Some(asked)) = (span, Span::of(wanted)) else { return false };
    let within = asked.from <= there.from && there.until <= asked.until;
    match prefix {
        "ne" => !within,
        "gt" => there.until > asked.until,
        "lt" => there.from < asked.from,
        "ge" => there.until > asked.until || within,
        "le" => there.from < asked.from || within,
        "sa" => there.from >= asked.until,
        "eb" => there.until <= asked.from,
        _ => within,
    }
}

fn quantity(found: &Value, wanted: &str) -> bool {
    let parts = split(wanted, '|');
    let (prefix, number) = prefixed(&parts[0]);
    let unit = match parts.get(1..).unwrap_or_default() {
        [] => true,
        [none, code] if none.is_empty() => {
            [text(found, "code"), text(found, "unit")].contains(&Some(code.as_str()))
        }
        [system, code] => {
            text(found, "system") == Some(system.as_str()) && text(found, "code") == Some(code.as_str())
        }
        _ => false,
    };
    let value = found.get("value").and_then(Value::as_f64);
    let (Some(value), Ok(asked)) = (value, number.parse::<f64>()) else { return false };
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let half = 0.5 * 0.1_f64.powi(i32::try_from(decimals).expect("few digits"));
    let equal = value >= asked - half && value < asked + half;
    unit && match prefix {
        "ne" => !equal,
        "gt" => value > asked,
        "lt" => value < asked,
        "ge" => value >= asked,
        "le" => value <= asked,
        _ => equal,
    }
}
