//! Addresses: backend ones become public, cursors leave sealed, foreign links go (RESP-6, SRCH-24, SRCH-25, SRCH-26).

use pforte::release::Credentials;

use crate::setting::*;

const READER: &str = "system/Observation.rs";

/// RESP-6: structurally, in both formats, and nowhere else.
#[test]
fn addresses_in_bodies() {
    let table = [
        (
            r#"{"resourceType":"Observation","id":"1","subject":{"reference":"http://upstream.internal/fhir/Patient/1"}}"#,
            r#"{"resourceType":"Observation","id":"1","subject":{"reference":"https://gw.test/fhir/Patient/1"}}"#,
        ),
        (
            r#"{"resourceType":"Observation","id":"1","subject":{"reference":"http:\/\/upstream.internal\/fhir\/Patient\/1"}}"#,
            r#"{"resourceType":"Observation","id":"1","subject":{"reference":"https://gw.test/fhir\/Patient\/1"}}"#,
        ),
        (
            r#"<Observation xmlns="http://hl7.org/fhir"><id value="1"/><subject><reference value="http://upstream.internal/fhir/Patient/1"/></subject></Observation>"#,
            r#"<Observation xmlns="http://hl7.org/fhir"><id value="1"/><subject><reference value="https://gw.test/fhir/Patient/1"/></subject></Observation>"#,
        ),
    ];
    let untouched = [
        r#"{"resourceType":"Observation","id":"1","text":{"div":"<div>http://upstream.internal/fhir/x</div>"}}"#,
        r#"{"resourceType":"Observation","id":"1","note":[{"text":"http://upstream.internal/fhir/x"}]}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"http://upstream.internal/fhirx/Patient/1"}}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1"}}"#,
        r#"<Observation xmlns="http://hl7.org/fhir"><id value="1"/><text><div xmlns="http://www.w3.org/1999/xhtml"><a href="http://upstream.internal/fhir/x">x</a></div></text></Observation>"#,
    ];
    for (body, expected) in table.into_iter().chain(untouched.map(|body| (body, body))) {
        for scope in [READER, "system/*.rs"] {
            let shown = shown(&route(), &get(scope, "Observation/1"), ok(body)).unwrap();
            assert_eq!(shown.body, expected, "{scope}");
        }
    }
    for format in BOTH {
        let full = |base: &str| match format {
            JSON => format!(
                r#"{{"fullUrl":"{base}/Observation/1","resource":{}}}"#,
                resource(JSON, "Observation", "1")
            ),
            XML => format!(
                r#"<entry><fullUrl value="{base}/Observation/1"/><resource>{}</resource></entry>"#,
                resource(XML, "Observation", "1")
            ),
        };
        // A backend that believes `X-Forwarded-Host` writes the public address itself.
        for base in [BACKEND, "http://UPSTREAM.internal:80/fhir", PUBLIC] {
            let body = bundle(format, "searchset", "", &[full(base)]);
            let shown = shown(&route(), &get(READER, "Observation?code=x"), ok(&body)).unwrap();
            assert_eq!(shown.body, bundle(format, "searchset", "", &[full(PUBLIC)]));
        }
    }
}

