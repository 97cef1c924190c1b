//! A backend that misbehaves (RESP-2, RESP-3, HTTP-13, HTTP-15).

use std::time::Duration;

use pforte::demo::fhir_server::Misbehaviour;
use pforte::demo::trouble::Canned;
use serde_json::{Value, json};

use crate::house::{House, Plan};

const JSON: &str = "application/fhir+json";
const XML: &str = "application/fhir+xml";

const SHORT: Plan = Plan {
    backend: "timeout = \"1s\"",
    issuer: "",
    tables: "[limits]\nchecked_answer_bytes = \"64KiB\"",
    secrets: &[],
};

fn canned(status: u16, media: &str, body: impl Into<bytes::Bytes>) -> Misbehaviour {
    Misbehaviour::Answer(Canned::new(status, body).header("content-type", media))
}

fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": "Wrongman"}]})
}

/// What the backend answers, the status a client then gets, and the reason, where there is one only.
type Wrong = (&'static str, Misbehaviour, u16, &'static str);

/// Not FHIR, or not an answer at all.
fn no_fhir() -> Vec<Wrong> {
    let redirect = Canned::new(302, "").header("location", "http://backend.internal/login");
    let basic = Canned::new(401, "Wrongman").header("www-authenticate", "Basic realm=\"backend.internal\"");
    let packed = Canned::new(200, &b"\x1f\x8b\x08\x00Wrongman"[..]).header("content-type", JSON);
    let packed = packed.header("content-encoding", "gzip");
    vec![
        ("a page", Misbehaviour::Answer(Canned::html()), 502, "answer_not_fhir"),
        ("a page that says FHIR", canned(200, JSON, "<html>Wrongman</html>"), 502, ""),
        ("plain text", canned(200, "text/plain", "Wrongman"), 502, "answer_not_fhir"),
        ("nothing", canned(200, JSON, ""), 502, ""),
        ("500", canned(500, "text/html", "Wrongman at com.example.Stack"), 502, "backend_failed"),
        ("500 with an outcome", canned(500, JSON, outcome()), 502, "backend_failed"),
        ("503", canned(503, "text/html", "Wrongman"), 503, "backend_failed"),
        ("401", Misbehaviour::Answer(basic), 502, "backend_refused_gateway"),
        ("403", canned(403, JSON, outcome()), 502, "backend_refused_gateway"),
        ("a redirect", Misbehaviour::Answer(redirect), 502, "answer_redirected"),
        ("gzip", Misbehaviour::Answer(packed), 502, ""),
        ("closed", Misbehaviour::Close, 502, ""),
    ]
}

/// FHIR, but not what was asked for, or not to be read in one way only.
fn wrong_fhir() -> Vec<Wrong> {
    let observation = json!({"resourceType": "Observation", "id": "pat-01", "valueString": "Wrongman"});
    let bundle =
        json!({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient("pat-01")}]});
    let other = r#"<Observation xmlns="http://hl7.org/fhir"><id value="pat-01"/></Observation>"#;
    let doctype = r#"<!DOCTYPE p [<!ENTITY e "x">]><Patient xmlns="http://hl7.org/fhir"><id value="pat-01"/></Patient>"#;
    let bare = r#"<Patient><id value="pat-01"/></Patient>"#;
    let cut = r#"{"resourceType":"Patient","id":"pat-01","name":[{"#;
    let twice = r#"{"resourceType":"Observation","resourceType":"Patient","id":"pat-01"}"#;
    vec![
        ("another type", Misbehaviour::WrongResource(observation), 502, "answer_wrong_shape"),
        ("another id", Misbehaviour::WrongResource(patient("pat-02")), 502, "answer_wrong_shape"),
        ("a Bundle", Misbehaviour::WrongResource(bundle), 502, "answer_wrong_shape"),
        ("XML of another type", canned(200, XML, other), 502, "answer_wrong_shape"),
        ("XML with a DOCTYPE", canned(200, XML, doctype), 502, ""),
        ("XML without its namespace", canned(200, XML, bare), 502, ""),
        ("JSON cut short", canned(200, JSON, cut), 502, ""),
        ("a member twice", canned(200, JSON, twice), 502, ""),
    ]
}

