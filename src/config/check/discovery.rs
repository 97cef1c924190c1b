//! The members of the SMART discovery document that the file sets (DISC-3 … DISC-12).

use serde_json::{Map, Value};
use url::Url;

use super::Check;
use super::web::{PlainHttp, Query};
use crate::config::file::Discovery;
use crate::config::settings::{CAPABILITIES, Profile};
use crate::config::shape::nearest;
use crate::scope::{Reader, Scope};

fn has(list: Option<&Vec<String>>, member: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|item| item == member))
}

impl Check<'_> {
    pub(super) fn discovery(
        &mut self,
        discovery: &Discovery,
        profile: Profile,
        reader: Reader,
    ) -> Option<Map<String, Value>> {
        self.endpoints(discovery);
        self.capabilities(discovery, reader);
        self.scopes_supported(discovery, profile, reader);
        self.methods(discovery);
        self.grants(discovery, profile);
        if profile == Profile::Isik
            && discovery.capabilities.is_some()
            && !has(discovery.capabilities.as_ref(), "permission-v2")
        {
            let mend = "add `\"permission-v2\"`";
            self.wrong(
                "discovery.capabilities",
                "`permission-v2` among them, as ISiK demands (DISC-9)",
                mend,
            );
        }
        match serde_json::to_value(discovery) {
            Ok(Value::Object(members)) => Some(members),
            Ok(_) | Err(_) => None,
        }
    }

    /// DISC-3: every URL is absolute.
    fn endpoints(&mut self, discovery: &Discovery) {
        let endpoints = [
            ("issuer", &discovery.issuer),
            ("jwks_uri", &discovery.jwks_uri),
            ("authorization_endpoint", &discovery.authorization_endpoint),
            ("token_endpoint", &discovery.token_endpoint),
            ("registration_endpoint", &discovery.registration_endpoint),
            ("management_endpoint", &discovery.management_endpoint),
            ("introspection_endpoint", &discovery.introspection_endpoint),
            ("revocation_endpoint", &discovery.revocation_endpoint),
            ("smart_app_state_endpoint", &discovery.smart_app_state_endpoint),
            ("user_access_brand_bundle", &discovery.user_access_brand_bundle),
        ];
        for (name, text) in endpoints {
            let query = if name == "issuer" { Query::Refused } else { Query::Allowed };
            if let Some(text) = text {
                self.url(&format!("discovery.{name}"), text, (PlainHttp::Loopback, query));
            }
        }
        for (i, endpoint) in discovery.associated_endpoints.iter().flatten().enumerate() {
            if let Some(url) = &endpoint.url {
                let key = format!("discovery.associated_endpoints[{}].url", i + 1);
                self.url(&key, url, (PlainHttp::Loopback, Query::Refused));
            }
        }
    }

    /// DISC-7, DISC-9, DISC-10.
    fn capabilities(&mut self, discovery: &Discovery, reader: Reader) {
        let Some(capabilities) = &discovery.capabilities else { return };
        if capabilities.is_empty() {
            self.wrong(
                "discovery.capabilities",
                "at least one capability (DISC-7)",
                "remove the key, or name some",
            );
        }
        for (i, name) in capabilities.iter().enumerate() {
            let key = format!("discovery.capabilities[{}]", i + 1);
            if name == "permission-v1" && !reader.v1 {
                let mend = "remove it, or set `scopes.v1 = true`";
                self.wrong(&key, "a capability this gateway has: `scopes.v1` is off (DISC-9)", mend);
            }
            // Anything else must be a full URI (SMART 2.2, "Capabilities").
            if !CAPABILITIES.contains(&name.as_str()) && Url::parse(name).is_err() {
                let mend = match nearest(name, CAPABILITIES.into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write its full URI if it is an extension".to_owned(),
                };
                self.wrong(&key, "a capability of SMART App Launch 2.2, or a full URI (DISC-7)", mend);
            }
        }
        let sign_in = has(Some(capabilities), "sso-openid-connect");
        if !sign_in && discovery.issuer.is_some() {
            let mend = "remove it, or add `sso-openid-connect` to `capabilities`";
            self.wrong("discovery.issuer", "no issuer without `sso-openid-connect` (DISC-10)", mend);
        }
    }

    /// DISC-11: what is advertised can be enforced.
    fn scopes_supported(&mut self, discovery: &Discovery, profile: Profile, reader: Reader) {
        let Some(scopes) = &discovery.scopes_supported else { return };
        for (i, scope) in scopes.iter().enumerate() {
            let key = format!("discovery.scopes_supported[{}]", i + 1);
            if scope.is_empty() || scope.contains(char::is_whitespace) {
                self.wrong(&key, "one scope (RFC 6749 §3.3)", "list each scope by itself");
            } else if let Some(Err(error)) = Scope::parse(scope, reader) {
                let mend = "write a SMART v2 scope such as `patient/Observation.rs`";
                self.wrong(&key, format!("a scope the gateway enforces ({error})"), mend);
            }
        }
        if profile == Profile::Isik {
            for level in ["patient/", "user/", "system/"] {
                if !scopes.iter().any(|scope| scope.starts_with(level)) {
                    let expected =
                        format!("a scope that starts with `{level}`, as ISiK's test suite demands (DISC-11)");
                    self.wrong(
                        "discovery.scopes_supported",
                        expected,
                        format!("add `\"{level}*.rs\"` or the like"),
                    );
                }
            }
        }
    }

    /// DISC-8: S256 in and `plain` out. DISC-12: strong client assertions.
    fn methods(&mut self, discovery: &Discovery) {
        let methods = discovery.code_challenge_methods_supported.as_ref();
        for (i, method) in methods.into_iter().flatten().enumerate() {
            if method != "S256" {
                let key = format!("discovery.code_challenge_methods_supported[{}]", i + 1);
                let expected =
                    if method == "plain" { "`S256`; never `plain` (DISC-8)" } else { "`S256` (DISC-8)" };
                self.wrong(&key, expected, "write `[\"S256\"]`");
            }
        }
        if methods.is_some_and(Vec::is_empty) {
            let key = "discovery.code_challenge_methods_supported";
            self.wrong(key, "`S256` among them (DISC-8)", "write `[\"S256\"]`");
        }
        let asymmetric = has(discovery.token_endpoint_auth_methods_supported.as_ref(), "private_key_jwt");
        let algorithms = discovery.token_endpoint_auth_signing_alg_values_supported.as_ref();
        if asymmetric && algorithms.is_some() && !has(algorithms, "RS384") && !has(algorithms, "ES384") {
            let key = "discovery.token_endpoint_auth_signing_alg_values_supported";
            self.wrong(
                key,
                "`RS384` or `ES384` among them, for `private_key_jwt` (DISC-12)",
                "add one of the two",
            );
        }
    }

    /// DISC-6: grant types that fit the capabilities.
    fn grants(&mut self, discovery: &Discovery, profile: Profile) {
        let Some(grants) = discovery.grant_types_supported.as_ref() else { return };
        let capabilities = discovery.capabilities.as_ref();
        let launch = has(capabilities, "launch-ehr") || has(capabilities, "launch-standalone");
        let isik = profile == Profile::Isik;
        let demands = [("authorization_code", launch || isik), ("client_credentials", isik)];
        for (grant, _) in demands.into_iter().filter(|(_, demanded)| *demanded) {
            if !has(Some(grants), grant) {
                let expected = format!("`{grant}` among them (DISC-6)");
                self.wrong("discovery.grant_types_supported", expected, format!("add `\"{grant}\"`"));
            }
        }
    }
}
