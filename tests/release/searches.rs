//! Searchsets and histories under grants for some types (RESP-1, RESP-7, SRCH-7, SRCH-8, SRCH-16, SRCH-28, REST-18).

use crate::setting::*;

const OBSERVATIONS: &str = "system/Observation.rs";

fn search(format: pforte::fhir::Format, head: &str, entries: &[String]) -> Result<Shown, String> {
    let body = bundle(format, "searchset", head, entries);
    shown(&route(), &get(OBSERVATIONS, "Observation?code=x"), ok(&body))
}

fn plain(format: pforte::fhir::Format, name: &str, id: &str) -> String {
    entry(format, &resource(format, name, id), "match")
}

/// RESP-1: entries of other types go, the rest stays as it is and where it is.
#[test]
fn entries_of_other_types_are_cut() {
    for format in BOTH {
        let e = |name: &str, id: &str| plain(format, name, id);
        let all = [
            e("Observation", "1"),
            e("Patient", "2"),
            e("Observation", "3"),
            e("Condition", "4"),
            e("observation", "5").replace("observation", "Observationx"),
            e("Observation", "6"),
        ];
        let left = [all[0].clone(), all[2].clone(), all[5].clone()];
        let shown = search(format, "", &all).unwrap();
        assert_eq!(shown.body, bundle(format, "searchset", "", &left));
        assert!(shown.altered);
        // The neighbour: nothing to cut, not a byte changed.
        let shown = search(format, &total(format, 3), &left).unwrap();
        assert_eq!(shown.body, bundle(format, "searchset", &total(format, 3), &left));
        assert!(!shown.altered);
    }
}

/// RESP-7: nothing is left of what was removed, not even an empty array.
#[test]
fn nothing_is_left_of_an_empty_result() {
    for format in BOTH {
        let shown =
            search(format, &total(format, 2), &[plain(format, "Patient", "1"), plain(format, "Device", "2")]);
        assert_eq!(shown.unwrap().body, bundle(format, "searchset", "", &[]));
    }
}

/// SRCH-7, SRCH-8: an include stays with r or s of its type.
#[test]
fn includes_need_read_or_search() {
    for format in BOTH {
        for (scope, kept) in [
            ("system/Observation.s", false),
            ("system/Observation.s system/Patient.r", true),
            ("system/Observation.s system/Patient.s", true),
            ("system/Observation.s user/Patient.rs", true),
            ("system/Observation.s system/Patient.cud", false),
            ("system/Observation.s patient/Patient.rs", false),
        ] {
            let included = entry(format, &resource(format, "Patient", "p"), "include");
            let body = bundle(format, "searchset", "", &[included]);
            let ask = get(scope, "Observation?_include=Observation:subject");
            let shown = shown(&route(), &ask, ok(&body)).unwrap();
            assert_eq!(shown.body.contains("Patient"), kept, "{scope}");
        }
    }
}

/// SRCH-28: a search's own warnings stay, said anew; others, and those that speak of the backend, go.
#[test]
fn outcomes_of_a_search() {
    for format in BOTH {
        let table = [
            ("outcome", "unknown parameter", true),
            ("match", "unknown parameter", false),
            ("include", "unknown parameter", false),
            ("outcome", "http://upstream.internal/fhir failed", false),
            ("outcome", "UPSTREAM.internal failed", false),
        ];
        for (mode, diagnostics, kept) in table {
            let warning = entry(format, &outcome(format, diagnostics), mode);
            let shown = search(format, "", &[warning]).unwrap();
            assert_eq!(shown.body.contains("OperationOutcome"), kept, "{mode} {diagnostics}: {}", shown.body);
            assert_eq!(shown.body.contains(diagnostics), kept, "{mode} {diagnostics}: {}", shown.body);
            // Narrative, extensions and contained resources of it could hold anything.
            assert!(!shown.body.contains("SECRET"), "{}", shown.body);
        }
    }
    let escaped = entry(JSON, &outcome(JSON, "upstream\\u002einternal failed"), "outcome");
    assert!(!search(JSON, "", &[escaped]).unwrap().body.contains("OperationOutcome"));
    let smuggled = entry(
        JSON,
        r#"{"resourceType":"OperationOutcome","contained":[{"resourceType":"Patient","id":"p"}],"issue":[{"severity":"error","code":"x"}]}"#,
        "outcome",
    );
    assert!(!search(JSON, "", &[smuggled]).unwrap().body.contains("Patient"));
}

