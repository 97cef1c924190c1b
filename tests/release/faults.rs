//! Answers that say no (RESP-3, HTTP-15).

use pforte::release::Credentials;

use crate::setting::*;

/// RESP-3: what of an outcome is shown, by status, grant and text.
#[test]
fn outcomes_of_errors() {
    let some = "system/Observation.cruds";
    let all = "system/*.cruds";
    let harmless = "the value is too long";
    let telling = "at http://upstream.internal/fhir/x";
    let table = [
        (some, 400, harmless, true),
        (some, 422, harmless, true),
        (some, 400, telling, false),
        // These speak of what is stored.
        (some, 404, harmless, false),
        (some, 409, harmless, false),
        (some, 410, harmless, false),
        (some, 412, harmless, false),
        (some, 429, harmless, false),
        (all, 409, harmless, true),
        (all, 412, harmless, true),
        (all, 409, telling, false),
    ];
    let put = |scope| {
        let body = r#"{"resourceType":"Observation","id":"1"}"#;
        Ask { method: "PUT", ..post(scope, "Observation/1", body) }
    };
    for format in BOTH {
        for (scope, status, text, kept) in table {
            let body = outcome(format, text);
            let shown = shown(&route(), &put(scope), (status, content_type(&body), &body)).unwrap();
            assert_eq!(shown.status, status);
            assert_eq!(shown.body.contains(text), kept, "{scope} {status} {text}: {}", shown.body);
            assert!(
                shown.body.contains("OperationOutcome") && !shown.body.contains("SECRET"),
                "{}",
                shown.body
            );
            // In the client's format, whatever the backend's.
            assert!(shown.body.starts_with('{'), "{}", shown.body);
            assert_eq!(shown.header("content-type"), Some("application/fhir+json; charset=utf-8"));
        }
    }
}

/// RESP-3: anything that is no outcome is replaced by one.
#[test]
fn other_bodies_are_replaced() {
    let bodies = [
        "<html>upstream.internal</html>",
        r#"{"resourceType":"Patient","name":"upstream.internal"}"#,
        r#"{"resourceType":"OperationOutcome","issue":[]}"#,
        r#"{"resourceType":"OperationOutcome","resourceType":"Patient"}"#,
        "{",
        "",
    ];
    for status in [400, 404, 405, 409, 410, 412, 413, 415, 422, 429] {
        for body in bodies {
            for format in BOTH {
                let accept: &[(&str, &str)] = &[("accept", media(format))];
                let ask = Ask { headers: accept, ..get("system/*.rs", "Observation/1") };
                let headers: &[(&str, &str)] = &[
                    ("content-type", "application/fhir+json"),
                    ("location", "http://upstream.internal/fhir/Patient/1"),
                ];
                let shown = shown(&route(), &ask, (status, headers, body)).unwrap();
                assert_eq!(shown.status, status);
                assert!(
                    shown.body.contains("OperationOutcome") && !shown.body.contains("upstream"),
                    "{}",
                    shown.body
                );
                assert_eq!(shown.body.starts_with('<'), format == XML);
                assert_eq!(shown.header("location"), None);
            }
        }
    }
}

/// HTTP-15: what is between gateway and backend stays there.
#[test]
fn faults_between_gateway_and_backend() {
    let ask = get("system/*.rs", "Observation/1");
    for status in [401, 403, 407] {
        let expected = Err(format!("BackendRefused({status})"));
        assert_eq!(shown(&route(), &ask, (status, &[], "")), expected);
    }
    let client = route_with(BACKEND, Credentials::Client);
    for status in [401, 403] {
        assert_eq!(shown(&client, &ask, (status, &[], "")).map(|shown| shown.status), Ok(status));
    }
    assert_eq!(shown(&client, &ask, (407, &[], "")), Err("BackendRefused(407)".into()));
    // The client has never seen an exchanged token; what its user may not is told.
    let exchanged = route_with(BACKEND, Credentials::Exchanged);
    for status in [401, 407] {
        assert_eq!(shown(&exchanged, &ask, (status, &[], "")), Err(format!("BackendRefused({status})")));
    }
    assert_eq!(shown(&exchanged, &ask, (403, &[], "")).map(|shown| shown.status), Ok(403));
    for status in [100, 101, 418, 451, 500, 501, 502, 503, 504, 599] {
        assert_eq!(shown(&route(), &ask, (status, &[], "")), Err(format!("BackendFailed({status})")));
    }
    for status in [300, 301, 302, 303, 307, 308] {
        let location: &[(&str, &str)] = &[("location", "http://upstream.internal/fhir/Observation/2")];
        let got = shown(&route(), &ask, (status, location, "")).map(|_| ());
        assert_eq!(got, Err(format!("Redirected({status})")));
    }
}

/// A host of one label may be a word like any other.
#[test]
fn hosts_of_one_label() {
    let table = [
        ("http://hapi:8080/fhir", "HAPI-0389: unknown", true),
        ("http://hapi:8080/fhir", "see hapi:8080", false),
        ("http://hapi:8080/fhir", "see http://hapi/fhir", false),
        ("http://hapi:8080/fhir", "happiness", true),
        ("http://fhir/r4", "The FHIR server, hl7-fhir", true),
        ("http://localhost:8080/fhir", "localhost is a word", true),
        ("http://localhost:8080/fhir", "see LOCALHOST:8080", false),
        ("http://10.0.0.7:8080/fhir", "see 10.0.0.7", false),
    ];
    for (backend, text, kept) in table {
        let route = route_with(backend, Credentials::Gateway);
        let body = outcome(JSON, text);
        let shown =
            shown(&route, &get("system/*.rs", "Observation?code=x"), (400, content_type(&body), &body))
                .unwrap();
        assert_eq!(shown.body.contains(text), kept, "{backend} {text}: {}", shown.body);
    }
}
