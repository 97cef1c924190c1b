//! `.well-known/smart-configuration` (SMART App Launch 2.2, "Conformance"; ISiK Connect ANF-CON-046 … -051).
//!
//! What the authorization server says about itself, overridden by `[discovery]`, kept to members that SMART defines
//! and to what is true of this gateway.

use serde_json::{Map, Value, json};
use url::Url;

use crate::config::{CAPABILITIES, Validation};
use crate::fhir::{FhirVersion, Letter, SearchQuery};

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

/// Whether a member's value has the JSON type and form that it must have.
type Sound = fn(&Value) -> bool;

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
    let said = |name: &str, sound: Sound| {
        // An override that is unsound was refused with the file; should one come through, nothing is published.
        overrides.get(name).or_else(|| metadata?.get(name)).filter(|value| sound(value)).cloned()
    };
    let shapes: [(&[&str], Sound); 5] = [
        (&URLS, is_absolute),
        (&LISTS, |value| strings(value).is_some_and(|list| !list.is_empty())),
        (&["access_token_format"], is_text),
        (&["associated_endpoints"], is_associated),
        (&["user_access_brand_identifier"], is_brand),
    ];
    let mut out = Map::new();
    for (names, sound) in shapes {
        for name in names {
            if let Some(value) = said(name, sound) {
                out.insert((*name).to_owned(), value);
            }
        }
    }
    out.get("token_endpoint")?;
    if !out.contains_key("grant_types_supported") {
        // RFC 8414 §2 has `implicit` in its default; SMART has no such grant. Without an authorization endpoint
        // there is one way left to a token.
        let app = out.contains_key("authorization_endpoint");
        let grant = if app { "authorization_code" } else { "client_credentials" };
        out.insert("grant_types_supported".to_owned(), json!([grant]));
    }
    if let Some(scopes) = out.shift_remove("scopes_supported").as_ref().and_then(strings) {
        let chosen = overrides.contains_key("scopes_supported");
        // An authorization server's v1 scopes are left out: ISiK wants v2 here, and more may work than is listed.
        let v1 = if chosen && facts.scopes_v1 { V1::Listed } else { V1::LeftOut };
        let kept: Vec<_> = scopes.into_iter().filter(|scope| is_enforceable(scope, v1)).collect();
        if !kept.is_empty() {
            out.insert("scopes_supported".to_owned(), json!(kept));
        }
    }
    // DISC-8: PKCE without S256 is no PKCE.
    out.insert("code_challenge_methods_supported".to_owned(), json!(["S256"]));
    let own = said("capabilities", |value| strings(value).is_some());
    let capabilities = capabilities(&out, own.as_ref().and_then(strings), facts);
    if !capabilities.iter().any(|c| c == "sso-openid-connect") {
        // DISC-10: `issuer` is there exactly when OpenID Connect is; keys may be, when somebody wants them to.
        out.shift_remove("issuer");
        if !overrides.contains_key("jwks_uri") {
            out.shift_remove("jwks_uri");
        }
    }
    out.insert("capabilities".to_owned(), json!(capabilities));
    Some(out)
}

/// The capabilities that were told, or those that follow from the other members; either way only what can be true
/// (DISC-5 … DISC-10).
fn capabilities(members: &Map<String, Value>, told: Option<Vec<String>>, facts: SmartFacts) -> Vec<String> {
    let has = |list: &str, entry: &str| has(members, list, entry);
    let app =
        members.contains_key("authorization_endpoint") && has("grant_types_supported", "authorization_code");
    let sign_in = members.contains_key("issuer") && members.contains_key("jwks_uri");
    let mut list = told.unwrap_or_else(|| derived(members, app, sign_in));
    list.retain(|name| match name.as_str() {
        "permission-v1" | "permission-v2" => false,
        "launch-ehr" | "launch-standalone" => app,
        "sso-openid-connect" => sign_in,
        name => CAPABILITIES.contains(&name) || Url::parse(name).is_ok(),
    });
    list.push("permission-v2".to_owned());
    if facts.scopes_v1 {
        list.push("permission-v1".to_owned());
    }
    list
}

