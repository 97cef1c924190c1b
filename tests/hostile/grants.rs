//! The tokens of the catalogue, by their names and by what is said of them.

use pforte::demo::authorization::Claims;
use serde_json::{Value, json};

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// A token that is sent.
#[derive(Debug, Clone)]
pub struct Holder {
    pub claims: Option<Claims>,
    /// Whether the victim's records are hers to see.
    pub sees_all: bool,
}

/// Reads what a case says of its token; none when it is not said in these words.
pub fn holder(words: &str) -> Option<Holder> {
    let own = |claims: Claims| Some(Holder { claims: Some(claims), sees_all: false });
    let launched = |scope: &str| Claims::new(scope).with("patient", "p1");
    if let Some(rest) = words.strip_prefix("patient claim = ") {
        let value = rest.strip_suffix(", server has Patient/1").unwrap_or(rest);
        let value = value.strip_suffix(" (number)").unwrap_or(value);
        let value: Value = serde_json::from_str(value).ok()?;
        return own(Claims::new("patient/*.rs").with("patient", value));
    }
    if let Some(rest) = words.strip_prefix("scope \"") {
        let (scope, said) = rest.split_once('"')?;
        let encoded = scope.replace("http%3A%2F%2F...", &CATEGORY.replace(':', "%3A").replace('/', "%2F"));
        let scope = if said.contains("trailing blanks") { "patient/Observation.rs \t\n" } else { &encoded };
        return match said.trim() {
            "" | "(trailing blanks, tabs, newline)" | "(Cyrillic O)" => own(launched(scope)),
            "but no patient claim anywhere" => own(Claims::new(scope)),
            "with patient claim p1" => Some(Holder { claims: Some(launched(scope)), sees_all: true }),
            ", fhirUser Practitioner/pr1, patient p1" => Some(Holder {
                claims: Some(launched(scope).with("fhirUser", "Practitioner/pr1")),
                sees_all: true,
            }),
            _ => None,
        };
    }
    let scope = match words.split(" only").next().unwrap_or(words) {
        "none" => return Some(Holder { claims: None, sees_all: false }),
        "TU" => {
            let claims = Claims::new("user/*.rs").with("fhirUser", "Practitioner/pr1");
            return Some(Holder { claims: Some(claims), sees_all: true });
        }
        "TS" | "system/*.rs of another client" => {
            return Some(Holder { claims: Some(Claims::new("system/*.rs")), sees_all: true });
        }
        "system/Patient.rs" => {
            return Some(Holder { claims: Some(Claims::new("system/Patient.rs")), sees_all: true });
        }
        "claim scp instead of scope" => {
            let scopes = json!(["patient/*.rs"]);
            return own(Claims::default().without("scope").with("scp", scopes).with("patient", "p1"));
        }
        "T1" => "patient/*.rs",
        "T1o" => "patient/Observation.rs",
        "T1w" => "patient/*.cruds",
        "T1v" => return own(launched(&format!("patient/Observation.rs?category={CATEGORY}|vital-signs"))),
        "T1c: patient/Observation.c" => "patient/Observation.c",
        scope if scope.starts_with("patient/") => scope,
        _ => return None,
    };
    own(launched(scope))
}
