//! What leaves towards the backend (REST-4, REST-12, REST-15, REST-33, RESP-4, HTTP-7, OPS-21).

use http::HeaderMap;
use pforte::rewrite::Outbound;

use crate::setting::*;

fn sent(ask: &Ask<'_>) -> Outbound {
    let passage = passed(&route(), ask).unwrap_or_else(|refused| panic!("{ask:?} is refused: {refused}"));
    passage.outbound.unwrap()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn body(outbound: &Outbound) -> &str {
    std::str::from_utf8(outbound.body()).unwrap()
}

/// HTTP-7: the string decided on is the string sent, in one canonical form.
#[test]
fn targets_are_canonical() {
    let scope = "system/Observation.rs system/Patient.rs";
    let table = [
        ("Observation?code=x", "Observation?code=x"),
        ("Observation/?code=x", "Observation?code=x"),
        ("Observation?%63ode=%78", "Observation?code=x"),
        ("Observation?code=a+b", "Observation?code=a%20b"),
        ("Observation?code=a%26b%3Dc%23", "Observation?code=a%26b%3Dc%23"),
        ("Observation?code=x&&code=y", "Observation?code=x&code=y"),
        ("Observation?code=http://loinc.org|1-8", "Observation?code=http:%2F%2Floinc.org%7C1-8"),
        ("Observation/%31", "Observation/1"),
        (
            "Observation?subject=https://gw.test/fhir/Patient/1",
            "Observation?subject=http://upstream.internal/fhir/Patient/1",
        ),
        (
            "Observation?subject=https://gw.test/fhir/Patient/1,https://gw.test/fhirx/Patient/1",
            "Observation?subject=http://upstream.internal/fhir/Patient/1,https://gw.test/fhirx/Patient/1",
        ),
        ("?_type=Observation,Patient", "?_type=Observation,Patient"),
    ];
    for (target, expected) in table {
        let outbound = sent(&get(scope, target));
        let expected = expected.replace("%2F", "/");
        assert_eq!(outbound.target(), expected, "{target}");
        // What was sent is what would be sent for it (the law of `confine`).
        assert_eq!(sent(&get(scope, outbound.target())).target(), expected);
    }
    // Without `_type` the permitted types are asked for (REST-20).
    assert_eq!(sent(&get(scope, "")).target(), "?_type=Observation,Patient");
}

/// REST-4: what was asked for by URL and by form is all in the form.
#[test]
fn searches_by_post_are_all_in_the_body() {
    const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
    let ask =
        |target, body| Ask { scope: "system/Observation.s", method: "POST", target, headers: FORM, body };
    for (target, form, expected) in [
        ("Observation/_search", "code=x", "code=x"),
        ("Observation/_search?status=final", "code=x&code=a%20b", "status=final&code=x&code=a%20b"),
        ("Observation/_search?status=final", "", "status=final"),
        ("_search", "_id=1", "_id=1&_type=Observation"),
    ] {
        let outbound = sent(&ask(target, form));
        assert_eq!(outbound.target(), target.split('?').next().unwrap());
        assert_eq!((outbound.method().as_str(), body(&outbound)), ("POST", expected));
        assert_eq!(header(outbound.headers(), "content-type"), FORM.first().map(|(_, value)| *value));
    }
}

/// REST-12, OPS-21, RFC 7240: what a client prefers is sent only where it changes nothing that is decided here.
#[test]
fn preferences() {
    let create = |scope, prefer| {
        let ask = post(scope, "Observation", r#"{"resourceType":"Observation"}"#);
        let headers = [ask.headers, &[("prefer", prefer)]].concat();
        let outbound = sent(&Ask { headers: &headers, ..ask });
        header(outbound.headers(), "prefer").map(str::to_owned)
    };
    let search = |scope, prefer| {
        let headers = [("prefer", prefer)];
        let outbound = sent(&Ask { headers: &headers, ..get(scope, "Observation?code=x") });
        header(outbound.headers(), "prefer").map(str::to_owned)
    };
    let table = [
        ("system/Observation.cr", "return=representation", Some("return=representation")),
        ("system/Observation.c", "return=representation", Some("return=minimal")),
        ("system/Observation.c", "Return=representation", Some("return=minimal")),
        (
            "system/Observation.c",
            "RETURN = representation, handling=strict",
            Some("handling=strict, return=minimal"),
        ),
        ("system/Observation.c", "", Some("return=minimal")),
        ("system/Observation.cr", "respond-async, return=minimal", Some("return=minimal")),
    ];
    for (scope, prefer, expected) in table {
        assert_eq!(create(scope, prefer).as_deref(), expected, "{scope} {prefer}");
    }
    let table = [
        ("handling=strict", Some("handling=strict")),
        ("respond-async", None),
        ("Respond-Async", None),
        ("respond-async; wait=10", None),
        ("respond-async=true, handling=lenient", Some("handling=lenient")),
    ];
    for (prefer, expected) in table {
        assert_eq!(search("system/Observation.s", prefer).as_deref(), expected, "{prefer}");
    }
    let headers = [("prefer", "respond-async")];
    let export = sent(&Ask { headers: &headers, ..get("system/*.rs", "$export") });
    assert_eq!(header(export.headers(), "prefer"), Some("respond-async"));
}

/// RESP-4: a decision that needs the body is not cut short by a 304.
#[test]
fn conditions() {
    let headers = [
        ("if-none-match", "W/\"1\""),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("range", "bytes=0-1"),
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("x-forwarded-host", "evil.test"),
        ("x-http-method-override", "DELETE"),
        ("if-none-exist", "identifier=x"),
    ];
    for (scope, target, sent_on) in [
        ("system/Observation.rs", "Observation/1", true),
        ("system/Observation.rs", "Observation?code=x", false),
        ("system/Observation.rs", "Observation/_history", false),
        ("system/*.rs", "Observation?code=x", true),
    ] {
        let outbound = sent(&Ask { headers: &headers, ..get(scope, target) });
        let expected = if sent_on { "accept if-modified-since if-none-match" } else { "accept" };
        let mut names: Vec<_> = outbound.headers().keys().map(|name| name.as_str()).collect();
        names.retain(|name| *name != "if-none-exist");
        names.sort_unstable();
        assert_eq!(names.join(" "), expected, "{scope} {target}");
        assert_eq!(header(outbound.headers(), "if-none-exist"), None);
    }
    let create = post("system/Observation.cs", "Observation", r#"{"resourceType":"Observation"}"#);
    let headers = [
        create.headers,
        &[("if-none-exist", "?subject=https://gw.test/fhir/Patient/1&code=a+b"), ("if-match", "W/\"1\"")],
    ]
    .concat();
    let outbound = sent(&Ask { headers: &headers, ..create });
    let criteria = "subject=http://upstream.internal/fhir/Patient/1&code=a%20b";
    assert_eq!(header(outbound.headers(), "if-none-exist"), Some(criteria));
    assert_eq!(header(outbound.headers(), "if-match"), Some("W/\"1\""));
}

/// REST-33: the entries of a batch leave as they were decided on, and only those.
#[test]
fn batches() {
    let scope = "system/Observation.cruds";
    let json = r#"{"resourceType":"Bundle","type":"batch","entry":[
      {"request":{"method":"GET","url":"https://gw.test/fhir/Observation?%63ode=a+b&subject=https://gw.test/fhir/Patient/1","ifNoneMatch":"W/\"1\""}},
      {"request":{"method":"GET","url":"Patient/1"}},
      {"request":{"method":"GET","url":"http://elsewhere.test/fhir/Observation/1"}},
      {"request":{"method":"GET","url":"Observation/1","ifNoneMatch":"W/\"1\""}},
      {"resource":{"resourceType":"Observation"},"request":{"method":"POST","url":"Observation","ifNoneExist":"%63ode=x"}}]}"#;
    let expected = r#"{"resourceType":"Bundle","type":"batch","entry":[
      {"request":{"method":"GET","url":"Observation?code=a%20b&subject=http://upstream.internal/fhir/Patient/1"}},
      {"request":{"method":"GET","url":"Observation/1","ifNoneMatch":"W/\"1\""}},
      {"resource":{"resourceType":"Observation"},"request":{"method":"POST","url":"Observation","ifNoneExist":"code=x"}}]}"#;
    assert_eq!(body(&sent(&post(scope, "", json))), expected);
    let xml = r#"<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><request><method value="GET"/><url value="Observation?code=x&amp;%63ode=y"/><ifNoneMatch value="1"/></request></entry><entry><request><method value="GET"/><url value="Patient/1"/></request></entry></Bundle>"#;
    let expected = r#"<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><request><method value="GET"/><url value="Observation?code=x&amp;code=y"/></request></entry></Bundle>"#;
    assert_eq!(body(&sent(&post(scope, "", xml))), expected);
}
