//! One event for each patient that an answer names or a write concerns, durable before anybody reads of them (AUD-1, AUD-7 … AUD-9).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pforte::audit::{Entry, Outcome};
use pforte::demo::authorization::Claims;
use pforte::demo::fhir_server::Misbehaviour;
use serde_json::{Value, json};

use crate::house::{House, Plan};
use crate::support::Answer;

const ALL: &str = "system/*.cruds";

/// The patients that a reader of a JSON answer finds in it.
fn named(value: &Value, base: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("resourceType") == "Patient" && !text("id").is_empty() {
                into.insert(text("id").to_owned());
            }
            for address in [text("reference"), text("fullUrl")] {
                let relative =
                    address.strip_prefix(base).map_or(address, |rest| rest.trim_start_matches('/'));
                if let Some(id) = relative.strip_prefix("Patient/") {
                    into.insert(id.split('/').next().unwrap_or_default().to_owned());
                }
            }
            members.values().for_each(|member| named(member, base, into));
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, base, into)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// The patients that text names, as the demo's answers write them.
fn named_in(text: &str) -> BTreeSet<String> {
    let ids = text.split("Patient/").skip(1);
    ids.map(|rest| rest.split(['"', '/']).next().unwrap_or_default().to_owned()).collect()
}

fn patients(house: &House, answer: &Answer) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if answer.field("content-type").contains("json") && !answer.body.is_empty() {
        named(&answer.json(), house.client.base(), &mut found);
    } else {
        found = named_in(&answer.text());
    }
    found
}

/// The request's events are about exactly these, each once, or one is about nobody; all end alike.
fn recorded(house: &House, answer: &Answer, expected: &BTreeSet<String>) -> Vec<Entry> {
    let events = house.gateway.events(answer.field("x-request-id"));
    let about: Vec<Option<&str>> = events.iter().map(|event| event.about.as_deref()).collect();
    let wanted: BTreeSet<Option<&str>> = match expected.is_empty() {
        true => [None].into(),
        false => expected.iter().map(|id| Some(id.as_str())).collect(),
    };
    if about.len() != wanted.len() || about.iter().copied().collect::<BTreeSet<_>>() != wanted {
        answer.wrong(&format!("events about {wanted:?}, not {about:?}"));
    }
    if events.iter().any(|event| event.status != answer.status) {
        answer.wrong("each event with the status of the answer");
    }
    events
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// AUD-7, AUD-8: whatever is read under a grant for everything, which streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_7_streams() {
    let house = House::open(Plan::default()).await;
    let most = [
        ("Patient/pat-01", 1),
        ("Patient/pat-01/_history/1", 1),
        ("Patient/pat-01/_history", 1),
        ("Patient?_count=50", 24),
        ("Patient?_count=5", 5),
        ("Observation?_count=200", 24),
        ("Observation?patient=pat-02,pat-05", 2),
        ("Observation?code=8867-4&_include=Observation:subject&_count=100", 24),
        ("Patient?_id=pat-03&_revinclude=Observation:subject", 1),
        ("Patient/pat-04/$everything", 1),
        ("Patient/pat-06/Observation", 1),
        ("Observation?_id=nobody-at-all", 0),
        ("Practitioner", 0),
    ];
    for (target, count) in most {
        let answer = house.ask("GET", target, ALL).send().await;
        answer.is(200);
        let expected = patients(&house, &answer);
        if expected.len() < count {
            answer.wrong(&format!("at least {count} patients in it, not {expected:?}"));
        }
        recorded(&house, &answer, &expected);
        let xml = house.ask("GET", target, ALL).field("accept", "application/fhir+xml").send().await;
        recorded(&house, xml.is(200), &expected);
        let head = house.ask("HEAD", target, ALL).send().await;
        recorded(&house, head.is(200), &BTreeSet::new());
    }
    let mut page = house.ask("GET", "Patient?_count=7&_sort=_id", ALL).send().await;
    let mut all = BTreeSet::new();
    for _ in 0..4 {
        let here = patients(&house, page.is(200));
        recorded(&house, &page, &here);
        all.extend(here);
        let links = page.json()["link"].as_array().cloned().unwrap_or_default();
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else { break };
        page = house.ask("GET", next["url"].as_str().unwrap_or_default(), ALL).send().await;
    }
    house.findings.check(all.len() == 24, format!("24 patients on all pages, not {all:?}"));
    house.close();
}

