//! What a token says of its user beyond who it is: the IUA extension of JWT (ITI TF-2 3.71.4.2.2.1.1), which
//! introspection answers carry as well (3.102.4.2.2).
//!
//! Evidence for the audit and nothing else: no decision may rest on it. So what is malformed or too long is left out
//! and refuses nothing.

use serde_json::{Map, Value};

/// Bytes of one text that are taken; a longer one is left out whole.
const TEXT: usize = 256;
/// Codes of one claim that are taken.
const CODES: usize = 16;

/// A code as it was claimed (FHIR `Coding`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedCode {
    /// The code system, as written.
    pub system: Option<String>,
    /// The code.
    pub code: String,
    /// The words for it.
    pub display: Option<String>,
}

/// The user's attributes, as far as the token has usable ones. All of it was signed by nobody but the issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAttributes {
    /// `subject_name`.
    pub name: Option<String>,
    /// `subject_organization`.
    pub organization: Option<String>,
    /// `subject_organization_id`.
    pub organization_id: Option<String>,
    /// `subject_role`.
    pub roles: Vec<ClaimedCode>,
    /// `purpose_of_use`.
    pub purposes: Vec<ClaimedCode>,
    /// `home_community_id`.
    pub home_community: Option<String>,
    /// `national_provider_identifier`.
    pub national_provider: Option<String>,
    /// `person_id`.
    pub person: Option<String>,
}

impl UserAttributes {
    pub(super) fn read(claims: &Map<String, Value>) -> Option<Self> {
        let claimed = claims.get("extensions")?.get("ihe_iua")?.as_object()?;
        let text = |name: &str| claimed.get(name).and_then(text);
        let found = Self {
            name: text("subject_name"),
            organization: text("subject_organization"),
            organization_id: text("subject_organization_id"),
            roles: codes(claimed.get("subject_role")),
            purposes: codes(claimed.get("purpose_of_use")),
            home_community: text("home_community_id"),
            national_provider: text("national_provider_identifier"),
            person: text("person_id"),
        };
        (found != Self::default()).then_some(found)
    }
}

/// One `Coding` or several; a purpose may also be plain text, which then is the code.
fn codes(value: Option<&Value>) -> Vec<ClaimedCode> {
    match value {
        Some(Value::Array(items)) => items.iter().take(CODES).filter_map(code).collect(),
        Some(one) => code(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn code(value: &Value) -> Option<ClaimedCode> {
    let (system, code, display) = match value {
        Value::Object(coding) => (coding.get("system"), coding.get("code")?, coding.get("display")),
        Value::String(_) => (None, value, None),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
    };
    let code = text(code)?;
    // FHIR's `code`: single spaces at most.
    let single = code.split(' ').all(|word| !word.is_empty() && !word.contains(char::is_whitespace));
    single.then(|| ClaimedCode { system: system.and_then(text), code, display: display.and_then(text) })
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let fit = !text.is_empty() && text.len() <= TEXT && !text.contains(char::is_control);
    fit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(iua: &Value) -> UserAttributes {
        let claims = json!({ "extensions": { "ihe_iua": iua } });
        UserAttributes::read(claims.as_object().unwrap()).unwrap_or_default()
    }

    /// AUD-5: what IUA names is read, what is malformed is as if it were not there.
    #[test]
    fn aud_5_attributes() {
        let long = "x".repeat(TEXT + 1);
        let table = [
            (json!({"subject_name": " Dr. Ada "}), "name", Some("Dr. Ada")),
            (json!({"subject_name": ""}), "name", None),
            (json!({"subject_name": 1}), "name", None),
            (json!({"subject_name": "a\nb"}), "name", None),
            (json!({"subject_name": long}), "name", None),
            (json!({"subject_organization": "Ward"}), "organization", Some("Ward")),
            (json!({"subject_organization_id": "urn:oid:1.2"}), "organization id", Some("urn:oid:1.2")),
            (json!({"home_community_id": "urn:oid:1.3"}), "community", Some("urn:oid:1.3")),
            (json!({"national_provider_identifier": "20000"}), "npi", Some("20000")),
            (json!({"person_id": "7^^^&2.16&ISO"}), "person", Some("7^^^&2.16&ISO")),
            (json!([{"subject_name": "Ada"}]), "name", None),
            (json!("subject_name"), "name", None),
        ];
        for (iua, member, means) in table {
            let found = read(&iua);
            let found = match member {
                "name" => found.name,
                "organization" => found.organization,
                "organization id" => found.organization_id,
                "community" => found.home_community,
                "npi" => found.national_provider,
                _ => found.person,
            };
            assert_eq!(found.as_deref(), means, "{iua}");
        }
        assert_eq!(UserAttributes::read(&Map::new()), None);
    }

    /// AUD-5: a `Coding`, several, or a word; no more than are bearable.
    #[test]
    fn aud_5_purposes() {
        let treat = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"});
        let table = [
            (treat.clone(), vec!["TREAT"]),
            (json!([treat, {"code": "HPAYMT", "display": "payment"}]), vec!["TREAT", "HPAYMT"]),
            (json!("TREAT"), vec!["TREAT"]),
            (json!(["TREAT", 7, null, ["x"], {"system": "x"}, {"code": ""}]), vec!["TREAT"]),
            (json!("two  words"), vec![]),
            (json!("two words"), vec!["two words"]),
            (json!(7), vec![]),
            (json!(vec!["x"; 99]), vec!["x"; CODES]),
        ];
        for (claimed, means) in table {
            let found = read(&json!({ "purpose_of_use": claimed }));
            let codes: Vec<_> = found.purposes.iter().map(|purpose| purpose.code.as_str()).collect();
            assert_eq!(codes, means, "{claimed}");
            let roles = read(&json!({ "subject_role": claimed })).roles;
            assert_eq!(roles, found.purposes, "{claimed}");
        }
    }
}
