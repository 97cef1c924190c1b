//! Which header fields cross the gateway, and which it sets itself.
//!
//! Both directions go by allow-list, so hop-by-hop fields, cookies, override and identity headers in any spelling,
//! and whatever a vendor invents tomorrow stay behind (HTTP-1, -2, -5, -11 … -13, -18). What the gateway sets is set
//! last: nothing a client sends can remove or replace it.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ALLOW, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION, RETRY_AFTER, USER_AGENT, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::UpstreamError;
use crate::config::BackendCredentials;

/// How the gateway names itself to other servers: a pseudonym, no host name (HTTP-4).
pub const PSEUDONYM: &str = "pforte";

const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const X_PROGRESS: HeaderName = HeaderName::from_static("x-progress");
const X_INTERMEDIARY: HeaderName = HeaderName::from_static("x-intermediary");
const X_PROVENANCE: HeaderName = HeaderName::from_static("x-provenance");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Request fields that FHIR gives a meaning and that carry no authority (HTTP-18).
const TO_BACKEND: [HeaderName; 11] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_EXIST,
    IF_NONE_MATCH,
    PREFER,
    X_INTERMEDIARY,
    X_PROVENANCE,
];

/// Answer fields that FHIR gives a meaning. Location, Content-Location still carry backend URLs: `release` rewrites
/// them.
const TO_CLIENT: [HeaderName; 13] = [
    ACCEPT_PATCH,
    ALLOW,
    CONTENT_DISPOSITION,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    LOCATION,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    X_INTERMEDIARY,
    X_PROGRESS,
];

/// What the gateway itself tells the backend about a request.
#[derive(Debug, Clone, Default)]
pub struct Ours {
    /// `Authorization`, from [`credentials`].
    pub authorization: Option<HeaderValue>,
    /// Identity headers by the configured names (HTTP-12).
    pub identity: Vec<(HeaderName, HeaderValue)>,
    /// Our id of the request.
    pub request_id: Option<HeaderValue>,
    /// A valid W3C trace context.
    pub traceparent: Option<HeaderValue>,
    /// Its vendors' part, if there is one.
    pub tracestate: Option<HeaderValue>,
    /// The client's address, and the public scheme and authority it used (HTTP-5).
    pub forwarded: Option<Forwarded>,
    /// The version the client spoke, for `Via`.
    pub received: Version,
}

/// What `X-Forwarded-*` says.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// The client's address.
    pub client: IpAddr,
    /// The public authority.
    pub host: HeaderValue,
    /// `https` or `http`.
    pub proto: HeaderValue,
}

/// The fields of a request that may leave: allowed ones of the client's, then ours.
#[must_use]
pub fn outgoing(client: &HeaderMap, ours: &Ours) -> HeaderMap {
    let named = named_by_connection(client);
    let mut out = HeaderMap::new();
    for name in TO_BACKEND.iter().filter(|name| !named.contains(*name) && !ours.sets(name)) {
        for value in client.get_all(name) {
            out.append(name, value.clone());
        }
    }
    // An answer in a coding could not be checked.
    out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    out.insert(USER_AGENT, HeaderValue::from_static(PSEUDONYM));
    out.append(X_INTERMEDIARY, HeaderValue::from_static(PSEUDONYM));
    let via = if ours.received == Version::HTTP_2 { "2 pforte" } else { "1.1 pforte" };
    out.insert(VIA, HeaderValue::from_static(via));
    for (name, value) in [
        (AUTHORIZATION, &ours.authorization),
        (X_REQUEST_ID, &ours.request_id),
        (TRACEPARENT, &ours.traceparent),
        (TRACESTATE, &ours.tracestate),
    ] {
        if let Some(value) = value {
            out.insert(name, value.clone());
        }
    }
    if let Some(forwarded) = &ours.forwarded {
        if let Ok(client) = HeaderValue::from_str(&forwarded.client.to_string()) {
            out.insert(X_FORWARDED_FOR, client);
        }
        out.insert(X_FORWARDED_HOST, forwarded.host.clone());
        out.insert(X_FORWARDED_PROTO, forwarded.proto.clone());
    }
    for (name, value) in &ours.identity {
        out.insert(name, value.clone());
    }
    out
}

impl Ours {
    /// Whether a client's field has the name of an identity header, so that the client's copy must not pass even when
    /// this request sets none.
    fn sets(&self, name: &HeaderName) -> bool {
        self.identity.iter().any(|(ours, _)| ours == name)
    }
}

/// The fields of an answer that may be shown.
///
/// # Errors
/// A content coding: we asked for none, so what it hides could not be checked.
pub fn incoming(backend: &HeaderMap) -> Result<HeaderMap, UpstreamError> {
    for coding in backend.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(UpstreamError::Encoded(String::from_utf8_lossy(coding.as_bytes()).into_owned()));
        }
    }
    let named = named_by_connection(backend);
    let mut out = HeaderMap::new();
    for name in TO_CLIENT.iter().filter(|name| !named.contains(*name)) {
        for value in backend.get_all(name) {
            out.append(name, value.clone());
        }
    }
    Ok(out)
}