/// AUD-7, AUD-9: held answers disclose what is left of them; what is refused or masked discloses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_9_what_is_held_and_refused() {
    let house = House::open(Plan::default()).await;
    let token = house.claiming(Claims::new("patient/*.rs").with("patient", "pat-01"));
    let table: [(&str, u16, &[&str]); 6] = [
        ("Patient/pat-01", 200, &["pat-01"]),
        ("Observation?_count=100", 200, &["pat-01"]),
        ("Observation?patient=pat-02", 200, &[]),
        ("Patient/pat-02", 404, &[]),
        ("Observation/obs-02-1", 404, &[]),
        // A Group names its other members too.
        ("Patient/pat-01/$everything", 200, &["pat-01", "pat-02", "pat-03", "pat-04", "pat-05", "pat-06"]),
    ];
    for (target, status, expected) in table {
        let answer = house.client.ask("GET", target).bearer(&token).with("pat-01").send().await;
        if status == 200 && patients(&house, &answer) != set(expected) {
            answer.wrong(&format!("{expected:?} in it"));
        }
        let events = recorded(&house, answer.is(status), &set(expected));
        let about = |event: &Entry| event.subject_patient().as_deref() == Some("pat-01");
        if status != 200 && !events.iter().all(about) {
            answer.wrong("events of refusals about the launch patient only");
        }
    }
    // A backend that brings more than it was asked for discloses nobody by it.
    house.demo.fhir.misbehave(Misbehaviour::IgnoreParameters);
    let answer = house.client.ask("GET", "Observation?_count=200").bearer(&token).send().await;
    recorded(&house, answer.is(200), &set(&["pat-01"]));
    house.demo.fhir.behave();
    let denied = house.ask("GET", "Patient/pat-02", "system/Observation.rs").send().await;
    let events = recorded(&house, denied.is(403), &BTreeSet::new());
    house.findings.check(
        events.iter().all(|event| event.subject_patient().is_none() && event.outcome() == Outcome::Refused),
        "a refusal names a patient",
    );
    house.close();
}

/// AUD-3, AUD-7: writes are about whom they name, in what is submitted, stored or returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_7_writes() {
    let house = House::open(Plan::default()).await;
    let observation = |id: Option<&str>, patient: &str| {
        let mut resource = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "subject": {"reference": format!("Patient/{patient}")}});
        id.into_iter().for_each(|id| resource["id"] = json!(id));
        resource
    };
    let minimal = ("prefer", "return=minimal");
    let ask = |method: &str, target: &str| house.ask(method, target, ALL).field(minimal.0, minimal.1);
    let created = ask("POST", "Observation").json(&observation(None, "pat-07")).send().await;
    for event in recorded(&house, created.is(201), &set(&["pat-07"])) {
        let place = format!("Observation/{}/_history/1", event.id.as_deref().unwrap_or_default());
        house.findings.check(
            created.field("location").ends_with(&place) && event.version.as_deref() == Some("1"),
            format!(
                "a create: the event says {place} {:?}, not {}",
                event.version,
                created.field("location")
            ),
        );
    }
    let updated = ask("PUT", "Observation/w-1").json(&observation(Some("w-1"), "pat-08")).send().await;
    recorded(&house, updated.one_of(&[200, 201]), &set(&["pat-08"]));
    let patch = json!([{"op": "replace", "path": "/subject/reference", "value": "Patient/pat-09"}]);
    let patched = ask("PATCH", "Observation/w-1").body("application/json-patch+json", patch.to_string());
    recorded(&house, patched.send().await.is(200), &set(&["pat-09"]));
    let patient = json!({"resourceType": "Patient", "id": "w-2"});
    recorded(
        &house,
        ask("PUT", "Patient/w-2").json(&patient).send().await.one_of(&[200, 201]),
        &set(&["w-2"]),
    );
    recorded(&house, ask("DELETE", "Patient/w-2").send().await.one_of(&[200, 204]), &set(&["w-2"]));
    let refused =
        json!({"resourceType": "Observation", "subject": {"reference": "Patient/pat-07"}, "id": "other"});
    recorded(&house, ask("PUT", "Observation/w-3").json(&refused).send().await.is(400), &BTreeSet::new());
    // Under a grant for a part the stored version is fetched, and tells whose it is.
    let token = house.claiming(Claims::new("patient/*.cruds").with("patient", "pat-09"));
    let deleted = house.client.ask("DELETE", "Observation/w-1").bearer(&token).send().await;
    recorded(&house, deleted.one_of(&[200, 204]), &set(&["pat-09"]));
    house.close();
}

