//! Which browser apps may call (DISC-14, HTTP-20).
//!
//! Credentials are never allowed across origins: tokens travel in `Authorization`, cookies nowhere. `null` is no
//! origin, because every sandboxed page has it.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

const REQUEST_FIELDS: &str =
    "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, X-Request-Id, DPoP";
const ANSWER_FIELDS: &str = "Location, Content-Location, ETag, Last-Modified, WWW-Authenticate, X-Request-Id, DPoP-Nonce, Retry-After";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// Whose scripts may read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origins<'a> {
    /// Anybody's: public documents.
    Any,
    /// Those of these origins, compared exactly: FHIR endpoints.
    Listed(&'a [String]),
}

/// Whether a request is a preflight, which is answered here and never forwarded.
#[must_use]
pub fn is_preflight(method: &Method, request: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && request.contains_key(ORIGIN)
        && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Fields to add to every answer, refusals included.
#[must_use]
pub fn headers(request: &HeaderMap, origins: Origins<'_>) -> HeaderMap {
    let mut out = allow(request, origins);
    if out.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        out.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_FIELDS));
    }
    out
}

/// The fields of the 204 that answers a preflight. An origin that is not allowed gets no permission in them.
#[must_use]
pub fn preflight(request: &HeaderMap, origins: Origins<'_>) -> HeaderMap {
    let mut out = allow(request, origins);
    if out.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        out.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_FIELDS));
        out.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    out
}

fn allow(request: &HeaderMap, origins: Origins<'_>) -> HeaderMap {
    let mut out = HeaderMap::new();
    let mut given = request.get_all(ORIGIN).iter();
    let one = given.next().filter(|_| given.next().is_none());
    match origins {
        Origins::Any => {
            if one.is_some() {
                out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
        }
        Origins::Listed(list) => {
            // Also without an Origin: a cache must not give this answer to a request that has one.
            out.insert(VARY, HeaderValue::from_static("Origin"));
            let known = |origin: &&HeaderValue| {
                origin.as_bytes() != b"null" && list.iter().any(|one| one.as_bytes() == origin.as_bytes())
            };
            if let Some(origin) = one.filter(known) {
                out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origins: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for origin in origins {
            map.append(ORIGIN, HeaderValue::try_from(*origin).unwrap());
        }
        map.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
        map
    }

    /// DISC-14, HTTP-20.
    #[test]
    fn allowed_origins() {
        let list = ["https://app.test".to_owned(), "null".to_owned()];
        let listed = Origins::Listed(&list);
        let table: &[(&[&str], Origins<'_>, Option<&str>)] = &[
            (&["https://app.test"], Origins::Any, Some("*")),
            (&["null"], Origins::Any, Some("*")),
            (&[], Origins::Any, None),
            (&["https://app.test"], listed, Some("https://app.test")),
            (&["https://app.test:443"], listed, None),
            (&["https://app.test.evil"], listed, None),
            (&["http://app.test"], listed, None),
            (&["null"], listed, None),
            (&["https://app.test", "https://app.test"], listed, None),
            (&[], listed, None),
        ];
        let wrong: Vec<_> = table
            .iter()
            .filter(|row| {
                [headers(&request(row.0), row.1), preflight(&request(row.0), row.1)].iter().any(|out| {
                    out.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(HeaderValue::as_bytes)
                        != row.2.map(str::as_bytes)
                        || out.contains_key("access-control-allow-credentials")
                        || out.contains_key(VARY) != (row.1 == listed)
                })
            })
            .collect();
        assert!(wrong.is_empty(), "misjudged: {wrong:?}");
    }

    #[test]
    fn what_is_a_preflight() {
        assert!(is_preflight(&Method::OPTIONS, &request(&["https://app.test"])));
        assert!(!is_preflight(&Method::GET, &request(&["https://app.test"])));
        assert!(!is_preflight(&Method::OPTIONS, &request(&[])));
    }
}
