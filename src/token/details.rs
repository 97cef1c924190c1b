//! `authorization_details` of SMART App Launch 2.2 (experimental; RFC 9396, CTX-10): one token for several FHIR servers.
//!
//! Of the array only the entry for this very base counts, and it counts instead of what the token says at the top: scopes
//! and context meant for another server must not be read as if they were for this one. The user stays the same person, so
//! `fhirUser` at the top counts when the entry names none: without it `user/` scopes would reach more.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::claims::Requirements;
use super::error::TokenError;
use super::names::{ClaimNames, claim};

/// What `authorization_details` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailsRule {
    /// Nothing: what is at the top counts.
    Ignore,
    /// The one entry of type `smart_on_fhir` for this base counts; without one the token is not valid here.
    SmartOnFhir,
}

pub(super) const DETAILS: &str = "authorization_details";

/// What an entry may say of scopes and context. Never who issued the token, to whom, for whom and until when.
const OWN: [&str; 7] = ["scope", "patient", "encounter", "fhirUser", "fhirContext", "intent", "tenant"];

type Applied<'a> = (Cow<'a, Map<String, Value>>, Cow<'a, Requirements>);

/// Claims as they count here, and the requirements to read them with.
///
/// # Errors
/// The array is there, and no entry of it, or more than one, is for this base; or something in it cannot be read.
pub(super) fn apply<'a>(
    claims: &'a Map<String, Value>,
    requirements: &'a Requirements,
) -> Result<Applied<'a>, TokenError> {
    let details = match (requirements.details, claims.get(DETAILS)) {
        (DetailsRule::Ignore, _) | (DetailsRule::SmartOnFhir, None) => {
            return Ok((Cow::Borrowed(claims), Cow::Borrowed(requirements)));
        }
        (DetailsRule::SmartOnFhir, Some(details)) => details,
    };
    let entry = own_entry(details, requirements).map_err(|cause| TokenError::DetailsRefused { cause })?;
    let user = claim(claims, &requirements.names.fhir_user).cloned();
    let mut counting = claims.clone();
    for name in OWN.iter().chain(&["scp"]) {
        counting.remove(*name);
    }
    if let Some(user) = user {
        counting.insert("fhirUser".to_owned(), user);
    }
    for name in OWN {
        if let Some(value) = entry.get(name) {
            counting.insert(name.to_owned(), value.clone());
        }
    }
    // The entry has the names of the specification, whatever this issuer calls its claims at the top.
    let client = requirements.names.client.clone();
    let names = ClaimNames { scope: vec!["scope".to_owned()], client, ..ClaimNames::default() };
    Ok((Cow::Owned(counting), Cow::Owned(Requirements { names, ..requirements.clone() })))
}

/// The one entry for this base.
fn own_entry<'d>(
    details: &'d Value,
    requirements: &Requirements,
) -> Result<&'d Map<String, Value>, &'static str> {
    let entries = details.as_array().ok_or("it is no array")?;
    let mut own = None;
    for entry in entries {
        let entry = entry.as_object().ok_or("an entry is no object")?;
        let kind = entry.get("type").and_then(Value::as_str).ok_or("an entry has no `type`")?;
        if kind != "smart_on_fhir" {
            continue;
        }
        let locations = texts(entry, "locations")?.ok_or("an entry has no `locations`")?;
        if !locations.contains(&requirements.reading.base.as_str()) {
            continue;
        }
        if let Some(versions) = texts(entry, "fhirVersions")?
            && !versions.iter().any(|version| is_ours(version, requirements))
        {
            return Err("the entry for this base is for another version of FHIR");
        }
        if own.replace(entry).is_some() {
            return Err("more than one entry is for this base");
        }
    }
    own.ok_or("no entry is for this base")
}

fn texts<'d>(entry: &'d Map<String, Value>, name: &str) -> Result<Option<Vec<&'d str>>, &'static str> {
    let Some(value) = entry.get(name) else { return Ok(None) };
    let items = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    items.map(Some).ok_or("`locations` and `fhirVersions` are arrays of strings")
}

