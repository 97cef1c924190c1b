//! Whether an authorization server answers about tokens as it must, and supports what the file rests on.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::Serializer;

use super::probe::{Report, ask};
use crate::config::{
    AuthorizationServer, ClientCertificates, IntrospectionResponse, IssuerClient, IssuerClientAuth, Settings,
    Validation,
};
use crate::fhir::FhirVersion;
use crate::issuer::Issuers;
use crate::oauth::Authentication;
use crate::scope::Reader;
use crate::token::{AccessToken, Presented, Reading, TokenError};

/// A token that nobody has issued; not secret, only unlikely.
pub(super) const UNKNOWN_TOKEN: &str = "pforte-check-6f1c0c3e9a7d4b52";

/// TOK-40, TOK-41: the gateway may ask, and a token that nobody issued is not active.
pub(super) async fn introspection(
    http: &Client,
    (server, own): (&AuthorizationServer, &IssuerClient),
    metadata: &Map<String, Value>,
    report: &mut Report,
) {
    if server.introspection_response == IntrospectionResponse::Jwt {
        return signed(server, own, report).await;
    }
    let Some(url) = endpoint(server, own, metadata) else {
        return report.misfit("no `introspection_endpoint` in the metadata; set `introspection_url`");
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("token", UNKNOWN_TOKEN).append_pair("token_type_hint", "access_token");
    let authorization = match Authentication::new(own).and_then(|own| own.apply(&mut form, &server.issuer)) {
        Ok(authorization) => authorization,
        Err(error) => return report.misfit(format_args!("introspection at {url}: {error}")),
    };
    let mut request = http
        .post(url.clone())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish());
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let answer = match ask(request).await {
        Ok(answer) => answer,
        Err(problem) => {
            return report
                .misfit(format_args!("introspection at {url}: {problem}; mend `introspection_url`"));
        }
    };
    match (answer.status, answer.json().get("active")) {
        (200, Some(Value::Bool(false))) => report.fits(format_args!("introspection as `{}`", own.id)),
        (200, Some(Value::Bool(true))) => report.misfit(format_args!(
            "introspection at {url} calls a token active that nobody issued; do not trust this server"
        )),
        (400 | 401 | 403, _) => report.misfit(format_args!(
            "introspection refuses the client `{}` with status {}; check its id, secret and `auth`, and that it may \
             introspect",
            own.id, answer.status
        )),
        (status, _) => report.misfit(format_args!(
            "introspection at {url}: status {status} without `active` (RFC 7662 §2.2); mend `introspection_url`"
        )),
    }
}

/// With a certificate, the address for such clients comes first (RFC 8705 §5).
fn endpoint(server: &AuthorizationServer, own: &IssuerClient, metadata: &Map<String, Value>) -> Option<Url> {
    let member = "introspection_endpoint";
    let alias = || metadata.get("mtls_endpoint_aliases")?.get(member);
    let alias = if matches!(own.auth, IssuerClientAuth::Tls(_)) { alias() } else { None };
    let told = alias.or_else(|| metadata.get(member)).and_then(Value::as_str);
    server.introspection_url.clone().or_else(|| Url::parse(told?).ok())
}

