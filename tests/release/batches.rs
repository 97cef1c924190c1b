//! Batches and transactions: every entry by its own duties, refused ones back in their place (REST-31 … REST-34).

use crate::setting::*;

const SCOPE: &str = "system/Observation.rs system/Condition.c";

/// A batch of these requests: method and URL; a POST brings a Condition.
fn batch(format: pforte::fhir::Format, kind: &str, requests: &[(&str, &str)]) -> String {
    let entries: Vec<String> = requests
        .iter()
        .map(|(method, url)| {
            let content = match (*method, format) {
                ("POST", JSON) => r#""resource":{"resourceType":"Condition"},"#,
                ("POST", XML) => "<resource><Condition><active value=\"true\"/></Condition></resource>",
                _ => "",
            };
            match format {
                JSON => format!(r#"{{{content}"request":{{"method":"{method}","url":"{url}"}}}}"#),
                XML => format!(r#"<entry>{content}<request><method value="{method}"/><url value="{url}"/></request></entry>"#),
            }
        })
        .collect();
    bundle(format, kind, "", &entries)
}

/// The statuses of the answered entries, in order.
fn statuses(format: pforte::fhir::Format, body: &str) -> Vec<String> {
    let mark = if format == JSON { "\"status\":\"" } else { "<status value=\"" };
    body.split(mark).skip(1).filter_map(|rest| rest.get(..3).map(str::to_owned)).collect()
}

/// REST-32: refused entries are cut before the batch leaves and stand in their place in what comes back, in whichever
/// format the backend answers.
#[test]
fn refused_entries_are_answered_in_their_place() {
    let requests = [
        ("GET", "Patient/1"),
        ("GET", "Observation/1"),
        ("GET", "Patient?x=1"),
        ("POST", "Condition"),
        ("GET", "../x"),
        ("GET", "Observation/2"),
    ];
    for asked in BOTH {
        for answered in BOTH {
            let body = batch(asked, "batch", &requests);
            let passage = passed(&route(), &post(SCOPE, "", &body)).unwrap();
            let sent = std::str::from_utf8(passage.outbound.as_ref().unwrap().body()).unwrap().to_owned();
            let left = [requests[1], requests[3], requests[5]];
            assert_eq!(sent, batch(asked, "batch", &left));
            let answer = bundle(
                answered,
                "batch-response",
                "",
                &[
                    response(answered, "200 OK", "", &resource(answered, "Observation", "1")),
                    response(
                        answered,
                        "201 Created",
                        &text(answered, "location", "Condition/7/_history/1"),
                        "",
                    ),
                    response(answered, "404 Not Found", "", ""),
                ],
            );
            let shown = released(&route(), &passage, ok(&answer)).unwrap();
            assert_eq!(
                statuses(answered, &shown.body),
                ["403", "200", "403", "201", "400", "404"],
                "{}",
                shown.body
            );
            assert!(shown.body.contains("Condition/7/_history/1") && shown.altered);
            assert!(!shown.body.contains("Patient"), "{}", shown.body);
        }
    }
}

/// REST-31, and nothing left to send.
#[test]
fn all_or_nothing() {
    for format in BOTH {
        let one = [("GET", "Patient/1"), ("GET", "Observation/1")];
        let refused = passed(&route(), &post(SCOPE, "", &batch(format, "transaction", &one)));
        assert!(refused.is_err());
        let all = [("GET", "Patient/1"), ("DELETE", "Observation/1")];
        let body = batch(format, "batch", &all);
        let route = route();
        let passage = passed(&route, &post(SCOPE, "", &body)).unwrap();
        assert!(passage.outbound.is_none());
        let released = pforte::release::refused_batch(&passage.duties, &route.terms(&passage, now()));
        let (status, headers, body) = released.into_parts();
        let body = std::str::from_utf8(&body).unwrap();
        assert_eq!(
            (status.as_u16(), statuses(format, body)),
            (200, vec!["403".to_owned(), "403".to_owned()])
        );
        assert!(body.contains("batch-response") && body.starts_with('<') == (format == XML), "{body}");
        assert_eq!(headers["content-type"], format!("{}; charset=utf-8", media(format)));
    }
}

/// What answers an entry, and what a client sees of it.
fn answered_entry(scope: &str, request: (&str, &str), format: pforte::fhir::Format, answer: &str) -> String {
    let body = batch(JSON, "batch", &[request]);
    let answer = bundle(format, "batch-response", "", &[answer.to_owned()]);
    shown(&route(), &post(scope, "", &body), ok(&answer)).unwrap().body
}

/// The count must fit, or no entry can be told from another.
#[test]
fn counts_and_types_must_fit() {
    let body = batch(JSON, "batch", &[("GET", "Observation/1"), ("GET", "Patient/1")]);
    for format in BOTH {
        let one = response(format, "200 OK", "", &resource(format, "Observation", "1"));
        let table = [
            ("batch-response", vec![], Err("WrongShape")),
            ("batch-response", vec![one.clone()], Ok(())),
            ("batch-response", vec![one.clone(), one.clone()], Err("WrongShape")),
            ("transaction-response", vec![one.clone()], Err("WrongShape")),
            ("searchset", vec![one.clone()], Err("WrongShape")),
        ];
        for (kind, entries, expected) in table {
            let answer = bundle(format, kind, "", &entries);
            let got = shown(&route(), &post(SCOPE, "", &body), ok(&answer)).map(|_| ());
            assert_eq!(got, expected.map_err(str::to_owned), "{kind} {}", entries.len());
        }
    }
}

/// REST-34: each entry is held against what was asked; a wrong one is answered here in its place.
#[test]
fn entries_are_checked_like_answers() {
    for format in BOTH {
        let r = |name: &str, id: &str| resource(format, name, id);
        let answer = |status: &str, resource: &str| response(format, status, "", resource);
        let read = ("GET", "Observation/1");
        let search = ("GET", "Observation?code=x");
        let mixed = |kind: &str| {
            let entries = [
                entry(format, &r("Observation", "1"), "match"),
                entry(format, &r("Patient", "secret"), "include"),
            ];
            bundle(format, kind, "", &entries)
        };
        let secret = r("Patient", "secret");
        let table: [(&str, (&str, &str), String, &str); 16] = [
            (SCOPE, read, answer("200 OK", &r("Observation", "1")), "200"),
            (SCOPE, read, answer("200 OK", &r("Observation", "2")), "502"),
            (SCOPE, read, answer("200 OK", &secret), "502"),
            (SCOPE, read, answer("200 OK", ""), "502"),
            (SCOPE, read, answer("304 Not Modified", ""), "304"),
            (SCOPE, read, answer("304 Not Modified", &secret), "502"),
            (SCOPE, read, answer("404 Not Found", &secret), "404"),
            (SCOPE, read, answer("200 secret", &r("Observation", "1")), "200"),
            (SCOPE, read, answer("secret", &r("Observation", "1")), "502"),
            (SCOPE, read, answer("403 Forbidden", ""), "502"),
            (SCOPE, read, entry(format, &r("Observation", "1"), "match"), "502"),
            (SCOPE, search, answer("200 OK", &mixed("searchset")), "200"),
            (SCOPE, search, answer("200 OK", &mixed("history")), "502"),
            (SCOPE, search, answer("304 Not Modified", ""), "502"),
            (
                "system/Condition.c",
                ("POST", "Condition"),
                answer("201 Created", &r("Condition", "secret")),
                "201",
            ),
            (
                "system/Observation.rs system/Patient.u",
                ("GET", "Observation/$lastn"),
                answer("200 OK", &mixed("searchset")),
                "200",
            ),
        ];
        for (scope, request, answer, status) in table {
            let body = answered_entry(scope, request, format, &answer);
            assert_eq!(statuses(format, &body), [status], "{request:?} {answer}\n{body}");
            assert!(!body.contains("secret"), "{request:?} {answer}\n{body}");
        }
        let shown = answered_entry(
            "system/Condition.cr",
            ("POST", "Condition"),
            format,
            &answer("201 Created", &r("Condition", "new")),
        );
        assert!(shown.contains("new"), "{shown}");
    }
}

/// RESP-3 in entries: outcomes are cleaned by the status they explain; nothing else stands in their place.
#[test]
fn outcomes_of_entries() {
    let read = ("GET", "Observation/1");
    for format in BOTH {
        let table = [
            ("400 Bad Request", "the value is too long", true),
            ("422 Unprocessable Entity", "the value is too long", true),
            ("409 Conflict", "like Patient Jane Doe", false),
            ("412 Precondition Failed", "like Patient Jane Doe", false),
            ("404 Not Found", "like Patient Jane Doe", false),
            ("500 Internal Server Error", "stack trace", false),
            ("400 Bad Request", "http://upstream.internal/fhir", false),
        ];
        for (status, diagnostics, kept) in table {
            let answer = response(format, status, &with_outcome(format, &outcome(format, diagnostics)), "");
            let body = answered_entry(SCOPE, read, format, &answer);
            assert_eq!(body.contains(diagnostics), kept, "{status}: {body}");
            assert!(
                body.contains(status) && body.contains("OperationOutcome") && !body.contains("SECRET"),
                "{body}"
            );
        }
        let foreign = with_outcome(format, &resource(format, "Patient", "secret"));
        let body = answered_entry(SCOPE, read, format, &response(format, "404 Not Found", &foreign, ""));
        assert_eq!(statuses(format, &body), ["502"]);
        assert!(!body.contains("secret"), "{body}");
        // As the resource of a write's entry, too.
        let written = response(format, "201 Created", "", &outcome(format, "fine"));
        for scope in ["system/Condition.c", "system/Condition.cr"] {
            let body = answered_entry(scope, ("POST", "Condition"), format, &written);
            assert!(body.contains("OperationOutcome") && !body.contains("SECRET"), "{body}");
        }
    }
}

/// RESP-9 in entries: an error has no address, and an existing record is named only to who may see it.
#[test]
fn addresses_of_entries() {
    for format in BOTH {
        let named = [
            text(format, "location", "http://upstream.internal/fhir/Condition/7"),
            text(format, "etag", if format == JSON { r#"W/\"1\""# } else { "W/\"1\"" }),
            text(format, "lastModified", "2026-01-01T00:00:00Z"),
        ]
        .concat();
        for (scope, status, shown) in [
            ("system/Condition.c", "201 Created", true),
            ("system/Condition.c", "200 OK", false),
            ("system/Condition.cs", "200 OK", true),
            ("system/Condition.cr", "409 Conflict", false),
            ("system/Condition.cr", "412 Precondition Failed", false),
            ("system/Condition.cr", "303 See Other", false),
        ] {
            let body =
                answered_entry(scope, ("POST", "Condition"), format, &response(format, status, &named, ""));
            for name in ["Condition/7", "etag", "lastModified"] {
                assert_eq!(body.contains(name), shown, "{scope} {status} {name}: {body}");
            }
            assert!(!body.contains("upstream"), "{body}");
        }
    }
}

/// RESP-6 in entries: an address that leads past the base is none.
#[test]
fn foreign_addresses_of_entries() {
    for format in BOTH {
        for (location, shown) in [
            ("http://upstream.internal/fhir/Condition/7", Some("https://gw.test/fhir/Condition/7")),
            ("Condition/7/_history/1", Some("Condition/7/_history/1")),
            ("http://upstream.internal/other/Condition/7", None),
            ("http://elsewhere.test/fhir/Condition/7", None),
        ] {
            let answer = response(format, "201 Created", &text(format, "location", location), "");
            let body = answered_entry("system/Condition.c", ("POST", "Condition"), format, &answer);
            assert_eq!(body.contains("location"), shown.is_some(), "{location}: {body}");
            assert!(shown.is_none_or(|shown| body.contains(shown)), "{location}: {body}");
        }
    }
}

/// REST-34: links of a nested searchset are those of a search.
#[test]
fn links_in_entries() {
    for format in BOTH {
        let head = link(format, "next", "http://upstream.internal/fhir?_getpages=1");
        let answer = response(format, "200 OK", "", &bundle(format, "searchset", &head, &[]));
        let body = answered_entry(SCOPE, ("GET", "Observation?code=x"), format, &answer);
        assert!(body.contains("https://gw.test/fhir?_link=") && !body.contains("_getpages"), "{body}");
    }
}