/// Fields that `Connection` makes hop-by-hop (RFC 9110 §7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(http::header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// The `Authorization` that the backend wants. `token` is the field for kinds whose token is not in the settings: the
/// client's own for `forward`, an issued one (see [`bearer`]) for the others.
///
/// # Errors
/// Such a kind without a token; otherwise credentials that no header can hold.
pub fn credentials(
    configured: &BackendCredentials,
    token: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, UpstreamError> {
    match configured {
        BackendCredentials::None => Ok(None),
        BackendCredentials::ClientCredentials(_)
        | BackendCredentials::Forward
        | BackendCredentials::TokenExchange(_) => {
            let mut token = token.cloned().ok_or(UpstreamError::WithoutToken)?;
            token.set_sensitive(true);
            Ok(Some(token))
        }
        BackendCredentials::Basic { username, password } => {
            secret(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
                .map(Some)
        }
        BackendCredentials::Bearer { token } => bearer(token.reveal()).map(Some),
    }
}

/// The field for a bearer token (RFC 6750 §2.1).
///
/// # Errors
/// A token that no header can hold.
pub fn bearer(token: &str) -> Result<HeaderValue, UpstreamError> {
    secret(format!("Bearer {token}"))
}

fn secret(written: String) -> Result<HeaderValue, UpstreamError> {
    let mut value = HeaderValue::try_from(written)
        .map_err(|_unprintable| UpstreamError::Target("the credentials are no header value".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        map
    }

    fn ours() -> Ours {
        Ours {
            authorization: Some(HeaderValue::from_static("Basic b3Vycw==")),
            identity: vec![(HeaderName::from_static("x-patient-id"), HeaderValue::from_static("p1"))],
            request_id: Some(HeaderValue::from_static("r1")),
            traceparent: Some(HeaderValue::from_static("00-ours")),
            tracestate: None,
            forwarded: Some(Forwarded {
                client: IpAddr::from([192, 0, 2, 1]),
                host: HeaderValue::from_static("gw.test"),
                proto: HeaderValue::from_static("https"),
            }),
            received: Version::HTTP_11,
        }
    }

    /// HTTP-1, -2, -5, -11, -12, -13, -18 and the hostile class `header`: what a client's field becomes.
    #[test]
    fn requests() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("accept", "application/fhir+json", Some("application/fhir+json")),
            (
                "content-type",
                "application/fhir+json; fhirVersion=4.0",
                Some("application/fhir+json; fhirVersion=4.0"),
            ),
            ("if-match", "W/\"1\"", Some("W/\"1\"")),
            ("if-none-exist", "identifier=a", Some("identifier=a")),
            ("if-none-match", "W/\"1\"", Some("W/\"1\"")),
            ("prefer", "return=minimal", Some("return=minimal")),
            ("accept-encoding", "br", Some("identity")),
            ("authorization", "Bearer t", Some("Basic b3Vycw==")),
            ("via", "1.0 evil", Some("1.1 pforte")),
            ("x-forwarded-for", "127.0.0.1", Some("192.0.2.1")),
            ("x-forwarded-host", "evil.test", Some("gw.test")),
            ("x-forwarded-proto", "http", Some("https")),
            ("x-patient-id", "p2", Some("p1")),
            ("x-request-id", "forged", Some("r1")),
            ("x_patient_id", "p2", None),
            ("traceparent", "00-theirs", Some("00-ours")),
            ("tracestate", "a=1", None),
            // It may say anything, of a patient too.
            ("baggage", "patient=p1", None),
            ("x-gateway-scopes", "system/*.cruds", None),
            ("x-auth-request-user", "admin", None),
            ("forwarded", "for=127.0.0.1", None),
            ("x-real-ip", "127.0.0.1", None),
            ("x-forwarded-prefix", "/x", None),
            ("x-original-url", "/fhir/Patient/p2", None),
            ("x-http-method-override", "DELETE", None),
            ("x-security-context", "Patient/p1", None),
            // Only what policy read and permitted gets here (REST-24).
            ("x-provenance", "{}", Some("{}")),
            ("cookie", "session=1", None),
            // TOK-61, TOK-67.
            ("dpop", "proof", None),
            ("client-cert", ":AAAA:", None),
            ("x-ssl-client-cert", "-----BEGIN%20CERTIFICATE-----", None),
            ("range", "bytes=0-1", None),
            ("te", "trailers", None),
            ("trailer", "authorization", None),
            ("keep-alive", "timeout=5", None),
            ("proxy-authorization", "Basic eA==", None),
            ("transfer-encoding", "chunked", None),
            ("upgrade", "h2c", None),
            ("max-forwards", "3", None),
            ("origin", "https://app.test", None),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|row| (row, outgoing(&map(&[(row.0, row.1)]), &ours())))
            .filter(|(row, out)| {
                let values: Vec<_> = out.get_all(row.0).iter().collect();
                values != row.2.iter().collect::<Vec<_>>()
            })
            .collect();
        assert!(wrong.is_empty(), "misrouted: {wrong:#?}");
    }

    /// HTTP-2: `Connection` takes the client's fields, never ours.
    #[test]
    fn connection_names_fields() {
        let out = outgoing(
            &map(&[
                ("connection", "close, Prefer, x-patient-id, authorization"),
                ("prefer", "a"),
                ("accept", "b"),
            ]),
            &ours(),
        );
        let kept = |name: &str| out.get(name).and_then(|v| v.to_str().ok());
        assert_eq!((kept("prefer"), kept("accept"), kept("connection")), (None, Some("b"), None));
        assert_eq!((kept("x-patient-id"), kept("authorization")), (Some("p1"), Some("Basic b3Vycw==")));
    }

    /// HTTP-12: a client's identity fields never pass: not twice, not when there is nothing to put in their place.
    #[test]
    fn identity_is_ours_to_tell() {
        let forged = map(&[
            ("x-patient-id", "p2"),
            ("X-Patient-ID", "p3"),
            ("x_patient_id", "p4"),
            ("connection", "x-patient-id"),
        ]);
        let told = outgoing(&forged, &ours());
        assert_eq!(told.get_all("x-patient-id").iter().collect::<Vec<_>>(), ["p1"]);
        let nobody = Ours { identity: Vec::new(), ..ours() };
        let told = outgoing(&forged, &nobody);
        assert!(!told.contains_key("x-patient-id") && !told.contains_key("x_patient_id"), "{told:?}");
    }

    /// HTTP-23: an incoming value is kept, ours appended.
    #[test]
    fn intermediaries() {
        let out = outgoing(&map(&[("x-intermediary", "proxy.test")]), &ours());
        assert_eq!(out.get_all("x-intermediary").iter().collect::<Vec<_>>(), ["proxy.test", "pforte"]);
    }

    #[test]
    fn answers() {
        let table: &[(&str, &str, bool)] = &[
            ("content-type", "application/fhir+json", true),
            ("etag", "W/\"1\"", true),
            ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT", true),
            ("location", "http://upstream.internal/fhir/Patient/1", true),
            ("content-location", "http://upstream.internal/fhir/Patient/1", true),
            ("retry-after", "3", true),
            ("content-disposition", "attachment", true),
            ("server", "Jetty", false),
            ("x-powered-by", "HAPI FHIR", false),
            ("set-cookie", "a=b", false),
            ("www-authenticate", "Basic realm=x", false),
            ("via", "1.1 internal", false),
            ("cache-control", "public", false),
            ("access-control-allow-origin", "*", false),
            ("transfer-encoding", "chunked", false),
            ("connection", "close", false),
            ("trailer", "etag", false),
            ("content-length", "10", false),
            ("alt-svc", "h3=\":443\"", false),
        ];
        let wrong: Vec<_> = table
            .iter()
            .filter(|row| incoming(&map(&[(row.0, row.1)])).unwrap().contains_key(row.0) != row.2)
            .collect();
        assert!(wrong.is_empty(), "misrouted: {wrong:#?}");
    }

    #[test]
    fn codings_fail() {
        assert!(incoming(&map(&[("content-encoding", "identity")])).is_ok());
        let gzip = incoming(&map(&[("content-encoding", "gzip")]));
        assert_eq!(gzip, Err(UpstreamError::Encoded("gzip".to_owned())));
    }

    #[test]
    fn backend_credentials() {
        let secret = |s: &str| Secret::new(s.to_owned());
        let basic = BackendCredentials::Basic { username: "u".to_owned(), password: secret("p") };
        let bearer = BackendCredentials::Bearer { token: secret("t") };
        let client = HeaderValue::from_static("Bearer client");
        let given = |c: &BackendCredentials, token| {
            credentials(c, token).map(|v| v.map(|v| v.to_str().unwrap_or_default().to_owned()))
        };
        let text = |s: &str| Ok(Some(s.to_owned()));
        assert_eq!(given(&BackendCredentials::None, Some(&client)), Ok(None));
        assert_eq!(given(&basic, Some(&client)), text("Basic dTpw"));
        assert_eq!(given(&bearer, Some(&client)), text("Bearer t"));
        assert_eq!(given(&BackendCredentials::Forward, Some(&client)), text("Bearer client"));
        assert_eq!(given(&BackendCredentials::Forward, None), Err(UpstreamError::WithoutToken));
        let broken = BackendCredentials::Bearer { token: secret("a\nb") };
        assert!(given(&broken, None).is_err());
    }
}