/// RFC 9701: asked as the gateway asks, so that what it would refuse is refused here.
async fn signed(server: &AuthorizationServer, own: &IssuerClient, report: &mut Report) {
    let asking =
        AuthorizationServer { validation: Validation::Introspection, opaque: true, ..server.clone() };
    // Nothing is read from an inactive answer.
    let scopes = Reader { version: FhirVersion::R4, v1: true };
    let reading = Reading { scopes, base: String::new() };
    let issuers = match Issuers::new(&[asking], &reading, None) {
        Ok(issuers) => issuers,
        Err(error) => return report.misfit(format_args!("introspection: {error}")),
    };
    let Ok(token) = AccessToken::new(UNKNOWN_TOKEN) else { return };
    match issuers.verify(&Presented::Bearer(token), now()).await {
        Err(TokenError::Inactive { .. }) => {
            report.fits(format_args!("signed introspection as `{}`", own.id));
        }
        Err(error) => report.misfit(format_args!(
            "{}; make it sign its answers for `{}` (RFC 9701), or write `introspection_response = \"json\"`",
            error.detail(),
            own.id
        )),
        Ok(_) => {
            report.misfit("introspection calls a token active that nobody issued; do not trust this server");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no request whose time could be taken")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// What the file rests on and the metadata does not promise: worth a look, for metadata need not say everything.
pub(super) fn support(
    metadata: &Map<String, Value>,
    server: &AuthorizationServer,
    settings: &Settings,
    report: &mut Report,
) {
    if metadata.is_empty() {
        return;
    }
    let methods = metadata.get("introspection_endpoint_auth_methods_supported").and_then(Value::as_array);
    if let (Some(methods), Some(own)) = (methods, &server.client)
        && server.validation != Validation::Jwt
    {
        let names: &[&str] = match own.auth {
            IssuerClientAuth::PrivateKeyJwt(_) => &["private_key_jwt"],
            IssuerClientAuth::SecretBasic(_) => &["client_secret_basic"],
            IssuerClientAuth::SecretPost(_) => &["client_secret_post"],
            IssuerClientAuth::Tls(_) => &["tls_client_auth", "self_signed_tls_client_auth"],
        };
        if !methods.iter().filter_map(Value::as_str).any(|method| names.contains(&method)) {
            report.note(format_args!(
                "clients that introspect by `{}` are not in its metadata",
                names.join("`, `")
            ));
        }
    }
    let says = |member: &str| metadata.get(member).is_some_and(|value| *value != Value::Bool(false));
    if settings.dpop.enabled && settings.dpop.nonce && !says("dpop_signing_alg_values_supported") {
        report.note("`dpop.nonce = \"required\"`, but its metadata says nothing of DPoP (RFC 9449 §5.1)");
    }
    let required = settings
        .server
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_certificates == ClientCertificates::Required);
    if required && !says("tls_client_certificate_bound_access_tokens") {
        report.note(
            "clients must present certificates, but its metadata says nothing of tokens bound to them (RFC 8705 §3.3)",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::config::tests::settings;
    use serde_json::json;

    /// RFC 8705 §5: the alias is for clients with a certificate only, and the file comes first.
    #[test]
    fn where_it_is_asked() {
        let metadata = json!({
            "introspection_endpoint": "https://as.test/a",
            "mtls_endpoint_aliases": {"introspection_endpoint": "https://as.test/b"}
        });
        let metadata = metadata.as_object().expect("an object");
        let files = crate::config::CertificateFiles { certificate: "c".into(), key: "k".into() };
        let own = |auth| IssuerClient { id: "pforte".to_owned(), auth };
        let secret = own(IssuerClientAuth::SecretBasic(Secret::new("s".to_owned())));
        let certificate = own(IssuerClientAuth::Tls(files));
        let mut server = settings("").authorization_servers.remove(0);
        let asked = |server: &AuthorizationServer, own: &IssuerClient| {
            endpoint(server, own, metadata).map(|url| url.to_string())
        };
        assert_eq!(asked(&server, &secret).as_deref(), Some("https://as.test/a"));
        assert_eq!(asked(&server, &certificate).as_deref(), Some("https://as.test/b"));
        server.introspection_url = Url::parse("https://as.test/c").ok();
        assert_eq!(asked(&server, &certificate).as_deref(), Some("https://as.test/c"));
    }

    /// Only what the file rests on is missed.
    #[test]
    fn what_is_missing_is_noted_where_it_is_needed() {
        let mut settings = settings("");
        let mut server = settings.authorization_servers.remove(0);
        let auth = IssuerClientAuth::SecretBasic(Secret::new("s".to_owned()));
        server.client = Some(IssuerClient { id: "pforte".to_owned(), auth });
        server.validation = Validation::Both;
        let notes = |metadata: &Value, server: &AuthorizationServer, settings: &Settings| {
            let mut report = Report::default();
            support(metadata.as_object().expect("an object"), server, settings, &mut report);
            assert_eq!(report.misfits(), 0);
            format!("{report:?}").matches("Note").count()
        };
        let silent = json!({"issuer": "x"});
        let other = json!({"introspection_endpoint_auth_methods_supported": ["private_key_jwt"]});
        let same = json!({"introspection_endpoint_auth_methods_supported": ["client_secret_basic"]});
        for (metadata, expected) in [(&silent, 0), (&other, 1), (&same, 0)] {
            assert_eq!(notes(metadata, &server, &settings), expected, "{metadata}");
        }
        server.validation = Validation::Jwt;
        assert_eq!(notes(&other, &server, &settings), 0);
        settings.dpop.nonce = true;
        let proofs = json!({"dpop_signing_alg_values_supported": ["ES256"]});
        assert_eq!((notes(&silent, &server, &settings), notes(&proofs, &server, &settings)), (1, 0));
    }
}
