//! Which browser apps may call (DISC-14, HTTP-20).
//!
//! Credentials are never allowed across origins: tokens travel in `Authorization`, cookies nowhere. `null` is no
//! origin, because every sandboxed page has it.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const REQUEST_FIELDS: &str =
    "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, X-Request-Id, DPoP";
const ANSWER_FIELDS: &str = "Location, Content-Location, ETag, Last-Modified, WWW-Authenticate, X-Request-Id, DPoP-Nonce, Retry-After";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const PUBLIC_METHODS: &str = "GET, HEAD";

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

/// Puts [`headers`] on an answer, refusals and failures included. What the answer said about origins before is taken
/// out, because nobody but us knows ours; what it varies by stays.
pub fn decorate(answer: &mut HeaderMap, request: &HeaderMap, origins: Origins<'_>) {
    let before = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    while let Some(name) = answer.keys().find(before).cloned() {
        answer.remove(name);
    }
    if matches!(origins, Origins::Listed(_)) && !request.contains_key(ORIGIN) {
        // Most requests come from no browser: the same as below, and no map is made for it.
        if !varies_by_origin(answer) {
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        return;
    }
    let mut ours = headers(request, origins);
    if let Some(origin) = ours.remove(VARY).filter(|_| !varies_by_origin(answer)) {
        answer.append(VARY, origin);
    }
    answer.extend(ours);
}

fn varies_by_origin(answer: &HeaderMap) -> bool {
    let said = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("origin"))
}

/// The fields of the 204 that answers a preflight. An origin that is not allowed gets no permission in them.
#[must_use]
pub fn preflight(request: &HeaderMap, origins: Origins<'_>) -> HeaderMap {
    let mut out = allow(request, origins);
    if out.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        let methods = match origins {
            Origins::Any => PUBLIC_METHODS,
            Origins::Listed(_) => METHODS,
        };
        out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
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
            // Also without an Origin: a shared cache may keep a public document and give it to a browser.
            out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
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
            (&[], Origins::Any, Some("*")),
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

    /// HTTP-20: `Vary` is added to, foreign permissions are taken out, and twice is once.
    #[test]
    fn answers_are_decorated() {
        let list = ["https://app.test".to_owned()];
        let listed = Origins::Listed(&list);
        let table: &[(&[&str], Origins<'_>, Option<&str>, &str)] = &[
            (&["https://app.test"], listed, Some("https://app.test"), "Accept, Origin"),
            (&["https://evil.test"], listed, None, "Accept, Origin"),
            (&["null"], listed, None, "Accept, Origin"),
            (&[], listed, None, "Accept, Origin"),
            (&["https://evil.test"], Origins::Any, Some("*"), "Accept"),
        ];
        for (given, origins, allowed, vary) in table {
            let mut answer = HeaderMap::new();
            for (name, value) in [
                (VARY, "Accept"),
                (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
                (http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            ] {
                answer.insert(name, HeaderValue::from_static(value));
            }
            decorate(&mut answer, &request(given), *origins);
            let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
            assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(text).as_deref(), *allowed, "{given:?}");
            assert_eq!(answer.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), allowed.is_some(), "{given:?}");
            assert!(!answer.contains_key("access-control-allow-credentials"), "{given:?}");
            let all: Vec<_> = answer.get_all(VARY).iter().map(text).collect();
            assert_eq!(all.join(", "), *vary, "{given:?}");
            let before = answer.clone();
            decorate(&mut answer, &request(given), *origins);
            assert_eq!(answer, before);
        }
    }

    /// DISC-16, HTTP-20: what a preflight permits.
    #[test]
    fn preflights_permit_methods() {
        let list = ["https://app.test".to_owned()];
        let methods = |origins| {
            let out = preflight(&request(&["https://app.test"]), origins);
            out[ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap().to_owned()
        };
        assert_eq!(methods(Origins::Any), "GET, HEAD");
        assert_eq!(methods(Origins::Listed(&list)), "GET, HEAD, POST, PUT, PATCH, DELETE");
    }

    #[test]
    fn what_is_a_preflight() {
        assert!(is_preflight(&Method::OPTIONS, &request(&["https://app.test"])));
        assert!(!is_preflight(&Method::GET, &request(&["https://app.test"])));
        assert!(!is_preflight(&Method::OPTIONS, &request(&[])));
    }
}