/// RESP-1: an entry without a resource says something all the same.
#[test]
fn entries_without_a_resource_are_cut() {
    for (format, bare) in [
        (JSON, r#"{"fullUrl":"http://upstream.internal/fhir/Observation/1"}"#),
        (XML, r#"<entry><fullUrl value="http://upstream.internal/fhir/Observation/1"/></entry>"#),
    ] {
        let shown = search(format, "", &[bare.to_owned()]).unwrap();
        assert_eq!(shown.body, bundle(format, "searchset", "", &[]));
    }
}

/// RESP-1: in principle any resource can stand in `response.outcome`, in `issues` (R5), and in a nested container.
#[test]
fn no_other_place_holds_a_foreign_resource() {
    let scope = "system/Observation.rs system/Bundle.rs";
    for format in BOTH {
        let foreign = resource(format, "Patient", "secret");
        let own = resource(format, "Observation", "o");
        let parameters = |inner: &str| match format {
            JSON => format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"a","part":[{{"name":"b","resource":{inner}}}]}}]}}"#
            ),
            XML => format!(
                r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="a"/><part><name value="b"/><resource>{inner}</resource></part></parameter></Parameters>"#
            ),
        };
        let nested = |inner: &str| bundle(format, "collection", "", &[entry(format, inner, "match")]);
        let issues = |inner: &str| match format {
            JSON => format!(r#","issues":{inner}"#),
            XML => format!("<issues>{inner}</issues>"),
        };
        let answered = |inner: &str| response(format, "200 OK", &with_outcome(format, inner), &own);
        let searchset = |entries: &[String]| bundle(format, "searchset", "", entries);
        let hidden = [
            searchset(&[answered(&foreign)]),
            searchset(&[entry(format, &nested(&foreign), "match")]),
            searchset(&[entry(format, &nested(&nested(&foreign)), "match")]),
            searchset(&[entry(format, &parameters(&foreign), "match")]),
            searchset(&[entry(format, &nested(&parameters(&foreign)), "match")]),
            searchset(&[entry(format, &bundle(format, "collection", &issues(&foreign), &[]), "match")]),
            bundle(format, "searchset", &issues(&foreign), &[entry(format, &own, "match")]),
        ];
        for body in hidden {
            let shown = shown(&route(), &get(scope, "Observation?code=x"), ok(&body)).unwrap();
            assert!(!shown.body.contains("secret"), "{body}\n{}", shown.body);
        }
        // The neighbours: what is of a granted type all through stays.
        for inner in [nested(&own), nested(&nested(&own)), parameters(&own)] {
            let body = searchset(&[entry(format, &inner, "include")]);
            let shown = shown(&route(), &get(scope, "Observation?code=x"), ok(&body)).unwrap();
            assert_eq!(shown.body, body);
        }
    }
    // A Bundle is no domain resource: `contained` in it is a way around the check.
    let body = r#"{"resourceType":"Bundle","type":"searchset","contained":[{"resourceType":"Patient","id":"secret"}]}"#;
    let answer = shown(&route(), &get(scope, "Observation?code=x"), ok(body));
    assert_eq!(answer, Err("WrongShape".into()));
}

/// SRCH-16: a count stays only when it counts what may be seen.
#[test]
fn totals() {
    for format in BOTH {
        let own = plain(format, "Observation", "1");
        let other = plain(format, "Patient", "2");
        let table: [(&str, &str, &[String], bool); 6] = [
            (OBSERVATIONS, "Observation?code=x", std::slice::from_ref(&own), true),
            (OBSERVATIONS, "Observation?code=x", &[own.clone(), other.clone()], false),
            // Narrowed by `_type`, which a backend may ignore.
            (OBSERVATIONS, "?_type=Observation", std::slice::from_ref(&own), false),
            (OBSERVATIONS, "", std::slice::from_ref(&own), false),
            ("system/*.rs", "?_type=Observation", std::slice::from_ref(&own), true),
            // What an operation counts may be of any type.
            (
                "system/Observation.rs system/Patient.r",
                "Patient/1/$everything",
                std::slice::from_ref(&own),
                false,
            ),
        ];
        for (scope, target, entries, kept) in table {
            let body = bundle(format, "searchset", &total(format, 7), entries);
            let shown = shown(&route(), &get(scope, target), ok(&body)).unwrap();
            assert_eq!(shown.body.contains("total"), kept, "{scope} {target}: {}", shown.body);
        }
    }
}

/// REST-18: a deletion says only what was deleted; it is shown by the type of its request's URL, on any page.
#[test]
fn deletions_in_a_history() {
    let scope = "system/Observation.rs system/Patient.cud";
    for format in BOTH {
        let deleted = |url: &str| match format {
            JSON => {
                format!(r#"{{"request":{{"method":"DELETE","url":"{url}"}},"response":{{"status":"204"}}}}"#)
            }
            XML => format!(
                r#"<entry><request><method value="DELETE"/><url value="{url}"/></request><response><status value="204"/></response></entry>"#
            ),
        };
        let table = [
            ("Observation/1", true),
            ("Observation/1/_history/3", true),
            ("Observation", true),
            ("/Observation/1", false),
            ("/fhir/Observation/1", true),
            ("http://upstream.internal/fhir/Observation/1", true),
            ("HTTP://UPSTREAM.internal:80/fhir/Observation/1", true),
            ("https://gw.test/fhir/Observation/1", true),
            ("http://elsewhere.test/fhir/Observation/1", false),
            ("Patient/1", false),
            ("Patient/Observation", false),
            ("Patient/1/Observation/2", false),
            ("Observation/1/../../Patient/2", false),
            ("observation/1", false),
            ("", false),
        ];
        for (url, kept) in table {
            let body = bundle(format, "history", "", &[deleted(url)]);
            let shown = shown(&route(), &get(scope, "Observation/_history"), ok(&body)).unwrap();
            assert_eq!(shown.body.contains("DELETE"), kept, "{url}: {}", shown.body);
            // The same entry is nothing in a search.
            let body = bundle(format, "searchset", "", &[deleted(url)]);
            let shown =
                super::setting::shown(&route(), &get(scope, "Observation?code=x"), ok(&body)).unwrap();
            assert!(!shown.body.contains("DELETE"), "{url}: {}", shown.body);
        }
        // And content decides over the URL.
        let moved = match format {
            JSON => format!(
                r#"{{"resource":{},"request":{{"method":"PUT","url":"Observation/1"}}}}"#,
                resource(format, "Patient", "secret")
            ),
            XML => format!(
                r#"<entry><resource>{}</resource><request><method value="PUT"/><url value="Observation/1"/></request></entry>"#,
                resource(format, "Patient", "secret")
            ),
        };
        let body = bundle(format, "history", "", &[moved]);
        let shown = shown(&route(), &get(scope, "Observation/1/_history"), ok(&body)).unwrap();
        assert!(!shown.body.contains("secret"));
    }
}
