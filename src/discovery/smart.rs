//! `.well-known/smart-configuration` (SMART App Launch 2.2, "Conformance"; ISiK Connect ANF-CON-046 … -051).
//!
//! What the authorization server says about itself, overridden by `[discovery]`, kept to members that SMART defines
//! and to what is true of this gateway.

use serde_json::{Map, Value, json};
use url::Url;

/// Members that are URLs, in the order they are printed.
const URLS: [&str; 10] = [
    "issuer",
    "jwks_uri",
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "management_endpoint",
    "smart_app_state_endpoint",
    "user_access_brand_bundle",
];

/// Members that are lists of strings.
const LISTS: [&str; 5] = [
    "grant_types_supported",
    "response_types_supported",
    "scopes_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
];

/// Members only `[discovery]` can give, with their JSON as written there.
const OWN: [&str; 3] = ["access_token_format", "associated_endpoints", "user_access_brand_identifier"];

/// What of the gateway the document must be true of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmartFacts {
    /// Whether v1 scopes are honoured (DISC-9).
    pub scopes_v1: bool,
}

/// The SMART configuration, or nothing while there is no token endpoint to name (DISC-4): before the first metadata
/// arrived and without an override.
#[must_use]
pub fn smart_configuration(
    metadata: Option<&Map<String, Value>>,
    overrides: &Map<String, Value>,
    facts: SmartFacts,
) -> Option<Map<String, Value>> {
    let said = |name: &str| overrides.get(name).or_else(|| metadata?.get(name));
    let mut out = Map::new();
    for name in URLS {
        if let Some(url) = said(name).filter(|value| is_absolute(value)) {
            out.insert(name.to_owned(), url.clone());
        }
    }
    out.get("token_endpoint")?;
    for name in LISTS {
        if let Some(list) = said(name).and_then(strings) {
            out.insert(name.to_owned(), json!(list));
        }
    }
    for name in OWN {
        if let Some(value) = overrides.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    if !out.contains_key("grant_types_supported") {
        // RFC 8414 §2 has `implicit` in its default; SMART has no such grant.
        out.insert("grant_types_supported".to_owned(), json!(["authorization_code"]));
    }
    if let Some(scopes) = out.get("scopes_supported").and_then(strings) {
        let kept: Vec<_> = scopes.into_iter().filter(|scope| is_enforceable(scope, facts)).collect();
        out.insert("scopes_supported".to_owned(), json!(kept));
    }
    // DISC-8: PKCE without S256 is no PKCE.
    out.insert("code_challenge_methods_supported".to_owned(), json!(["S256"]));
    let capabilities = capabilities(&out, overrides, facts);
    if !capabilities.iter().any(|c| c == "sso-openid-connect") {
        // DISC-10: `issuer` is there exactly when OpenID Connect is.
        out.shift_remove("issuer");
        out.shift_remove("jwks_uri");
    }
    out.insert("capabilities".to_owned(), json!(capabilities));
    Some(out)
}

/// The configured capabilities, or those that follow from the other members; either way true about scopes (DISC-9).
fn capabilities(
    members: &Map<String, Value>,
    overrides: &Map<String, Value>,
    facts: SmartFacts,
) -> Vec<String> {
    let has = |list: &str, entry: &str| {
        members.get(list).and_then(strings).is_some_and(|entries| entries.iter().any(|e| e == entry))
    };
    let mut list = overrides.get("capabilities").and_then(strings).unwrap_or_else(|| {
        let app = members.contains_key("authorization_endpoint");
        let auth = "token_endpoint_auth_methods_supported";
        let secret = has(auth, "client_secret_basic") || has(auth, "client_secret_post");
        let sso = members.contains_key("issuer")
            && members.contains_key("jwks_uri")
            && has("scopes_supported", "openid")
            && has("scopes_supported", "fhirUser");
        let derived = [
            ("launch-standalone", app),
            ("client-public", app && (has(auth, "none") || !members.contains_key(auth))),
            ("client-confidential-symmetric", secret),
            ("client-confidential-asymmetric", has(auth, "private_key_jwt")),
            ("sso-openid-connect", sso),
            ("context-standalone-patient", app && has("scopes_supported", "launch/patient")),
            ("context-standalone-encounter", app && has("scopes_supported", "launch/encounter")),
            ("permission-offline", has("scopes_supported", "offline_access")),
            ("permission-online", has("scopes_supported", "online_access")),
            ("permission-patient", app),
            ("permission-user", app),
        ];
        derived.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name.to_owned()).collect()
    });
    list.retain(|name| name != "permission-v1" && name != "permission-v2");
    list.push("permission-v2".to_owned());
    if facts.scopes_v1 {
        list.push("permission-v1".to_owned());
    }
    list
}

/// DISC-11: resource scopes in the syntax we honour, launch and identity scopes; an authorization server's private
/// scopes say nothing here.
fn is_enforceable(scope: &str, facts: SmartFacts) -> bool {
    let known =
        ["openid", "fhirUser", "profile", "offline_access", "online_access", "launch", "smart/app_state"];
    if known.contains(&scope) || scope.starts_with("launch/") {
        return true;
    }
    let Some((context, rest)) = scope.split_once('/') else { return false };
    let Some((_, permission)) = rest.rsplit_once('.').filter(|_| !rest.contains('?')).or_else(|| {
        // In `patient/Observation.rs?category=a.b` the permission ends before the question mark.
        rest.split_once('?').and_then(|(head, _)| head.rsplit_once('.'))
    }) else {
        return false;
    };
    let v1 = ["read", "write", "*"].contains(&permission);
    ["patient", "user", "system"].contains(&context) && (facts.scopes_v1 || !v1)
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
}

