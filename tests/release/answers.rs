//! Answers that are not what was asked for, header fields, and operations (RESP-2, RESP-5, REST-3, OPS-7, OPS-9, OPS-20).

use crate::setting::*;

const READER: &str = "system/Observation.rs";
const OWN: &str = r#"{"resourceType":"Observation","id":"1"}"#;
const OWN_XML: &str = r#"<Observation xmlns="http://hl7.org/fhir"><id value="1"/></Observation>"#;

type Fields = &'static [(&'static str, &'static str)];

const AS_JSON: Fields = &[("content-type", "application/fhir+json")];
const AS_XML: Fields = &[("content-type", "application/fhir+xml")];

/// Target, header fields and body of an answer, and what becomes of it.
const SHAPES: &[(&str, Fields, &str, &str)] = &[
    ("Observation/1", AS_JSON, OWN, "shown"),
    ("Observation/1", &[("content-type", "application/json")], OWN, "shown"),
    (
        "Observation/1",
        &[("content-type", "application/fhir+json; charset=\"UTF-8\"; fhirVersion=4.0")],
        OWN,
        "shown",
    ),
    ("Observation/1", AS_XML, OWN_XML, "shown"),
    ("Observation/1", AS_XML, OWN, "Unreadable"),
    ("Observation/1", AS_JSON, OWN_XML, "Unreadable"),
    ("Observation/1", &[("content-type", "text/html")], "<html/>", "NotFhir"),
    ("Observation/1", &[("content-type", "application/fhir+AS_JSON, text/html")], OWN, "NotFhir"),
    ("Observation/1", &[("content-type", "text/html, application/fhir+json")], OWN, "NotFhir"),
    ("Observation/1", &[("content-type", "application/fhir+json; charset=utf-16")], OWN, "NotFhir"),
    ("Observation/1", &[("content-type", "application/fhir+json; charset=utf-7")], OWN, "NotFhir"),
    (
        "Observation/1",
        &[("content-type", "application/fhir+json"), ("content-type", "text/html")],
        OWN,
        "NotFhir",
    ),
    ("Observation/1", &[], OWN, "NotFhir"),
    (
        "Observation/1",
        &[("content-type", "application/fhir+json"), ("content-encoding", "gzip")],
        OWN,
        "Encoded",
    ),
    (
        "Observation/1",
        &[("content-type", "application/fhir+json"), ("content-encoding", "identity")],
        OWN,
        "shown",
    ),
    (
        "Observation/1",
        &[
            ("content-type", "application/fhir+json"),
            ("content-encoding", "identity"),
            ("content-encoding", "br"),
        ],
        OWN,
        "Encoded",
    ),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Patient","id":"1"}"#, "WrongShape"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation","id":"2"}"#, "WrongShape"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation"}"#, "WrongShape"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"OperationOutcome"}"#, "WrongShape"),
    ("Observation/1", AS_JSON, "", "Empty"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation","id":"1","id":"1"}"#, "Unreadable"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation","id":"1","\u0069d":"2"}"#, "Unreadable"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation","id":"1""#, "Unreadable"),
    ("Observation/1", AS_JSON, "\u{feff}{\"resourceType\":\"Observation\",\"id\":\"1\"}", "Unreadable"),
    ("Observation/1", AS_JSON, r#"{"resourceType":"Observation","id":"1"}{}"#, "Unreadable"),
    ("Observation/1", AS_XML, r#"<Observation xmlns="http://hl7.org/fhir"><id value="1"/>"#, "Unreadable"),
    ("Observation/1", AS_XML, r#"<Observation><id value="1"/></Observation>"#, "Unreadable"),
    (
        "Observation/1",
        AS_XML,
        r#"<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Observation xmlns="http://hl7.org/fhir"><id value="1"/></Observation>"#,
        "Unreadable",
    ),
    ("Observation?code=x", AS_JSON, OWN, "WrongShape"),
    ("Observation?code=x", AS_JSON, r#"{"resourceType":"Bundle","type":"history"}"#, "WrongShape"),
    ("Observation?code=x", AS_JSON, r#"{"resourceType":"Bundle"}"#, "WrongShape"),
    ("Observation?code=x", AS_JSON, r#"{"resourceType":"Bundle","type":"searchset"}"#, "shown"),
    ("Observation/_history", AS_JSON, r#"{"resourceType":"Bundle","type":"searchset"}"#, "WrongShape"),
    ("Observation/_history", AS_JSON, r#"{"resourceType":"Bundle","type":"history"}"#, "shown"),
    ("Observation?code=x", AS_JSON, r#"{"resourceType":"OperationOutcome","issue":[]}"#, "WrongShape"),
    ("Observation?code=x", AS_JSON, "", "Empty"),
];

/// RESP-2, REST-9, REST-10, REST-11: what is not what was asked for never passes.
#[test]
fn other_shapes_are_withheld() {
    for (target, headers, body, expected) in SHAPES {
        let got = shown(&route(), &get(READER, target), (200, headers, body));
        let got = got.map_or_else(|withheld| withheld, |_| "shown".to_owned());
        assert!(got.starts_with(expected), "{target} {headers:?} {body}: {got}");
    }
    let latin = pforte::release::Answer {
        status: http::StatusCode::OK,
        headers: fields(AS_JSON),
        body: bytes::Bytes::from_static(
            b"{\"resourceType\":\"Observation\",\"id\":\"1\",\"language\":\"\xe4\"}",
        ),
    };
    let route = route();
    let passage = passed(&route, &get(READER, "Observation/1")).unwrap();
    assert!(released_bytes(&route, &passage, latin).is_err());
}

/// A grant for everything streams; what is no FHIR, or nothing at all, still does not pass.
#[test]
fn streams_are_of_fhir_only() {
    let table: &[(Fields, &str, &str)] = &[
        (&[("content-type", "application/fhir+json")], OWN, "streamed"),
        (&[("content-type", "application/fhir+json"), ("content-length", "39")], OWN, "streamed"),
        (&[("content-type", "application/fhir+json"), ("content-length", "0")], "", "Empty"),
        (&[("content-type", "application/fhir+json")], "", "Unreadable"),
        (&[("content-type", "text/html")], "<html/>", "NotFhir"),
        (
            &[("content-type", "application/fhir+json"), ("content-type", "application/fhir+json")],
            OWN,
            "NotFhir",
        ),
        (&[("content-type", "application/fhir+json; charset=utf-16")], OWN, "NotFhir"),
        (&[("content-type", "application/fhir+json")], r#"{"resourceType":"Obser"#, "Unreadable"),
    ];
    for (headers, body, expected) in table {
        let got = shown(&route(), &get("system/*.rs", "Observation/1"), (200, headers, body));
        let got = got.map_or_else(
            |withheld| withheld,
            |shown| if shown.streamed { "streamed" } else { "held" }.into(),
        );
        assert!(got.starts_with(expected), "{headers:?} {body}: {got}");
    }
}

/// A Bundle that is stored is shown when all of it may be; otherwise it is beyond the grant.
#[test]
fn stored_bundles_are_shown_whole_or_not_at_all() {
    for format in BOTH {
        let id = match format {
            JSON => r#","id":"b""#.to_owned(),
            XML => r#"<id value="b"/>"#.to_owned(),
        };
        let body =
            bundle(format, "document", &id, &[entry(format, &resource(format, "Observation", "1"), "match")]);
        let table = [("system/Bundle.r", false), ("system/Bundle.r system/Observation.s", true)];
        for (scope, whole) in table {
            let shown = shown(&route(), &get(scope, "Bundle/b"), ok(&body));
            assert_eq!(
                shown.map(|shown| shown.body),
                if whole { Ok(body.clone()) } else { Err("OutOfScope".into()) }
            );
        }
    }
}

/// RESP-5, RESP-8, REST-3: which header fields are shown of what.
#[test]
fn header_fields() {
    let answer: Fields = &[
        ("content-type", "application/fhir+json"),
        ("etag", "W/\"3\""),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("content-length", "39"),
        ("server", "Jetty"),
        ("x-powered-by", "HAPI"),
        ("set-cookie", "session=1"),
        ("link", "<http://upstream.internal/fhir?x>; rel=next"),
        ("content-md5", "x"),
        ("digest", "x"),
        ("www-authenticate", "Basic"),
        ("access-control-allow-origin", "*"),
    ];
    let strong: Fields = &[("content-type", "application/fhir+json"), ("etag", "\"3\"")];
    let names = |shown: &Shown| {
        let mut names: Vec<_> = shown.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    let head = |scope| Ask { method: "HEAD", ..get(scope, "Observation/1") };
    let table: &[(Ask<'_>, u16, Fields, &str, &str)] = &[
        (get(READER, "Observation/1"), 200, answer, OWN, "content-type etag last-modified"),
        (get(READER, "Observation/1"), 200, strong, OWN, "content-type"),
        (get("system/*.rs", "Observation/1"), 200, answer, OWN, "content-type etag last-modified"),
        (get("system/*.rs", "Observation/1"), 200, strong, OWN, "content-type"),
        (head(READER), 200, answer, "", "content-type etag last-modified"),
        (head("system/*.rs"), 200, strong, "", "content-type"),
        (get(READER, "Observation/1"), 304, answer, "", "content-type etag last-modified"),
        (get(READER, "Observation/1"), 404, answer, "{}", "content-type"),
        (head(READER), 404, answer, "", ""),
    ];
    for (ask, status, headers, body, expected) in table {
        let shown = shown(&route(), ask, (*status, headers, body)).unwrap();
        assert_eq!(names(&shown), *expected, "{} {status}", ask.method);
        assert_eq!(shown.status, *status);
        assert_eq!(shown.body.is_empty(), *status == 304 || ask.method == "HEAD", "{}", shown.body);
    }
}

/// A 304 answers a question, never a write (RESP-4).
#[test]
fn not_modified_answers_only_reads() {
    let body = r#"{"resourceType":"Observation","id":"1"}"#;
    let put = Ask { method: "PUT", ..post("system/Observation.cruds", "Observation/1", body) };
    assert_eq!(shown(&route(), &put, (304, &[], "")), Err("WrongShape".into()));
    let form = Ask { scope: READER, method: "POST", target: "Observation/_search", headers: &[], body: "" };
    assert_eq!(shown(&route(), &form, (304, &[], "")), Err("WrongShape".into()));
    assert_eq!(shown(&route(), &get(READER, "Observation/1"), (304, &[], "x")).unwrap().body, "");
}

/// OPS-40: raw content passes byte for byte; a Binary as FHIR is held against the duties like any resource.
#[test]
fn binary_content() {
    let scope = "system/Binary.r";
    let pdf: Fields =
        &[("content-type", "application/pdf"), ("content-disposition", "attachment"), ("etag", "\"1\"")];
    let ask = Ask { headers: &[("accept", "application/pdf")], ..get(scope, "Binary/1") };
    let shown_raw = shown(&route(), &ask, (200, pdf, "http://upstream.internal/fhir")).unwrap();
    assert!(shown_raw.streamed && shown_raw.body == "http://upstream.internal/fhir");
    assert_eq!(shown_raw.header("etag"), Some("\"1\""));
    let twice: Fields = &[("content-type", "application/pdf"), ("content-type", "text/html")];
    assert_eq!(shown(&route(), &ask, (200, twice, "x")), Err("NotFhir".into()));
    let fhir: Fields = &[("content-type", "application/fhir+json")];
    let patient = r#"{"resourceType":"Patient","id":"1"}"#;
    assert_eq!(shown(&route(), &ask, (200, fhir, patient)), Err("WrongShape".into()));
    // No other type has content that is no FHIR.
    assert_eq!(shown(&route(), &get(READER, "Observation/1"), (200, pdf, "x")), Err("NotFhir".into()));
}

/// OPS-9: an operation's answer is filtered if it is a list, and shown whole or not at all otherwise.
#[test]
fn operations() {
    let scope = "system/Patient.rs system/Observation.rs system/Composition.r";
    for format in BOTH {
        let own = resource(format, "Observation", "own");
        let foreign = resource(format, "Condition", "secret");
        let list = |entries: &[&String]| -> Vec<String> {
            entries.iter().map(|inner| entry(format, inner, "match")).collect()
        };
        let parameters = |inner: &str| match format {
            JSON => {
                format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"r","resource":{inner}}}]}}"#)
            }
            XML => format!(
                r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="r"/><resource>{inner}</resource></parameter></Parameters>"#
            ),
        };
        let both = list(&[&own, &foreign]);
        let one = list(&[&own]);
        let everything = "Patient/1/$everything";
        let document = "Composition/1/$document";
        let table = [
            (everything, bundle(format, "searchset", "", &both), Some(bundle(format, "searchset", "", &one))),
            (
                everything,
                bundle(format, "collection", "", &both),
                Some(bundle(format, "collection", "", &one)),
            ),
            (document, bundle(format, "document", "", &both), None),
            (document, bundle(format, "message", "", &both), None),
            (document, bundle(format, "document", "", &one), Some(bundle(format, "document", "", &one))),
            (everything, parameters(&own), Some(parameters(&own))),
            (everything, parameters(&foreign), None),
            (everything, parameters(&parameters(&foreign)), None),
            (everything, parameters(&bundle(format, "collection", "", &both)), None),
            (everything, own.clone(), Some(own.clone())),
            (everything, foreign.clone(), None),
        ];
        for (target, body, expected) in table {
            let shown = shown(&route(), &get(scope, target), ok(&body)).map(|shown| shown.body);
            assert_eq!(shown.clone().ok(), expected, "{body}");
            if expected.is_none() {
                assert_eq!(shown, Err("OutOfScope".into()));
            }
        }
        // Outcomes say what they say, and nothing else, wherever they stand.
        for body in [outcome(format, "all is well"), parameters(&outcome(format, "all is well"))] {
            let shown = shown(&route(), &get(scope, everything), ok(&body)).unwrap();
            assert!(shown.body.contains("all is well") && !shown.body.contains("SECRET"), "{}", shown.body);
        }
        let named = parameters(&outcome(format, "upstream.internal"));
        let shown = shown(&route(), &get(scope, everything), ok(&named)).unwrap();
        assert!(!shown.body.contains("upstream"), "{}", shown.body);
    }
    let contained =
        r#"{"resourceType":"Parameters","contained":[{"resourceType":"Condition","id":"secret"}]}"#;
    assert_eq!(
        shown(&route(), &get(scope, "Patient/1/$everything"), ok(contained)),
        Err("OutOfScope".into())
    );
}

/// OPS-7, OPS-20: the addresses of an export are sealed, its files pass, its pages for people do not.
#[test]
fn exports() {
    let route = route();
    let ask = Ask { headers: &[("prefer", "respond-async")], ..get("system/*.rs", "$export") };
    let started: Fields = &[("content-location", "http://upstream.internal/fhir/$export-poll?_jobId=1")];
    let start = shown(&route, &ask, (202, started, "started at upstream.internal")).unwrap();
    assert_eq!((start.status, start.body.as_str()), (202, ""));
    let status_url = start.header("content-location").unwrap();
    assert!(status_url.starts_with("https://gw.test/fhir?_link=") && !status_url.contains("_jobId"));
    let elsewhere: Fields = &[("content-location", "http://elsewhere.test/1")];
    assert_eq!(shown(&route, &ask, (202, elsewhere, "")), Err("WrongShape".into()));

    let follow = get("system/*.rs", status_url.trim_start_matches("https://gw.test/fhir"));
    let passage = passed(&route, &follow).unwrap();
    assert_eq!(passage.outbound.as_ref().unwrap().target(), "$export-poll?_jobId=1");
    let progress: Fields = &[("x-progress", "50%"), ("retry-after", "10")];
    let waiting = released(&route, &passage, (202, progress, "")).unwrap();
    assert_eq!((waiting.header("x-progress"), waiting.header("retry-after")), (Some("50%"), Some("10")));
    let telling: Fields = &[("x-progress", "upstream.internal works")];
    assert_eq!(released(&route, &passage, (202, telling, "")).unwrap().header("x-progress"), None);

    let manifest = r#"{"transactionTime":"2026-01-01T00:00:00Z","request":"http://upstream.internal/fhir/$export",
      "requiresAccessToken":false,"output":[{"type":"Patient","url":"http://upstream.internal/fhir/Binary/1"},
      {"type":"Patient","url":"https://store.test/2"}],"error":[],"link":[{"relation":"next","url":"http://upstream.internal/x"}]}"#;
    let json: Fields = &[("content-type", "application/json")];
    for headers in [json, &[("content-type", "application/fhir+json")]] {
        let shown = released(&route, &passage, (200, headers, manifest)).unwrap();
        let body = shown.json();
        assert_eq!(body["request"], "https://gw.test/fhir/$export");
        assert_eq!(body["requiresAccessToken"], true);
        assert_eq!(body["output"][1]["url"], "https://store.test/2");
        assert!(!shown.body.contains("upstream"), "{}", shown.body);
        let file =
            body["output"][0]["url"].as_str().unwrap().trim_start_matches("https://gw.test/fhir").to_owned();
        let passage = passed(&route, &get("system/*.rs", &file)).unwrap();
        assert_eq!(passage.outbound.as_ref().unwrap().target(), "Binary/1");
        let lines =
            released(&route, &passage, (200, &[("content-type", "application/fhir+ndjson")], "{}\n{}\n"));
        assert!(lines.is_ok_and(|file| file.streamed && file.body == "{}\n{}\n"));
        // The same link with less, or as somebody else, is no way in (SRCH-26).
        assert!(passed(&route, &get("system/Patient.rs", &file)).is_err());
        assert!(passed_as(&route, &get("system/*.rs", &file), &caller("system/*.rs", "bob")).is_err());
    }
    let html: Fields = &[("content-type", "text/html")];
    assert_eq!(released(&route, &passage, (200, html, "<html>upstream</html>")), Err("NotFhir".into()));
    let xml: Fields = &[("content-type", "application/fhir+xml")];
    assert_eq!(released(&route, &passage, (200, xml, "<x/>")), Err("NotFhir".into()));
    let bad = [
        r#"{"output":{}}"#,
        r#"{"output":[{}]}"#,
        r#"{"output":[],"request":5}"#,
        r#"{"request":"http://upstream.internal/fhir/$export"}"#,
        r#"{"resourceType":"Bundle","type":"searchset","entry":[]}"#,
        "[]",
        "",
        r#"{"output":[],"request":"http://elsewhere.test/"}"#,
    ];
    for manifest in bad {
        assert_eq!(released(&route, &passage, (200, json, manifest)), Err("WrongShape".into()), "{manifest}");
    }
    let head = Ask { method: "HEAD", ..follow };
    assert_eq!(shown(&route, &head, (200, json, "")).unwrap().body, "");
    let cancel = Ask { method: "DELETE", ..follow };
    assert_eq!(shown(&route, &cancel, (202, &[], "")).unwrap().status, 202);
}