/// Answers that are not what was asked for never reach a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_are_withheld() {
    let house = House::open(SHORT).await;
    for (words, trouble, status, reason) in no_fhir().into_iter().chain(wrong_fhir()) {
        house.demo.fhir.misbehave(trouble);
        let answer = house.ask("GET", "Patient/pat-01", "system/Patient.rs").with(words).send().await;
        answer
            .is(status)
            .holds("OperationOutcome")
            .lacks("Wrongman")
            .lacks("backend.internal")
            .lacks("com.example");
        answer.without("location");
        if !answer.field("www-authenticate").is_empty() {
            answer.wrong("no challenge: it was not the client's token");
        }
        if !reason.is_empty() {
            answer.refused(status, reason);
        }
        house.demo.fhir.behave();
    }
    house.ask("GET", "Patient/pat-01", "system/Patient.rs").with("well again").send().await.is(200);
    house.close();
}

/// A grant for everything may stream; what can be told from the head is still withheld.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_answers() {
    let house = House::open(SHORT).await;
    let redirect = Canned::new(307, "").header("location", "http://backend.internal/");
    let packed = Canned::new(200, &b"\x1f\x8b\x08\x00"[..])
        .header("content-type", JSON)
        .header("content-encoding", "gzip");
    let cases = [
        ("a page", Misbehaviour::Answer(Canned::html()), 502),
        ("500", canned(500, "text/html", "at com.example.Stack"), 502),
        ("a redirect", Misbehaviour::Answer(redirect), 502),
        ("gzip", Misbehaviour::Answer(packed), 502),
        ("401", canned(401, JSON, outcome()), 502),
        ("nothing", canned(200, JSON, ""), 502),
        ("closed", Misbehaviour::Close, 502),
    ];
    for (words, trouble, status) in cases {
        house.demo.fhir.misbehave(trouble);
        let answer = house.ask("GET", "Patient/pat-01", "system/*.rs").with(words).send().await;
        answer
            .is(status)
            .holds("OperationOutcome")
            .lacks("com.example")
            .lacks("backend.internal")
            .without("location");
        house.demo.fhir.behave();
    }
    // Beyond what is held, a stream goes through whole.
    house.demo.fhir.misbehave(Misbehaviour::Huge(1 << 20));
    let answer = house.ask("GET", "Patient/pat-01", "system/*.rs").with("1 MiB").send().await;
    answer.is(200).holds("\"pat-01\"");
    if answer.body.len() < 1 << 20 || answer.broken.is_some() {
        answer.wrong("the whole answer");
    }
    let answer =
        house.ask("GET", "Patient/pat-01", "system/Patient.rs").with("1 MiB, to be checked").send().await;
    answer.refused(502, "answer_too_large");
    house.demo.fhir.behave();
    house.close();
}

/// A body that breaks off must be seen to break off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_bodies() {
    let house = House::open(SHORT).await;
    for (scope, whole) in [("system/*.rs", false), ("system/Patient.rs", true)] {
        for (words, trouble) in [
            ("half", Misbehaviour::Truncate),
            ("one byte an hour", Misbehaviour::Trickle(Duration::from_secs(3600))),
        ] {
            house.demo.fhir.misbehave(trouble);
            let answer = house.ask("GET", "Patient/pat-01", scope).with(words).send().await;
            if whole {
                answer.one_of(&[502, 504]).holds("OperationOutcome").lacks("family");
            } else if answer.broken.is_none() && answer.status == 200 {
                answer.wrong("an answer that is seen to break off");
            }
            house.demo.fhir.behave();
        }
    }
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    for scope in ["system/*.rs", "system/Patient.rs"] {
        let answer = house.ask("GET", "Patient/pat-01", scope).with("hangs").send().await;
        answer.refused(504, "backend_timeout");
    }
    house.demo.fhir.behave();
    house.demo.fhir.refuse_connections().await;
    let answer = house.ask("GET", "Patient/pat-01", "system/*.rs").with("away").send().await;
    answer.refused(502, "backend_unreachable");
    house.demo.fhir.accept_connections().await.expect("the port is still free");
    house.ask("GET", "Patient/pat-01", "system/*.rs").with("back").send().await.is(200);
    house.close();
}

fn outcome() -> String {
    outcome_of("Wrongman at com.example.Stack on backend.internal")
}

fn outcome_of(text: &str) -> String {
    json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "exception", "diagnostics": text}]})
    .to_string()
}