/// DISC-3: scheme and authority.
pub(super) fn is_absolute(value: &Value) -> bool {
    let parsed = value.as_str().and_then(|text| Url::parse(text).ok());
    parsed.is_some_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

/// The OAuth endpoints as the SMART configuration names them, so that other documents say the same (DISC-18).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(Vec<(&'static str, String)>);

impl Endpoints {
    /// Takes them out of a SMART configuration.
    #[must_use]
    pub fn of(smart: &Map<String, Value>) -> Self {
        let names = [
            ("authorize", "authorization_endpoint"),
            ("token", "token_endpoint"),
            ("register", "registration_endpoint"),
            ("introspect", "introspection_endpoint"),
            ("revoke", "revocation_endpoint"),
            ("manage", "management_endpoint"),
        ];
        let url = |name: &str| smart.get(name).and_then(Value::as_str).map(str::to_owned);
        Self(names.into_iter().filter_map(|(short, name)| Some((short, url(name)?))).collect())
    }

    /// Short name and URL of each, as in the `oauth-uris` extension.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, url)| (*name, url.as_str()))
    }

    /// Whether none is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn keycloak() -> Map<String, Value> {
        object(json!({
            "issuer": "https://as.test", "jwks_uri": "https://as.test/jwks",
            "authorization_endpoint": "https://as.test/auth", "token_endpoint": "https://as.test/token",
            "introspection_endpoint": "https://as.test/introspect",
            "registration_endpoint": "/relative",
            "end_session_endpoint": "https://as.test/logout",
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "scopes_supported": ["openid", "fhirUser", "launch/patient", "patient/*.rs", "user/*.read", "roles",
                                 "patient/Observation.rs?category=http://a.b|c"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"]
        }))
    }

    fn built(overrides: Value, v1: bool) -> Map<String, Value> {
        smart_configuration(Some(&keycloak()), &object(overrides), SmartFacts { scopes_v1: v1 }).unwrap()
    }

    fn has(document: &Map<String, Value>, list: &str, entry: &str) -> bool {
        document.get(list).and_then(strings).is_some_and(|l| l.iter().any(|e| e == entry))
    }

    /// DISC-3 … DISC-12, member by member.
    #[test]
    fn members() {
        let document = built(json!({}), true);
        let table = [
            ("token_endpoint", true),
            ("authorization_endpoint", true),
            ("introspection_endpoint", true),
            ("registration_endpoint", false), // relative
            ("end_session_endpoint", false),  // not SMART's
            ("issuer", true),
            ("jwks_uri", true),
        ];
        let wrong: Vec<_> =
            table.iter().filter(|(name, there)| document.contains_key(*name) != *there).collect();
        assert!(wrong.is_empty(), "misplaced: {wrong:?}");
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        let capabilities = [
            ("launch-standalone", true),
            ("sso-openid-connect", true),
            ("client-confidential-asymmetric", true),
            ("client-confidential-symmetric", true),
            ("client-public", false),
            ("context-standalone-patient", true),
            ("context-standalone-encounter", false),
            ("permission-v1", true),
            ("permission-v2", true),
            ("launch-ehr", false),
        ];
        let wrong: Vec<_> =
            capabilities.iter().filter(|(c, there)| has(&document, "capabilities", c) != *there).collect();
        assert!(wrong.is_empty(), "untrue: {wrong:?}");
    }

    /// DISC-9, DISC-11: v1 is named only when it is honoured.
    #[test]
    fn version_one() {
        for v1 in [true, false] {
            let document = built(json!({"capabilities": ["permission-v1", "launch-ehr"]}), v1);
            assert_eq!(has(&document, "capabilities", "permission-v1"), v1);
            assert!(
                has(&document, "capabilities", "permission-v2")
                    && has(&document, "capabilities", "launch-ehr")
            );
            assert_eq!(has(&document, "scopes_supported", "user/*.read"), v1);
            assert!(has(&document, "scopes_supported", "patient/Observation.rs?category=http://a.b|c"));
            assert!(!has(&document, "scopes_supported", "roles"));
        }
    }

    /// DISC-10.
    #[test]
    fn issuer_only_with_openid_connect() {
        let with = built(json!({"capabilities": ["sso-openid-connect"]}), true);
        let without = built(json!({"capabilities": ["launch-standalone"]}), true);
        assert!(with.contains_key("issuer") && with.contains_key("jwks_uri"));
        assert!(!without.contains_key("issuer") && !without.contains_key("jwks_uri"));
    }

    /// DISC-4, DISC-15: overrides alone are enough, and without a token endpoint there is no document.
    #[test]
    fn without_metadata() {
        let facts = SmartFacts { scopes_v1: false };
        let overrides =
            object(json!({"token_endpoint": "https://as.test/token", "access_token_format": "ihe-jwt"}));
        let document = smart_configuration(None, &overrides, facts).unwrap();
        assert_eq!(document["access_token_format"], "ihe-jwt");
        assert_eq!(document["capabilities"], json!(["permission-v2"]));
        assert_eq!(smart_configuration(None, &Map::new(), facts), None);
        let relative = object(json!({"token_endpoint": "//as.test/token"}));
        assert_eq!(smart_configuration(None, &relative, facts), None);
    }
}
