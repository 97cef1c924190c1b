//! Answers to writes: writing is not reading (REST-12, RESP-9).

use crate::setting::*;

const OBSERVATION: &str = r#"{"resourceType":"Observation"}"#;
const WITH_ID: &str = r#"{"resourceType":"Observation","id":"1"}"#;

fn write<'a>(scope: &'a str, name: &str) -> Ask<'a> {
    const PATCH: &[(&str, &str)] = &[("content-type", "application/json-patch+json")];
    const CONDITIONAL: &[(&str, &str)] =
        &[("content-type", "application/fhir+json"), ("if-none-exist", "identifier=x")];
    let create = post(scope, "Observation", OBSERVATION);
    match name {
        "create" => create,
        "conditional create" => Ask { headers: CONDITIONAL, ..create },
        "update" => Ask { method: "PUT", ..post(scope, "Observation/1", WITH_ID) },
        "conditional update" => Ask { method: "PUT", ..post(scope, "Observation?identifier=x", OBSERVATION) },
        "patch" => {
            let body = r#"[{"op":"remove","path":"/status"}]"#;
            Ask { scope, method: "PATCH", target: "Observation/1", headers: PATCH, body }
        }
        "delete" => Ask { method: "DELETE", ..get(scope, "Observation/1") },
        other => panic!("no write `{other}`"),
    }
}

const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/fhir+json"),
    ("location", "http://upstream.internal/fhir/Observation/1/_history/2"),
    ("etag", "W/\"2\""),
    ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
];

/// REST-12: without r the written content stays away, in every form a backend may send it.
#[test]
fn content_needs_read() {
    for name in ["create", "conditional create", "update", "conditional update", "patch"] {
        for (scope, body, expected) in [
            ("system/Observation.cruds", WITH_ID, Ok(WITH_ID)),
            ("system/Observation.cuds", WITH_ID, Ok("")),
            ("system/Observation.cuds", r#"{"resourceType":"Patient","id":"1"}"#, Ok("")),
            ("system/Observation.cruds", r#"{"resourceType":"Patient","id":"1"}"#, Err("WrongShape")),
            ("system/Observation.cuds", "", Ok("")),
            ("system/Observation.cruds", "", Ok("")),
        ] {
            let shown = shown(&route(), &write(scope, name), (200, HEADERS, body));
            let got = shown.as_ref().map(|shown| shown.body.as_str()).map_err(String::as_str);
            assert_eq!(got, expected, "{name} {scope} {body}");
            if let Ok(shown) = &shown {
                assert_eq!(shown.header("content-type").is_some(), !shown.body.is_empty(), "{name} {scope}");
            }
        }
        for format in BOTH {
            let body = outcome(format, "created at http://upstream.internal/fhir");
            for scope in ["system/Observation.cuds", "system/Observation.cruds", "system/*.cruds"] {
                let shown = shown(&route(), &write(scope, name), (200, content_type(&body), &body)).unwrap();
                assert!(shown.body.contains("OperationOutcome"), "{}", shown.body);
                assert!(!shown.body.contains("SECRET") && !shown.body.contains("upstream"), "{}", shown.body);
            }
        }
    }
    let shown = shown(&route(), &write("system/Observation.d", "delete"), (204, &[], "")).unwrap();
    assert_eq!((shown.status, shown.body.as_str()), (204, ""));
}

/// RESP-9: an existing record is named only to who may see it; a new one belongs to who created it.
#[test]
fn records_are_named_to_readers() {
    let table = [
        // write, status, letters, named
        ("create", 201, "c", true),
        ("create", 200, "c", false),
        ("create", 200, "cr", true),
        ("create", 200, "cs", true),
        ("update", 200, "u", true),
        ("patch", 200, "u", true),
        ("conditional create", 201, "cs", true),
        ("conditional create", 200, "cs", true),
    ];
    for (name, status, letters, named) in table {
        let scope = format!("system/Observation.{letters}");
        let shown = shown(&route(), &write(&scope, name), (status, HEADERS, "")).unwrap();
        for field in ["location", "etag", "last-modified"] {
            assert_eq!(shown.header(field).is_some(), named, "{name} {status} {letters} {field}");
        }
    }
    for (status, letters, named) in
        [(303, "c", false), (303, "cr", true), (412, "cr", false), (422, "cr", false)]
    {
        let scope = format!("system/Observation.{letters}");
        let shown = shown(&route(), &write(&scope, "create"), (status, HEADERS, "")).unwrap();
        assert_eq!(shown.header("location").is_some(), named, "{status} {letters}");
        assert_eq!(shown.body.is_empty(), status == 303);
    }
}