/// AUD-7: each entry of a batch is about the patients of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_7_batches() {
    let house = House::open(Plan::default()).await;
    let get = |url: &str| json!({"request": {"method": "GET", "url": url}});
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        get("Patient/pat-03"),
        get("Condition?patient=pat-01"),
        get("Observation?patient=pat-02,pat-04&_count=50"),
        get("Patient/nobody"),
        {"request": {"method": "POST", "url": "Observation"}, "resource": {"resourceType": "Observation",
            "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/pat-05"}}},
        get("Observation?_id=nobody"),
    ]});
    let expected = BTreeSet::from([
        (None, None, 200),
        (Some(0), Some("pat-03".to_owned()), 200),
        (Some(1), None, 403),
        (Some(2), Some("pat-02".to_owned()), 200),
        (Some(2), Some("pat-04".to_owned()), 200),
        (Some(3), None, 404),
        (Some(4), Some("pat-05".to_owned()), 201),
        (Some(5), None, 200),
    ]);
    let scope = "system/Patient.rs system/Observation.crs";
    let answer = house.ask("POST", "", scope).json(&bundle).send().await;
    answer.is(200);
    let events = house.gateway.events(answer.field("x-request-id"));
    let got: BTreeSet<_> =
        events.iter().map(|event| (event.batch_entry, event.about.clone(), event.status)).collect();
    if got != expected || events.len() != expected.len() {
        answer.wrong(&format!("events {expected:?}, not {got:?}"));
    }
    let made = events.iter().find(|event| event.batch_entry == Some(4));
    if made.is_none_or(|event| event.id.is_none() || event.version.as_deref() != Some("1")) {
        answer.wrong(&format!("the id and version that were made, not {made:?}"));
    }
    house.close();
}

/// AUD-1, AUD-7: of an answer that drips, nobody is read of before the event is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_7_no_byte_before_its_event() {
    let house = House::open(Plan::default()).await;
    house.demo.fhir.misbehave(Misbehaviour::Trickle(Duration::from_micros(50)));
    let url = format!("{}/Observation?code=8867-4&_count=6&_elements=subject", house.client.base());
    let asked = house.client.http.get(url).bearer_auth(house.token(ALL)).header("x-request-id", "dripping-1");
    let mut response = asked.send().await.expect("an answer");
    let (mut text, mut looked) = (String::new(), 0);
    while let Some(piece) = response.chunk().await.expect("a whole answer") {
        text.push_str(std::str::from_utf8(&piece).expect("ASCII"));
        let here = named_in(&text);
        if here.len() > looked {
            looked = here.len();
            let events = house.gateway.events("dripping-1");
            let known: BTreeSet<&str> = events.iter().filter_map(|event| event.about.as_deref()).collect();
            // The last one may have come in part.
            let late: Vec<_> =
                here.iter().filter(|id| !known.iter().any(|known| known.starts_with(id.as_str()))).collect();
            house.findings.check(late.is_empty(), format!("{late:?} came before their events"));
        }
    }
    house.findings.check(looked == 6, format!("six patients, not {looked}, in {text}"));
    house.demo.fhir.behave();
    house.close();
}

/// AUD-1: a write that was sent when the gateway was killed is recorded as one whose end nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aud_1_a_write_in_flight_is_not_forgotten() {
    let mut house = House::open(Plan::default()).await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let sent = |method: &str, target: &str, id: &str, body: Option<Value>| {
        let asked = house.ask(method, target, ALL).field("x-request-id", id);
        let asked = body.iter().fold(asked, |asked, body| asked.json(body));
        tokio::spawn(async move { drop(asked.send().await) })
    };
    let observation = json!({"resourceType": "Observation", "id": "w-9", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/pat-11"}});
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "DELETE", "url": "Patient/pat-12"}}]});
    let flying = [
        sent("PUT", "Observation/w-9", "in-flight-put", Some(observation)),
        sent("POST", "", "in-flight-batch", Some(bundle)),
        sent("GET", "Patient/pat-13", "in-flight-get", None),
    ];
    let begun = Instant::now();
    while house.demo.fhir.seen() < flying.len() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not all requests reached the backend");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.gateway.kill();
    for request in flying {
        request.await.expect("an end");
    }
    house.demo.fhir.behave();
    house.gateway.start();
    for (id, about) in [("in-flight-put", Some("pat-11")), ("in-flight-batch", Some("pat-12"))] {
        let events = house.gateway.events(id);
        let fits = matches!(events.as_slice(), [event] if event.reason.as_deref() == Some("interrupted")
            && event.about.as_deref() == about);
        house.findings.check(fits, format!("{id}: one interrupted event about {about:?}, not {events:?}"));
    }
    let read = house.gateway.events("in-flight-get");
    house.findings.check(read.is_empty(), format!("a read that nobody was answered: {read:?}"));
    house.close();
}
