use super::*;

const READING: Reading<'_> =
    Reading { version: FhirVersion::R4, public_base: "https://gw.test/fhir", bundle_entries: 10 };

fn read(
    method: &str,
    target: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Result<FhirRequest, Unreadable> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("a header value"));
    }
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let asked = Asked::classify(FhirVersion::R4, &method, Target::relative(target)?, &map)?;
    asked.with_body(Bytes::copy_from_slice(body.as_bytes()), READING)
}

const JSON: (&str, &str) = ("content-type", "application/fhir+json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

/// Method, target, header fields and body of a request, and whether the body fits.
type Fit = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, bool);

const FITS: &[Fit] = &[
    ("GET", "Patient/1", &[], "", true),
    ("GET", "Patient/1", &[], "x", false),
    ("DELETE", "Patient/1", &[], "{}", false),
    ("POST", "Patient/_search", &[FORM], "name=x", true),
    ("POST", "Patient/_search", &[], "", true),
    ("POST", "Patient/_search", &[JSON], "name=x", false),
    ("POST", "Patient/_search", &[FORM], "name=%zz", false),
    (
        "POST",
        "Patient/_search",
        &[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")],
        "name=x",
        true,
    ),
    ("POST", "Patient", &[JSON, ("content-encoding", "gzip")], r#"{"resourceType":"Patient"}"#, false),
    (
        "POST",
        "Patient",
        &[("content-type", "application/fhir+json; charset=utf-16")],
        r#"{"resourceType":"Patient"}"#,
        false,
    ),
    ("POST", "Patient", &[JSON], r#"{"resourceType":"Patient"}"#, true),
    ("POST", "Patient", &[JSON], r#"{"resourceType":"Observation"}"#, false),
    ("POST", "Patient", &[JSON], r#"{"resourceType":"Patient","resourceType":"Patient"}"#, false),
    ("POST", "Patient", &[JSON], r#"{"resourceType":"Patient","gender":"x","Gender":"y"}"#, false),
    ("POST", "Patient", &[JSON], r#"{"resourceType":"Patient"} x"#, false),
    ("POST", "Patient", &[JSON], "", false),
    ("POST", "Patient", &[], r#"{"resourceType":"Patient"}"#, false),
    ("POST", "Patient", &[("content-type", "text/turtle")], "x", false),
    (
        "POST",
        "Patient",
        &[("content-type", "application/fhir+xml")],
        r#"<Patient xmlns="http://hl7.org/fhir"/>"#,
        true,
    ),
    (
        "POST",
        "Patient",
        &[("content-type", "application/fhir+xml")],
        r#"<!DOCTYPE x><Patient xmlns="http://hl7.org/fhir"/>"#,
        false,
    ),
    ("PUT", "Patient/1", &[JSON], r#"{"resourceType":"Patient","id":"1"}"#, true),
    ("PUT", "Patient/1", &[JSON], r#"{"resourceType":"Patient","id":"2"}"#, false),
    ("PUT", "Patient/1", &[JSON], r#"{"resourceType":"Patient"}"#, false),
    ("PUT", "Patient?identifier=x", &[JSON], r#"{"resourceType":"Patient"}"#, true),
    ("PATCH", "Patient/1", &[JSON_PATCH], r#"[{"op":"replace","path":"/gender","value":"male"}]"#, true),
    ("PATCH", "Patient/1", &[JSON_PATCH], r#"[{"op":"replace","path":"/id","value":"2"}]"#, false),
    ("PATCH", "Patient/1", &[JSON_PATCH], r#"[{"op":"move","from":"/resourceType","path":"/x"}]"#, false),
    ("PATCH", "Patient/1", &[JSON_PATCH], r#"[{"op":"nonsense","path":"/gender"}]"#, false),
    ("PATCH", "Patient/1", &[JSON_PATCH], r#"{"op":"remove","path":"/gender"}"#, false),
    ("PATCH", "Patient/1", &[("content-type", "application/xml-patch+xml")], "<diff/>", false),
    ("POST", "Binary", &[("content-type", "application/pdf")], "%PDF", true),
    ("POST", "Binary", &[], "%PDF", false),
    ("POST", "Observation/$lastn", &[], "", true),
    ("POST", "Observation/$lastn", &[("content-type", "text/plain")], "x", false),
    (
        "POST",
        "Observation/$validate",
        &[JSON],
        r#"{"resourceType":"Observation","subject":{"reference":"Patient/1"}}"#,
        true,
    ),
    (
        "POST",
        "Observation/$validate",
        &[JSON],
        r#"{"resourceType":"Observation","subject":{"reference":"Patient?a=b"}}"#,
        false,
    ),
];

/// REST-4, REST-5, REST-9, REST-10, REST-14: which bodies fit which interaction.
#[test]
fn bodies_fit_their_interaction() {
    for (method, target, headers, body, fits) in FITS {
        let read = read(method, target, headers, body);
        assert_eq!(read.is_ok(), *fits, "{method} {target} {headers:?} {body}: {read:?}");
    }
}

/// REST-12: a JSON Patch `test` and a condition in a FHIRPath Patch ask about what is stored.
#[test]
fn patches_that_read() {
    let fhirpath = |path: &str| {
        format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":[{{"name":"type","valueCode":"delete"}},{{"name":"path","valueString":"{path}"}}]}}]}}"#
        )
    };
    let table = [
        (JSON_PATCH, r#"[{"op":"remove","path":"/gender"}]"#.to_owned(), false),
        (
            JSON_PATCH,
            r#"[{"op":"test","path":"/gender","value":"male"},{"op":"remove","path":"/gender"}]"#.into(),
            true,
        ),
        (JSON, fhirpath("Patient.gender"), false),
        (JSON, fhirpath("Patient.name.where(family = 'X').given"), true),
    ];
    for (content_type, body, reads) in table {
        let request = read("PATCH", "Patient/1", &[content_type], &body).expect(&body);
        assert_eq!(request.patch_reads(), reads, "{body}");
    }
    assert!(read("PATCH", "Patient/1", &[JSON], &fhirpath("Patient.id")).is_err(), "the id is not patched");
    let searching = read("PATCH", "Patient/1", &[JSON], &fhirpath("Organization?identifier=x"));
    assert_eq!(searching.err(), Some(Unreadable::ConditionalReference), "REST-16");
}

/// REST-30 … REST-40: what an entry may ask, and the neighbour that is refused by itself.
#[test]
fn entries_are_requests() {
    let observation = r#""resource":{"resourceType":"Observation"}"#;
    let table = [
        (r#"{"request":{"method":"GET","url":"Patient/1"}}"#.to_owned(), true),
        (r#"{"request":{"method":"GET","url":"https://gw.test/fhir/Patient/1"}}"#.into(), true),
        (r#"{"request":{"method":"GET","url":"Observation?code=http://loinc.org|1"}}"#.into(), true),
        (r#"{"request":{"method":"GET","url":"http://upstream.internal/fhir/Patient/1"}}"#.into(), false),
        (r#"{"request":{"method":"GET","url":"/fhir/Patient/1"}}"#.into(), false),
        (r#"{"request":{"method":"GET","url":"//gw.test/Patient/1"}}"#.into(), false),
        (r#"{"request":{"method":"GET","url":"Patient/1/../2"}}"#.into(), false),
        (r#"{"request":{"method":"GET","url":"metadata"}}"#.into(), false),
        (r#"{"request":{"method":"POST","url":""}}"#.into(), false),
        (r#"{"request":{"method":"get","url":"Patient/1"}}"#.into(), false),
        (r#"{"fullUrl":"urn:uuid:1"}"#.into(), false),
        (format!(r#"{{"fullUrl":"urn:uuid:1",{observation},"request":{{"method":"POST","url":"Observation"}}}}"#), true),
        (format!(r#"{{{observation},"request":{{"method":"POST","url":"Patient"}}}}"#), false),
        (r#"{"request":{"method":"POST","url":"Observation"}}"#.into(), false),
        (format!(r#"{{{observation},"request":{{"method":"GET","url":"Observation/1"}}}}"#), false),
        (r#"{"fullUrl":"https://gw.test/fhir/Patient/a","resource":{"resourceType":"Patient","id":"x"},"request":{"method":"PUT","url":"Patient/x"}}"#.into(), false),
        (r#"{"fullUrl":"https://gw.test/fhir/Patient/x","resource":{"resourceType":"Patient","id":"x"},"request":{"method":"PUT","url":"Patient/x"}}"#.into(), true),
        (r#"{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2dlbmRlciJ9XQ=="},"request":{"method":"PATCH","url":"Patient/x"}}"#.into(), true),
        (r#"{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2lkIn1d"},"request":{"method":"PATCH","url":"Patient/x"}}"#.into(), false),
        (r#"{"resource":{"resourceType":"Observation","subject":{"reference":"Patient?identifier=x"}},"request":{"method":"POST","url":"Observation"}}"#.into(), false),
    ];
    for (entry, readable) in table {
        let body = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entry}]}}"#);
        let request = read("POST", "", &[JSON], &body).expect(&body);
        let Body::Bundle(bundle) = request.body() else { panic!("no bundle: {body}") };
        assert_eq!(bundle.entries[0].is_ok(), readable, "{entry}: {:?}", bundle.entries[0]);
    }
}

/// REST-36, REST-38, REST-39: bundles that are refused whole, and identities that repeat.
#[test]
fn bundles_as_a_whole() {
    for (kind, accepted) in
        [("batch", true), ("transaction", true), ("document", false), ("history", false), ("Batch", false)]
    {
        let body = format!(r#"{{"resourceType":"Bundle","type":"{kind}"}}"#);
        assert_eq!(read("POST", "", &[JSON], &body).is_ok(), accepted, "{kind}");
    }
    let entry = r#"{"request":{"method":"DELETE","url":"Patient/1"}}"#;
    let twice = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entry},{entry}]}}"#);
    let request = read("POST", "", &[JSON], &twice).expect("a batch");
    let Body::Bundle(bundle) = request.body() else { panic!("no bundle") };
    assert_eq!(bundle.entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    let many = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#, [entry; 11].join(","));
    assert_eq!(read("POST", "", &[JSON], &many), Err(Unreadable::TooManyEntries(10)));
}

/// REST-9: what cannot be checked is not served, raw Binary content aside.
#[test]
fn formats_that_are_served() {
    let html = [("accept", "text/html")];
    assert_eq!(read("GET", "Patient/1", &html, "").err(), Some(Unreadable::NotAcceptable));
    assert!(read("GET", "Binary/1", &[("accept", "application/pdf")], "").is_ok());
    assert_eq!(
        read("GET", "Binary", &[("accept", "application/pdf")], "").err(),
        Some(Unreadable::NotAcceptable)
    );
}