/// `4.0.1` and any other patch of `4.0`, or `4.0` itself.
fn is_ours(version: &str, requirements: &Requirements) -> bool {
    let label = requirements.reading.scopes.version.label();
    version.strip_prefix(label).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::claims::tests::{claims, demands};
    use crate::token::{Grant, TypeRule, VerifiedClaims};

    const BASE: &str = "https://gw.test/fhir";

    fn smart() -> Requirements {
        Requirements { details: DetailsRule::SmartOnFhir, ..demands() }
    }

    fn granted(claims: &Map<String, Value>, requirements: &Requirements) -> Result<Grant, &'static str> {
        let verified = VerifiedClaims::from_jwt(claims, requirements);
        verified.map(|verified| verified.grant).map_err(|refusal| refusal.reason_id())
    }

    fn entry(change: Value) -> Value {
        let mut entry = json!({"type": "smart_on_fhir", "locations": [BASE], "scope": "patient/Observation.rs", "patient": "p9"});
        for (name, value) in change.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    }

    /// CTX-10: which arrays have an entry for us. Each that has none is no access, whatever is at the top.
    #[test]
    fn the_entry_for_this_base() {
        let other = || entry(json!({"locations": ["https://other.test/fhir"], "patient": "p8"}));
        let refused = Err("token_details_refused");
        let table = [
            (json!([entry(json!({}))]), Ok("p9")),
            (json!([other(), entry(json!({}))]), Ok("p9")),
            (json!([entry(json!({"locations": ["https://other.test", BASE]}))]), Ok("p9")),
            (json!([{"type": "account_information", "actions": ["read"]}, entry(json!({}))]), Ok("p9")),
            (json!([entry(json!({"fhirVersions": ["5.0.0", "4.0.1"]}))]), Ok("p9")),
            (json!([entry(json!({"fhirVersions": ["4.0"]}))]), Ok("p9")),
            (json!([entry(json!({"fhirVersions": ["4.3.0"]}))]), refused),
            (json!([entry(json!({"fhirVersions": ["4.01"]}))]), refused),
            (json!([entry(json!({"fhirVersions": []}))]), refused),
            (json!([entry(json!({"fhirVersions": "4.0.1"}))]), refused),
            (json!([]), refused),
            (json!([other()]), refused),
            (json!([entry(json!({})), entry(json!({}))]), refused),
            (json!([entry(json!({"locations": [format!("{BASE}/")]}))]), refused),
            (json!([entry(json!({"locations": ["HTTPS://gw.test/fhir"]}))]), refused),
            (json!([entry(json!({"locations": ["https://gw.test/fhir/../fhir"]}))]), refused),
            (json!([entry(json!({"locations": BASE}))]), refused),
            (json!([entry(json!({"locations": [BASE, 1]}))]), refused),
            (json!([{"type": "smart_on_fhir", "patient": "p9"}, entry(json!({}))]), refused),
            (json!([entry(json!({"type": "SMART_ON_FHIR"}))]), refused),
            (json!([entry(json!({"type": 1}))]), refused),
            (json!(["smart_on_fhir", entry(json!({}))]), refused),
            (json!(entry(json!({}))), refused),
            (json!(null), refused),
        ];
        for (details, means) in table {
            let claims = claims(&json!({"authorization_details": details}));
            let grant = granted(&claims, &smart());
            let patient = grant.as_ref().map(|grant| grant.patient().unwrap_or("-"));
            assert_eq!(patient.map_err(|reason| *reason), means, "{details}");
            let ignoring = granted(&claims, &demands()).unwrap();
            assert_eq!(ignoring.patient(), Some("p1"), "ignored: {details}");
        }
        assert_eq!(granted(&claims(&json!({})), &smart()).unwrap().patient(), Some("p1"));
    }

    /// What the entry says counts instead of the top, and it cannot say what is not its business.
    #[test]
    fn the_entry_counts_and_the_top_does_not() {
        let top = json!({
            "scope": "user/*.cruds", "scp": ["system/*.cruds"], "patient": "p1", "encounter": "e1",
            "/ext/patient": "p2", "ext": {"patient": "p3", "scope": "system/*.rs"}, "fhirUser": "Patient/p1"
        });
        let with = |details: Value| {
            let mut claims = claims(&top);
            claims.insert(DETAILS.to_owned(), json!([details]));
            claims
        };
        let full = entry(json!({
            "encounter": "e9", "fhirUser": "Practitioner/x", "sub": "root", "client_id": "other", "iss": "https://evil.test",
            "aud": "other", "exp": 1, "cnf": {"jkt": "x"}, "scp": ["system/*.cruds"]
        }));
        let ext = ClaimNames {
            scope: vec!["/ext/scope".to_owned(), "scp".to_owned()],
            patient: "/ext/patient".to_owned(),
            ..ClaimNames::default()
        };
        for names in [ClaimNames::default(), ext] {
            let requirements = Requirements { names, ..smart() };
            let grant = granted(&with(full.clone()), &requirements).unwrap();
            let said = format!("{:?}", grant.scopes());
            assert!(
                said.contains("Observation") && !said.contains("User") && !said.contains("System"),
                "{said}"
            );
            assert_eq!((grant.patient(), grant.encounter()), (Some("p9"), Some("e9")));
            assert_eq!((grant.subject(), grant.client()), (Some("user-1"), Some("app")));
            let bare = json!({"type": "smart_on_fhir", "locations": [BASE]});
            let grant = granted(&with(bare), &requirements).unwrap();
            assert_eq!((grant.patient(), grant.encounter()), (None, None));
            let user = format!("{:?}", grant.user());
            assert!(user.contains("Patient") && user.contains("p1"), "the same person: {user}");
        }
        // Under the lenient rule an access token is known by its scopes: those that count here.
        let any = Requirements { types: TypeRule::AnyButForeign, ..smart() };
        let bare = json!({"type": "smart_on_fhir", "locations": [BASE]});
        assert_eq!(granted(&with(bare), &any).unwrap_err(), "not_an_access_token");
        assert!(granted(&with(entry(json!({}))), &any).is_ok());
    }

    /// The same in an introspection answer (RFC 9396 §9.2), and with both, which must agree.
    #[test]
    fn answers_have_details_too() {
        let answer = |details: Value| {
            json!({"active": true, "scope": "user/*.cruds", "authorization_details": details})
                .as_object()
                .unwrap()
                .clone()
        };
        let asked = |details| VerifiedClaims::from_introspection(&answer(details), &smart());
        assert_eq!(asked(json!([entry(json!({}))])).unwrap().grant.patient(), Some("p9"));
        assert_eq!(asked(json!([])).unwrap_err().reason_id(), "token_details_refused");
        let light = claims(&json!({"scope": "-", "patient": "-"}));
        let told = |patient: &str| {
            let mut told = answer(json!([entry(json!({"patient": patient}))]));
            told.remove("scope");
            told
        };
        let both = VerifiedClaims::from_both(&light, &told("p9"), &smart()).unwrap();
        assert_eq!(both.grant.patient(), Some("p9"));
        let mut signed = light.clone();
        signed.insert(DETAILS.to_owned(), json!([entry(json!({}))]));
        assert!(VerifiedClaims::from_both(&signed, &told("p9"), &smart()).is_ok());
        let differing = VerifiedClaims::from_both(&signed, &told("p8"), &smart()).unwrap_err();
        assert_eq!(differing.reason_id(), "token_disagreement");
    }
}