/// RESP-6: header fields in public words, or not at all.
#[test]
fn addresses_in_header_fields() {
    let table = [
        (
            "http://upstream.internal/fhir/Observation/1/_history/2",
            Some("https://gw.test/fhir/Observation/1/_history/2"),
        ),
        ("HTTP://Upstream.Internal:80/fhir/Observation/1", Some("https://gw.test/fhir/Observation/1")),
        ("https://gw.test/fhir/Observation/1", Some("https://gw.test/fhir/Observation/1")),
        ("/fhir/Observation/1", Some("https://gw.test/fhir/Observation/1")),
        ("Observation/1", Some("https://gw.test/fhir/Observation/1")),
        ("/other/Observation/1", None),
        ("/fhirx/Observation/1", None),
        ("//elsewhere.test/fhir/Observation/1", None),
        ("http://elsewhere.test/fhir/Observation/1", None),
        ("http://upstream.internal/fhirx/Observation/1", None),
        ("http://upstream.internal.evil.test/fhir/Observation/1", None),
        ("http://upstream.internal/fhir/../admin", None),
        ("http://upstream.internal/fhir/%2E%2e/admin", None),
        ("http://upstream.internal/fhir/..%2fadmin", None),
        ("http://upstream.internal/fhir/..\\admin", None),
        ("http://upstream.internal/admin", None),
        ("javascript:alert(1)", None),
        ("urn:uuid:1", None),
    ];
    let ask = post("system/Observation.cr", "Observation", r#"{"resourceType":"Observation"}"#);
    for name in ["location", "content-location"] {
        for (written, expected) in table {
            let shown = shown(&route(), &ask, (201, &[(name, written)], "")).unwrap();
            assert_eq!(shown.header(name), expected, "{name}: {written}");
        }
    }
}

/// A base below another: the longer one is meant.
#[test]
fn bases_that_contain_each_other() {
    let ask = post("system/Observation.cr", "Observation", r#"{"resourceType":"Observation"}"#);
    for (backend, written) in [
        ("http://upstream.internal/fhir/r4", "https://gw.test/fhir/r4/Observation/1"),
        ("http://upstream.internal/fhir/r4", "http://upstream.internal/fhir/r4/Observation/1"),
        ("http://upstream.internal/fhir/r4", "https://gw.test/fhir/Observation/1"),
        ("http://upstream.internal", "http://upstream.internal/Observation/1"),
        ("http://upstream.internal", "/Observation/1"),
        ("http://upstream.internal", "https://gw.test/fhir/Observation/1"),
    ] {
        let route = route_with(backend, Credentials::Gateway);
        let shown = shown(&route, &ask, (201, &[("location", written)], "")).unwrap();
        assert_eq!(
            shown.header("location"),
            Some("https://gw.test/fhir/Observation/1"),
            "{backend} {written}"
        );
    }
}

/// SRCH-24, SRCH-25: what a link of a bundle becomes.
#[test]
fn links_of_a_bundle() {
    let table = [
        (
            "self",
            "http://upstream.internal/fhir/Observation?code=x",
            Some("https://gw.test/fhir/Observation?code=x"),
        ),
        (
            "self",
            "Observation?code=http://loinc.org|1-8",
            Some("https://gw.test/fhir/Observation?code=http://loinc.org|1-8"),
        ),
        ("self", "http://elsewhere.test/fhir/Observation?code=x", None),
        (
            "next",
            "http://upstream.internal/fhir/Observation?code=x&_offset=10",
            Some("https://gw.test/fhir/Observation?code=x&_offset=10"),
        ),
        (
            "next",
            "https://gw.test/fhir/Observation?code=x&_offset=10",
            Some("https://gw.test/fhir/Observation?code=x&_offset=10"),
        ),
        ("next", "http://upstream.internal/fhir?_getpages=1&_getpagesoffset=10", Some("sealed")),
        ("next", "http://upstream.internal/fhir/Observation?code=x&_cursor=1", Some("sealed")),
        ("next", "http://upstream.internal/fhir/Observation/_page/1", Some("sealed")),
        ("next", "?_getpages=1", Some("sealed")),
        ("previous", "http://upstream.internal/fhir?_getpages=1", Some("sealed")),
        ("next", "http://elsewhere.test/fhir?_getpages=1", None),
        ("next", "http://upstream.internal/other?_getpages=1", None),
        ("next", "http://upstream.internal/fhir/../other?_getpages=1", None),
        ("next", "//upstream.internal/fhir?_getpages=1", None),
    ];
    for format in BOTH {
        for (relation, url, expected) in table {
            let body = bundle(format, "searchset", &link(format, relation, url), &[]);
            let shown = shown(&route(), &get(READER, "Observation?code=x"), ok(&body)).unwrap();
            match expected {
                None => assert_eq!(shown.body, bundle(format, "searchset", "", &[]), "{relation} {url}"),
                Some("sealed") => {
                    assert!(shown.body.contains("https://gw.test/fhir?_link="), "{}", shown.body);
                    assert!(
                        !shown.body.contains("_getpages") && !shown.body.contains("_cursor"),
                        "{}",
                        shown.body
                    );
                }
                Some(public) => {
                    let expected = bundle(format, "searchset", &link(format, relation, public), &[]);
                    assert_eq!(shown.body, expected, "{relation} {url}");
                }
            }
        }
    }
}

fn next_of(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    value["link"][0]["url"].as_str().unwrap().strip_prefix(PUBLIC).unwrap().to_owned()
}

/// SRCH-25, SRCH-26, SRCH-27: a cursor leads where it led, for the same grant only, page after page, and what it brings
/// is checked anew.
#[test]
fn cursors_are_followed_by_who_got_them() {
    let route = route();
    let cursor =
        |page: u32| link(JSON, "next", &format!("http://upstream.internal/fhir?_getpages=1&page={page}"));
    let foreign = entry(JSON, &resource(JSON, "Patient", "secret"), "match");
    let page = bundle(JSON, "searchset", &cursor(2), std::slice::from_ref(&foreign));
    let first = shown(&route, &get(READER, "Observation?code=x"), ok(&page)).unwrap();
    let mut next = next_of(&first.body);
    for number in 2..5 {
        let passage = passed(&route, &get(READER, &next)).unwrap();
        let target = passage.outbound.as_ref().unwrap().target().to_owned();
        assert_eq!(target, format!("?_getpages=1&page={number}"));
        let page = bundle(JSON, "searchset", &cursor(number + 1), std::slice::from_ref(&foreign));
        let shown = released(&route, &passage, ok(&page)).unwrap();
        assert!(!shown.body.contains("secret"));
        next = next_of(&shown.body);
    }
    let history = r#"{"resourceType":"Bundle","type":"history","entry":[{"request":{"method":"DELETE","url":"Observation/1"}}]}"#;
    let passage = passed(&route, &get(READER, &next)).unwrap();
    assert_eq!(released(&route, &passage, ok(history)).unwrap().body, history);
    // Another subject, fewer scopes, another method, a changed text, a raw cursor: none follows.
    let refused = [
        passed_as(&route, &get(READER, &next), &caller(READER, "bob")),
        passed(&route, &get("system/Patient.rs", &next)),
        passed(&route, &get("system/Observation.c", &next)),
        passed(&route, &Ask { method: "DELETE", ..get(READER, &next) }),
        passed(&route, &get(READER, &next.replacen("_link=", "_link=A", 1))),
        passed(&route, &get(READER, next.strip_suffix(char::is_alphanumeric).unwrap_or("?_link="))),
        passed(&route, &get(READER, "?_getpages=1")),
        passed(&route, &get(READER, "Observation?code=x&_getpages=1")),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        assert!(refused.is_err(), "{at}: {refused:?}");
    }
}