/// RESP-3: refusals keep their status; what is no outcome, or names the backend, is not shown. What speaks of a record is
/// shown only to grants that reach everything, what speaks of the input to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_backend() {
    let house = House::open(SHORT).await;
    for status in [400, 404, 409, 410, 412, 422] {
        for (media, body) in [
            (JSON, outcome_of(&format!("Wrongman at http://{}/fhir", house.demo.fhir.address()))),
            (JSON, patient("pat-01").to_string()),
            ("text/html", "<b>Wrongman</b>".to_owned()),
            ("text/plain", "Wrongman".to_owned()),
            (JSON, outcome_of("of the record: Wrongman")),
        ] {
            for scope in ["system/Patient.rs", "system/*.rs"] {
                let shown = body.contains("of the record")
                    && (scope == "system/*.rs" || [400, 422].contains(&status));
                house.demo.fhir.misbehave(canned(status, media, body.clone()));
                let words = format!("{status} {media} {scope}");
                let answer = house.ask("GET", "Patient/pat-01", scope).with(&words).send().await;
                answer.is(status).holds("OperationOutcome").has("content-type", JSON);
                if shown {
                    answer.holds("Wrongman");
                } else {
                    answer.lacks("Wrongman");
                }
                house.demo.fhir.behave();
            }
        }
    }
    house.close();
}

/// RESP-1, SRCH-7, SRCH-28: entries nobody asked for are cut out; headers of the backend's own stay behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_beside_the_answer() {
    let house = House::open(SHORT).await;
    let entry = |resource: Value, mode: &str| json!({"resource": resource, "search": {"mode": mode}});
    let smuggled = json!({"resourceType": "Bundle", "type": "searchset", "total": 4, "entry": [
        entry(patient("pat-01"), "match"),
        entry(json!({"resourceType": "Observation", "id": "o1", "valueString": "Wrongtype"}), "match"),
        entry(json!({"resourceType": "Condition", "id": "c1", "code": {"text": "Wrongtype"}}), "include"),
        entry(json!({"resourceType": "Bundle", "id": "b1", "type": "collection",
            "entry": [{"resource": {"resourceType": "Observation", "valueString": "Wrongtype"}}]}), "include"),
        {"search": {"mode": "match"}},
    ]});
    for media in [JSON, "application/json", "application/json+fhir;charset=utf-8"] {
        house.demo.fhir.misbehave(canned(200, media, smuggled.to_string()));
        let answer =
            house.ask("GET", "Patient?family=Wrongman", "system/Patient.rs").with(media).send().await;
        answer.is(200).only(&["Patient"]).lacks("Wrongtype").has("x-intermediary", "");
        // SRCH-16: the count of what was there is no longer true.
        if answer.json()["total"] == 4 {
            answer.wrong("no total of 4");
        }
    }
    let xml = r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>
        <entry><resource><Patient><id value="pat-01"/></Patient></resource><search><mode value="match"/></search></entry>
        <entry><resource><Observation><valueString value="Wrongtype"/></Observation></resource></entry></Bundle>"#;
    house.demo.fhir.misbehave(canned(200, XML, xml));
    let asked = house.ask("GET", "Patient?family=Wrongman", "system/Patient.rs").field("accept", XML);
    asked
        .send()
        .await
        .is(200)
        .holds("pat-01")
        .lacks("Wrongtype")
        .lacks("<Observation")
        .has("x-intermediary", "");
    let noisy = Canned::new(200, patient("pat-01").to_string())
        .header("content-type", JSON)
        .header("set-cookie", "JSESSIONID=1")
        .header("server", "Apache-Coyote/1.1")
        .header("x-powered-by", "HAPI FHIR 8.8.0")
        .header("x-internal", "node-7")
        .header("access-control-allow-origin", "*")
        .header("connection", "x-internal-2")
        .header("x-internal-2", "1")
        .header("cache-control", "public, max-age=3600")
        .header("etag", "W/\"7\"");
    for scope in ["system/Patient.rs", "system/*.rs"] {
        house.demo.fhir.misbehave(Misbehaviour::Answer(noisy.clone()));
        let answer = house.ask("GET", "Patient/pat-01", scope).send().await;
        answer.is(200).without("x-internal").without("x-internal-2").without("access-control-allow-origin");
        answer.has("cache-control", "no-store").has("etag", "W/\"7\"");
    }
    house.demo.fhir.behave();
    house.close();
}
