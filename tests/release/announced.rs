//! What is announced to the audit before it leaves, and whom it concerns (AUD-1, AUD-7).

use pforte::gateway::Effect::{self, Changes, Reads};

use crate::setting::*;

const ALL: &str = "system/*.cruds";
const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/a"},"performer":[{"reference":"https://gw.test/fhir/Patient/b"},{"reference":"https://else.test/fhir/Patient/c"}]}"#;
const IN_XML: &str = r#"<Observation xmlns="http://hl7.org/fhir"><id value="o1"/><subject><reference value="Patient/a"/></subject></Observation>"#;
const PATCH: &str = r#"[{"op":"test","path":"/subject/reference","value":"Patient/a"},{"op":"add","path":"/performer","value":[{"reference":"Patient/b"}]},{"op":"replace","path":"/note","value":7}]"#;
const PATCHED: &str = r#"{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},{"name":"path","valueString":"Observation.subject"},{"name":"value","valueReference":{"reference":"Patient/a"}}]}]}"#;

fn entry(method: &str, url: &str, resource: &str) -> String {
    let resource = if resource.is_empty() { String::new() } else { format!(r#","resource":{resource}"#) };
    format!(r#"{{"request":{{"method":"{method}","url":"{url}"}}{resource}}}"#)
}

fn bundle(kind: &str, entries: &[String]) -> String {
    format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{}]}}"#, entries.join(","))
}

fn sent<'a>(method: &'a str, target: &'a str, body: &'a str) -> Ask<'a> {
    const JSON_PATCH: &[(&str, &str)] = &[("content-type", "application/json-patch+json")];
    let ask = Ask { method, ..post(ALL, target, body) };
    if body.starts_with('[') { Ask { headers: JSON_PATCH, ..ask } } else { ask }
}

fn told(route: &pforte::gateway::Route, ask: &Ask<'_>) -> (Effect, String) {
    let passage = passed(route, ask).unwrap_or_else(|refused| panic!("{ask:?} is refused: {refused}"));
    let mention = |mention: &pforte::fhir::links::Mention| match mention.entry {
        Some(entry) => format!("{entry}:{}", mention.id),
        None => mention.id.clone(),
    };
    let written: Vec<_> = passage.written.iter().map(mention).collect();
    (passage.effect, written.join(" "))
}

/// Whatever may change something is announced, about whom it names; what only reads is not.
#[test]
fn aud_1_what_is_announced() {
    let route = route();
    let document = |persist: &'static str| Ask { method: "GET", ..get(ALL, persist) };
    let patient = r#"{"resourceType":"Patient","id":"a"}"#;
    let parameters = r#"{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":{}}]}"#;
    let table = [
        (get(ALL, "Patient/a"), Reads, ""),
        (Ask { method: "HEAD", ..get(ALL, "Patient/a") }, Reads, ""),
        (get(ALL, "Observation?patient=a"), Reads, ""),
        (sent("POST", "Observation", OBSERVATION), Changes, "a b"),
        (sent("POST", "Observation", IN_XML), Changes, "a"),
        (sent("POST", "Observation", r#"{"resourceType":"Observation"}"#), Changes, ""),
        (sent("PUT", "Observation/o1", OBSERVATION), Changes, "a b"),
        (sent("PUT", "Observation?identifier=x", OBSERVATION), Changes, "a b"),
        (sent("PATCH", "Observation/o1", PATCH), Changes, "b a"),
        (sent("PATCH", "Observation/o1", PATCHED), Changes, "a"),
        (sent("PUT", "Patient/a", patient), Changes, "a"),
        (Ask { method: "DELETE", ..get(ALL, "Patient/a") }, Changes, "a"),
        (Ask { method: "DELETE", ..get(ALL, "Observation/o1") }, Changes, ""),
        (Ask { method: "DELETE", ..get(ALL, "Observation?identifier=x") }, Changes, ""),
        (get(ALL, "Patient/a/$everything"), Reads, ""),
        (sent("POST", "Observation/$validate", OBSERVATION), Reads, ""),
        (get(ALL, "$export"), Reads, ""),
        (document("Composition/c/$document"), Reads, ""),
        (document("Composition/c/$document?persist=false"), Reads, ""),
        (document("Composition/c/$document?persist=true"), Changes, ""),
        (sent("POST", "Patient/a/$meta-add", parameters), Changes, "a"),
    ];
    for (ask, effect, written) in table {
        assert_eq!(told(&route, &ask), (effect, written.to_owned()), "{ask:?}");
    }
}

/// A bundle is announced when one entry that is sent on changes something; each names its own.
#[test]
fn aud_7_what_bundles_announce() {
    let route = route();
    let read = entry("GET", "Patient/a", "");
    let create = entry("POST", "Observation", OBSERVATION);
    let delete = entry("DELETE", "Patient/d", "");
    let table = [
        (ALL, bundle("batch", &[read.clone(), read.clone()]), Reads, ""),
        (ALL, bundle("batch", &[read.clone(), create.clone(), delete.clone()]), Changes, "1:a 1:b 2:d"),
        (ALL, bundle("transaction", &[create.clone(), read.clone()]), Changes, "0:a 0:b"),
        // What is refused is not sent.
        ("system/Patient.rs", bundle("batch", &[create, read, delete]), Reads, ""),
    ];
    for (scope, body, effect, written) in table {
        assert_eq!(told(&route, &post(scope, "", &body)), (effect, written.to_owned()), "{scope} {body}");
    }
}