/// What follows from the other members, when nobody says more.
fn derived(members: &Map<String, Value>, app: bool, sign_in: bool) -> Vec<String> {
    let has = |list: &str, entry: &str| has(members, list, entry);
    let auth = "token_endpoint_auth_methods_supported";
    // RFC 8414 §2: who names no method takes `client_secret_basic`.
    let secret =
        has(auth, "client_secret_basic") || has(auth, "client_secret_post") || !members.contains_key(auth);
    let sso = sign_in && has("scopes_supported", "openid") && has("scopes_supported", "fhirUser");
    let derived = [
        ("launch-standalone", app),
        ("client-public", app && has(auth, "none")),
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
}

fn has(members: &Map<String, Value>, list: &str, entry: &str) -> bool {
    members.get(list).and_then(strings).is_some_and(|entries| entries.iter().any(|one| one == entry))
}

/// Whether v1 scopes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum V1 {
    LeftOut,
    Listed,
}

/// DISC-11: resource scopes in the syntax we honour, launch and identity scopes; an authorization server's private
/// scopes say nothing here.
fn is_enforceable(scope: &str, v1: V1) -> bool {
    let known =
        ["openid", "fhirUser", "profile", "offline_access", "online_access", "launch", "smart/app_state"];
    if known.contains(&scope) || scope.strip_prefix("launch/").is_some_and(|rest| !rest.is_empty()) {
        return true;
    }
    let Some((level, rest)) = scope.split_once('/') else { return false };
    let (head, query) = rest.split_once('?').map_or((rest, None), |(head, query)| (head, Some(query)));
    let Some((resource, letters)) = head.split_once('.') else { return false };
    let old = ["read", "write", "*"].contains(&letters);
    let fine = if old { v1 == V1::Listed && query.is_none() } else { is_letters(letters) };
    ["patient", "user", "system"].contains(&level) && fine && reaches(resource, query)
}

/// A subset of `cruds` in that order, and not the empty one (SCOPE-2).
fn is_letters(letters: &str) -> bool {
    let read: Option<Vec<_>> = letters.chars().map(Letter::from_char).collect();
    read.is_some_and(|read| !read.is_empty() && read.is_sorted_by(|one, next| one < next))
}

/// Whether some version has the type, and on it the parameters. Which version is served is checked where a token's
/// scopes are read.
fn reaches(resource: &str, query: Option<&str>) -> bool {
    let whole =
        |pair: &str| pair.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    let query = match query {
        None => SearchQuery::default(),
        Some(query) if query.split('&').all(whole) => match SearchQuery::parse(query) {
            Ok(query) => query,
            Err(_) => return false,
        },
        Some(_) => return false,
    };
    [FhirVersion::R4, FhirVersion::R4B, FhirVersion::R5].into_iter().any(|version| {
        let of = version.resource_type(resource);
        let defines = |code: &str| match of {
            Some(of) => version.search_parameter(of, code).is_some(),
            None => version.resource_types().any(|of| version.search_parameter(of, code).is_some()),
        };
        (of.is_some() || resource == "*")
            && query
                .into_iter()
                .all(|parameter| !JOINING.contains(&parameter.code()) && defines(parameter.code()))
    })
}

/// Parameters that reach into other resources: no scope can be limited by them (SCOPE-48).
const JOINING: [&str; 5] = ["_filter", "_has", "_in", "_list", "_query"];

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
}

/// DISC-3: scheme and authority, and nothing that does not belong into an endpoint's URL.
pub(super) fn is_absolute(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    // `Url` forgives a missing slash or a backslash; clients may not.
    let written =
        ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) && !text.contains('\\');
    let parsed = Url::parse(text).ok().filter(|_| written);
    parsed.is_some_and(|url| {
        url.has_host() && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    })
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// SMART 2.2: an array of objects with a URL and a list of capabilities.
fn is_associated(value: &Value) -> bool {
    value.as_array().is_some_and(|endpoints| {
        endpoints.iter().all(|endpoint| {
            endpoint.get("url").is_some_and(is_absolute)
                && endpoint.get("capabilities").is_none_or(|list| strings(list).is_some())
        })
    })
}

