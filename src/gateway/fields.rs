//! Header fields that every answer carries (HTTP-18, HTTP-19, HTTP-23, RESP-8).

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Version};

use crate::config::{IdentityHeaders, Settings};
use crate::discovery::cors::{self, Origins};
use crate::token::Grant;
use crate::upstream::headers::{Forwarded, Ours, PSEUDONYM};

/// How an answer came to be, as far as its fields tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Something was removed or replaced in it.
    Altered,
    /// As the backend or we made it.
    Plain,
}

/// Adds the fields that every answer carries.
pub fn decorate(
    headers: &mut HeaderMap,
    request: &HeaderMap,
    settings: &Settings,
    request_id: &str,
    content: Content,
) {
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if settings.server.tls.is_some() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(year);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if content == Content::Altered {
        let name = HeaderName::from_static("x-intermediary");
        headers.append(name, HeaderValue::from_static(PSEUDONYM));
    }
    headers.append(VARY, HeaderValue::from_static("Authorization, Accept, Prefer"));
    if !headers.contains_key("access-control-allow-origin") {
        cors::decorate(headers, request, Origins::Listed(&settings.cors_origins));
    }
}

/// What the gateway tells the backend with every request, made once.
#[derive(Debug)]
pub struct Standing {
    /// The public authority, and `http` or `https`.
    origin: Option<(HeaderValue, HeaderValue)>,
    names: IdentityHeaders,
}

impl Standing {
    /// By these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let public_url = &settings.server.public_url;
        let proto = HeaderValue::from_static(if public_url.scheme() == "http" { "http" } else { "https" });
        let host = HeaderValue::from_str(public_url.authority()).ok();
        Self { origin: host.map(|host| (host, proto)), names: settings.backend.identity_headers.clone() }
    }

    /// What the gateway tells the backend about a request; what it authenticates with is not among it.
    pub fn ours(
        &self,
        head: &http::request::Parts,
        grant: Option<&Grant>,
        (peer, request_id): (std::net::IpAddr, &str),
    ) -> Ours {
        let forwarded = |(host, proto): &(HeaderValue, HeaderValue)| Forwarded {
            client: peer,
            host: host.clone(),
            proto: proto.clone(),
        };
        Ours {
            authorization: None,
            identity: grant.map(|grant| identity(&self.names, grant)).unwrap_or_default(),
            request_id: HeaderValue::from_str(request_id).ok(),
            // Told with each request to the backend.
            traceparent: None,
            tracestate: None,
            forwarded: self.origin.as_ref().map(forwarded),
            received: if head.version == Version::HTTP_2 { Version::HTTP_2 } else { Version::HTTP_11 },
        }
    }
}

/// Who is asking, in the header fields that the configuration names (HTTP-12).
fn identity(names: &IdentityHeaders, grant: &Grant) -> Vec<(HeaderName, HeaderValue)> {
    let user = || grant.fhir_user().map(ToString::to_string).or_else(|| grant.subject().map(str::to_owned));
    let told: [(_, &dyn Fn() -> Option<String>); 4] = [
        (&names.user, &|| user().as_deref().map(one_word)),
        (&names.patient, &|| grant.patient().map(one_word)),
        (&names.client, &|| grant.client().map(one_word)),
        (&names.scopes, &|| Some(scopes(grant))),
    ];
    // What no field is named for is not written: a grant may have thousands of scopes.
    told.into_iter()
        .filter_map(|(name, value)| Some((name.clone()?, HeaderValue::from_str(&value()?).ok()?)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn scopes(grant: &Grant) -> String {
    let scopes = grant.scopes().granted().iter().map(crate::scope::Scope::written);
    // RFC 6749 §3.3: a scope is visible ASCII, and a space stands between two.
    scopes.filter(|scope| scope.bytes().all(|b| b.is_ascii_graphic())).collect::<Vec<_>>().join(" ")
}

/// What a claim says, in a form that two readers of a header field cannot read as two things, nor two claims as one:
/// whatever is not visible ASCII is percent-encoded (RFC 3986 §2.1), and so are `%` itself and the comma, which parts the
/// values of a list (RFC 9110 §5.6.1). Ids and URLs of FHIR stay as they are.
fn one_word(claim: &str) -> String {
    percent_encoding::utf8_percent_encode(claim, SPECIAL).to_string()
}

const SPECIAL: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'%').add(b',');

#[cfg(test)]
mod tests {
    use super::*;

    /// HTTP-12: no claim becomes another header, another value, or the value of another claim.
    #[test]
    fn claims_in_headers() {
        let table = [
            ("Practitioner/prac-1", "Practitioner/prac-1"),
            ("https://fhir.example/Patient/1|x", "https://fhir.example/Patient/1|x"),
            ("ann@example.org", "ann@example.org"),
            ("Ann M\u{fc}ller", "Ann%20M%C3%BCller"),
            ("a\r\nX-Scopes: system/*.cruds", "a%0D%0AX-Scopes:%20system/*.cruds"),
            ("a\0b\tc\u{7f}", "a%00b%09c%7F"),
            (" admin", "%20admin"),
            ("%20admin", "%2520admin"),
            ("x, admin", "x%2C%20admin"),
            ("\u{202e}nimda", "%E2%80%AEnimda"),
            ("", ""),
        ];
        for (claim, sent) in table {
            assert_eq!(one_word(claim), sent, "{claim:?}");
            assert!(HeaderValue::from_str(sent).is_ok_and(|value| value.to_str().is_ok()), "{sent}");
        }
    }
}
