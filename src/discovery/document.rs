//! A public JSON document as it is served, and the smaller ones.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::cors::{self, Origins};
use super::smart::is_absolute;

/// How long clients may keep a document: SMART has no rule, and changes should be seen soon (DISC-15).
const MAX_AGE: &str = "public, max-age=300";

/// A document ready to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    body: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// Prints a JSON object once, for all who ask.
    #[must_use]
    pub fn new(members: Map<String, Value>) -> Self {
        let body = Bytes::from(Value::Object(members).to_string());
        let hash = digest(&SHA256, &body);
        let tag: String = hash.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { body, etag }
    }

    /// The JSON text.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Answers a request for it: JSON whatever `Accept` says (DISC-2), any origin (DISC-14), GET and HEAD only
    /// (DISC-16).
    #[must_use]
    pub fn answer(&self, method: &Method, request: &HeaderMap) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        if cors::is_preflight(method, request) {
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().extend(cors::preflight(request, Origins::Any));
            return response;
        }
        response.headers_mut().extend(cors::headers(request, Origins::Any));
        if *method != Method::GET && *method != Method::HEAD {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            return response;
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(MAX_AGE));
        if self.known_to(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        if *method == Method::GET {
            *response.body_mut() = self.body.clone();
        }
        response
    }

    fn known_to(&self, request: &HeaderMap) -> bool {
        let tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let ours = self.etag.to_str().unwrap_or_default();
        tags.flat_map(|list| list.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag == ours)
    }
}

/// Which bindings of tokens this gateway checks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bindings<'a> {
    /// Algorithms of DPoP proofs; absent: none is accepted.
    pub proof_algorithms: Option<&'a [&'a str]>,
    /// Whether a client can show its certificate.
    pub certificates: bool,
}

/// Protected-resource metadata (RFC 9728 §2, DISC-20).
#[must_use]
pub fn protected_resource(
    public_base: &str,
    issuers: &[String],
    scopes: Option<&Value>,
    bindings: Bindings<'_>,
) -> Document {
    let mut members = Map::new();
    members.insert("resource".to_owned(), json!(public_base));
    members.insert("authorization_servers".to_owned(), json!(issuers));
    if let Some(scopes) = scopes {
        members.insert("scopes_supported".to_owned(), scopes.clone());
    }
    members.insert("bearer_methods_supported".to_owned(), json!(["header"]));
    if let Some(algorithms) = bindings.proof_algorithms {
        members.insert("dpop_signing_alg_values_supported".to_owned(), json!(algorithms));
    }
    let certificates = json!(bindings.certificates);
    members.insert("tls_client_certificate_bound_access_tokens".to_owned(), certificates);
    Document::new(members)
}

/// Where [`protected_resource`] is served: the well-known segment goes between host and path (RFC 9728 §3).
#[must_use]
pub fn oauth_protected_resource_path(public_url: &Url) -> String {
    format!("/.well-known/oauth-protected-resource{}", public_url.path().trim_end_matches('/'))
}

/// The authorization server's own metadata under the FHIR base, for clients that look there. Nothing when a URL in it
/// is not absolute (DISC-3).
#[must_use]
pub fn openid_configuration(metadata: &Map<String, Value>) -> Option<Document> {
    let url = |name: &str| name.ends_with("_endpoint") || name.ends_with("_uri") || name == "issuer";
    let sound = metadata.iter().filter(|(name, _)| url(name)).all(|(_, value)| is_absolute(value));
    sound.then(|| Document::new(metadata.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::new(json!({"token_endpoint": "https://as.test/token"}).as_object().unwrap().clone())
    }

    fn asked(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap())
        };
        fields.iter().map(pair).collect()
    }

    /// DISC-2, -14, -15, -16.
    #[test]
    fn answers() {
        let etag = document().etag;
        let etag = etag.to_str().unwrap();
        let weak = format!("\"other\", W/{etag}");
        let preflight = [("origin", "https://app.test"), ("access-control-request-method", "GET")];
        type Fields<'a> = &'a [(&'static str, &'a str)];
        let table: &[(Method, Fields<'_>, u16, bool)] = &[
            (Method::GET, &[], 200, true),
            (Method::GET, &[("accept", "text/html")], 200, true),
            (Method::GET, &[("accept", "application/xml;q=1, application/json;q=0")], 200, true),
            (Method::HEAD, &[], 200, false),
            (Method::GET, &[("if-none-match", etag)], 304, false),
            (Method::GET, &[("if-none-match", &weak)], 304, false),
            (Method::GET, &[("if-none-match", "\"other\"")], 200, true),
            (Method::POST, &[], 405, false),
            (Method::DELETE, &[], 405, false),
            (Method::OPTIONS, &[], 405, false),
            (Method::OPTIONS, &preflight, 204, false),
        ];
        for (method, fields, status, body) in table {
            let answer = document().answer(method, &asked(fields));
            assert_eq!(
                (answer.status().as_u16(), !answer.body().is_empty()),
                (*status, *body),
                "{method} with {fields:?}"
            );
            if *status == 200 {
                assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
                assert_eq!(answer.headers()[CONTENT_LENGTH], document().body().len().to_string());
            }
            assert_eq!(answer.headers().contains_key(ALLOW), *status == 405);
        }
        let cross = document().answer(&Method::GET, &asked(&[("origin", "https://app.test")]));
        assert_eq!(cross.headers()["access-control-allow-origin"], "*");
    }

    /// RFC 9728 §3.
    #[test]
    fn protected_resource_document() {
        let path = |url: &str| oauth_protected_resource_path(&Url::parse(url).unwrap());
        assert_eq!(path("https://gw.test/fhir/r4"), "/.well-known/oauth-protected-resource/fhir/r4");
        assert_eq!(path("https://gw.test"), "/.well-known/oauth-protected-resource");
        let document = protected_resource(
            "https://gw.test/fhir",
            &["https://as.test".to_owned()],
            None,
            Bindings { proof_algorithms: Some(&["ES256"]), certificates: true },
        );
        let read: Value = serde_json::from_slice(document.body()).unwrap();
        assert_eq!(
            read,
            json!({"resource": "https://gw.test/fhir", "authorization_servers": ["https://as.test"],
                   "bearer_methods_supported": ["header"], "dpop_signing_alg_values_supported": ["ES256"],
                   "tls_client_certificate_bound_access_tokens": true})
        );
        let scopes = json!(["openid"]);
        let plain = protected_resource("https://gw.test/fhir", &[], Some(&scopes), Bindings::default());
        let read: Value = serde_json::from_slice(plain.body()).unwrap();
        assert_eq!(read["tls_client_certificate_bound_access_tokens"], json!(false));
        assert_eq!(
            (&read["scopes_supported"], read.get("dpop_signing_alg_values_supported")),
            (&json!(["openid"]), None)
        );
    }

    #[test]
    fn openid_urls_are_absolute() {
        let of = |value: Value| openid_configuration(value.as_object().unwrap()).is_some();
        assert!(of(json!({"issuer": "https://as.test", "jwks_uri": "https://as.test/jwks"})));
        assert!(!of(json!({"issuer": "https://as.test", "jwks_uri": "/jwks"})));
    }
}