/// SMART 2.2 brands: the value of an identifier, with its system.
fn is_brand(value: &Value) -> bool {
    value.get("value").is_some_and(is_text) && value.get("system").is_none_or(is_text)
}

/// What `access_token_format` says when `[discovery]` does not (IHE IUA 3.103, DISC-13): a JWT is told as one only
/// where it is read as one.
#[must_use]
pub fn access_token_format(validation: Validation) -> &'static str {
    match validation {
        Validation::Both | Validation::Jwt => "ihe-jwt",
        Validation::Introspection => "opaque",
    }
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
                                 "patient/Observation.rs?category=http://a.b%7Cc"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"]
        }))
    }

    fn built(overrides: Value, v1: bool) -> Map<String, Value> {
        smart_configuration(Some(&keycloak()), &object(overrides), SmartFacts { scopes_v1: v1 }).unwrap()
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
            assert!(!has(&document, "scopes_supported", "user/*.read"));
            assert!(has(&document, "scopes_supported", "patient/Observation.rs?category=http://a.b%7Cc"));
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

    /// DISC-11, SCOPE-2 … SCOPE-8: what is listed is enforced, and the neighbour is not listed.
    #[test]
    fn scopes_that_are_enforced() {
        let table = [
            ("patient/*.rs", true),
            ("patient/*.sr", false),
            ("patient/*.rr", false),
            ("patient/*.", false),
            ("patient/*", false),
            ("system/Patient.cruds", true),
            ("system/Patients.cruds", false),
            ("tenant/Patient.r", false),
            ("user/Observation.rs?category=x", true),
            ("user/Observation.rs?category=", false),
            ("user/Observation.rs?nonsense=x", false),
            ("user/Observation.rs?_has:Patient:link:x=y", false),
            ("user/*.rs?_security=R", true),
            ("user/*.rs?nonsense=R", false),
            ("launch/patient", true),
            ("launch/", false),
            ("offline_access", true),
            ("microprofile-jwt", false),
        ];
        let wrong: Vec<_> =
            table.iter().filter(|(scope, listed)| is_enforceable(scope, V1::LeftOut) != *listed).collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
        let own = json!({"scopes_supported": ["user/*.read", "user/*.read?_id=1", "user/*.rs"]});
        assert_eq!(built(own.clone(), true)["scopes_supported"], json!(["user/*.read", "user/*.rs"]));
        assert_eq!(built(own, false)["scopes_supported"], json!(["user/*.rs"]));
        assert!(!built(json!({"scopes_supported": ["roles"]}), true).contains_key("scopes_supported"));
    }

    /// DISC-5, DISC-7, DISC-10: a capability that lacks what it needs is not claimed, whoever lists it.
    #[test]
    fn capabilities_are_true() {
        let all = ["launch-ehr", "launch-standalone", "sso-openid-connect", "made-up", "https://ex.test/cap"];
        let table = [
            (json!({}), vec!["launch-ehr", "launch-standalone", "sso-openid-connect", "https://ex.test/cap"]),
            (
                json!({"authorization_endpoint": "/relative"}),
                vec!["sso-openid-connect", "https://ex.test/cap"],
            ),
            (
                json!({"grant_types_supported": ["client_credentials"]}),
                vec!["sso-openid-connect", "https://ex.test/cap"],
            ),
            (json!({"jwks_uri": "urn:none"}), vec!["launch-ehr", "launch-standalone", "https://ex.test/cap"]),
        ];
        for (overrides, mut expected) in table {
            let mut overrides = object(overrides);
            overrides.insert("capabilities".to_owned(), json!(all));
            let document = built(Value::Object(overrides.clone()), false);
            expected.push("permission-v2");
            assert_eq!(document["capabilities"], json!(expected), "{overrides:?}");
        }
    }

    /// DISC-3, DISC-12: a member of the wrong type or form is not published.
    #[test]
    fn members_have_their_type() {
        let table = [
            ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"]), true),
            ("token_endpoint_auth_methods_supported", json!("private_key_jwt"), false),
            ("token_endpoint_auth_methods_supported", json!(["private_key_jwt", 1]), false),
            ("token_endpoint_auth_signing_alg_values_supported", json!([]), false),
            ("management_endpoint", json!("https://as.test/manage?x=1"), true),
            ("management_endpoint", json!("https:/as.test/manage"), false),
            ("management_endpoint", json!("https://user:pw@as.test/manage"), false),
            ("management_endpoint", json!("https://as.test/manage#x"), false),
            ("management_endpoint", json!("//as.test/manage"), false),
            ("management_endpoint", json!("urn:as:manage"), false),
            ("revocation_endpoint", json!(["https://as.test/revoke"]), false),
            ("access_token_format", json!("ihe-jwt"), true),
            ("access_token_format", json!(["ihe-jwt"]), false),
            (
                "associated_endpoints",
                json!([{"url": "https://b.test/fhir", "capabilities": ["launch-ehr"]}]),
                true,
            ),
            ("associated_endpoints", json!([{"url": "/fhir", "capabilities": ["launch-ehr"]}]), false),
            ("associated_endpoints", json!({"url": "https://b.test/fhir"}), false),
            ("user_access_brand_identifier", json!({"value": "v", "system": "urn:ietf:rfc:3986"}), true),
            ("user_access_brand_identifier", json!({"system": "urn:ietf:rfc:3986"}), false),
        ];
        for (name, value, published) in table {
            let mut metadata = keycloak();
            metadata.insert(name.to_owned(), value.clone());
            let document =
                smart_configuration(Some(&metadata), &Map::new(), SmartFacts { scopes_v1: true }).unwrap();
            assert_eq!(document.get(name), published.then_some(&value), "{name}: {value}");
        }
    }

    /// DISC-6: the grant types are always told.
    #[test]
    fn grant_types_are_told() {
        let table = [
            (json!({"authorization_endpoint": "https://as.test/auth"}), json!(["authorization_code"])),
            (json!({}), json!(["client_credentials"])),
            (
                json!({"grant_types_supported": ["client_credentials", "x"]}),
                json!(["client_credentials", "x"]),
            ),
            (json!({"grant_types_supported": []}), json!(["client_credentials"])),
        ];
        for (mut metadata, expected) in table {
            metadata["token_endpoint"] = json!("https://as.test/token");
            let facts = SmartFacts { scopes_v1: false };
            let document = smart_configuration(metadata.as_object(), &Map::new(), facts).unwrap();
            assert_eq!(document["grant_types_supported"], expected, "{metadata}");
        }
    }

    /// DISC-13.
    #[test]
    fn token_formats() {
        assert_eq!(access_token_format(Validation::Jwt), "ihe-jwt");
        assert_eq!(access_token_format(Validation::Both), "ihe-jwt");
        assert_eq!(access_token_format(Validation::Introspection), "opaque");
    }

    /// DISC-4, DISC-15: overrides alone are enough, and without a token endpoint there is no document.
    #[test]
    fn without_metadata() {
        let facts = SmartFacts { scopes_v1: false };
        let overrides =
            object(json!({"token_endpoint": "https://as.test/token", "access_token_format": "ihe-jwt"}));
        let document = smart_configuration(None, &overrides, facts).unwrap();
        assert_eq!(document["access_token_format"], "ihe-jwt");
        assert_eq!(document["capabilities"], json!(["client-confidential-symmetric", "permission-v2"]));
        assert_eq!(smart_configuration(None, &Map::new(), facts), None);
        let relative = object(json!({"token_endpoint": "//as.test/token"}));
        assert_eq!(smart_configuration(None, &relative, facts), None);
    }
}
