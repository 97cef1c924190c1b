//! What a launch patient writes at HAPI (contract §7): content, stored version and result must be the patient's own, and
//! what is refused leaves no trace in the backend.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::house::{Change, House};
use crate::support::{Answer, Ask};

const JSON: &str = "application/fhir+json";
const PATCH: &str = "application/json-patch+json";
const XML: &str = "application/fhir+xml";
const MARK: &str = "urn:pforte:confined";
const OWN: &str = "Patient/pat-in";
const OTHER: &str = "Patient/pat-out";

/// Every row that changes something, and what must not change.
pub async fn all(house: &mut House<'_>) {
    let desk = Desk::open(house);
    creates(house, &desk).await;
    updates(house, &desk).await;
    patches(house, &desk).await;
    deletions(house, &desk).await;
    versions(house, &desk).await;
    conditional(house, &desk).await;
    conditional_creates(house, &desk).await;
    representation(house, &desk).await;
    transactions(house, &desk).await;
    batch(house, &desk).await;
    house.change(Change { tables: "[patient]\nupdate_creates = true", ..Change::NONE });
    update_creates(house, &desk).await;
    house.change(Change::NONE);
    cleared(house, &desk).await;
}

/// The tokens, and names for what is made.
struct Desk {
    own: String,
    mark: String,
    made: AtomicUsize,
}

impl Desk {
    fn open(house: &House<'_>) -> Self {
        let own = house.logins.jwt("patient-in", "launch/patient patient/*.cruds");
        Self { own, mark: format!("confined-{}", std::process::id()), made: AtomicUsize::new(0) }
    }

    /// A request of `pat-in`.
    fn ask(&self, house: &House<'_>, method: &str, target: &str) -> Ask {
        house.client.ask(method, target).bearer(&self.own)
    }

    /// An Observation about somebody, as it is sent.
    fn about(&self, subject: &str, text: &str) -> Value {
        json!({"resourceType": "Observation", "status": "final", "code": {"text": "test"}, "valueString": text,
            "subject": {"reference": subject}, "identifier": [{"system": MARK, "value": self.mark}]})
    }

    /// A new Observation in the backend about somebody; gives `Observation/id`.
    async fn stored(&self, house: &House<'_>, subject: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", self.mark);
        let mut record = self.about(subject, "stored");
        record["id"] = json!(id);
        let (status, body) = house.stack.hapi("PUT", &format!("Observation/{id}"), Some(&record)).await;
        assert_eq!(status, 201, "HAPI did not store {record}: {body}");
        format!("Observation/{id}")
    }

    /// How many Observations of this run there are.
    async fn count(&self, house: &House<'_>) -> u64 {
        let search = format!("Observation?identifier={MARK}|{}&_summary=count", self.mark);
        house.stack.hapi("GET", &search, None).await.1["total"].as_u64().unwrap_or_default()
    }
}

fn named(mut resource: Value, place: &str) -> Value {
    resource["id"] = json!(place.rsplit('/').next());
    resource
}

/// The backend's content of it, or what it says instead.
async fn holds(house: &House<'_>, place: &str, text: &str, words: &str) {
    let (status, body) = house.stack.hapi("GET", place, None).await;
    let fits = body["valueString"] == text;
    house.findings.check(fits, format!("{words}: expected {place} to have `{text}`, got {status} {body}"));
}

async fn creates(house: &House<'_>, desk: &Desk) {
    let answer =
        desk.ask(house, "POST", "Observation").json(&desk.about(OWN, "own")).with("own").send().await;
    answer.is(201).has("location", &format!("{}/Observation/", house.client.base()));
    let before = desk.count(house).await;
    for (words, record) in outside(desk) {
        let answer = desk.ask(house, "POST", "Observation").json(&record).with(words).send().await;
        answer.refused(403, "outside_grant");
    }
    for (words, subject, status) in [("own, XML", OWN, 201), ("another's, XML", OTHER, 403)] {
        let mark = &desk.mark;
        let body = format!(
            r#"<Observation xmlns="http://hl7.org/fhir"><identifier><system value="{MARK}"/><value value="{mark}"/></identifier><status value="final"/><code><text value="test"/></code><subject><reference value="{subject}"/></subject></Observation>"#
        );
        desk.ask(house, "POST", "Observation").body(XML, body).with(words).send().await.is(status);
    }
    let person = json!({"resourceType": "Patient", "name": [{"family": "Nobody"}]});
    desk.ask(house, "POST", "Patient").json(&person).send().await.is(403).holds("OperationOutcome");
    let place = json!({"resourceType": "Location", "name": "nowhere"});
    desk.ask(house, "POST", "Location").json(&place).send().await.is(403);
    let after = desk.count(house).await;
    house
        .findings
        .check(after == before + 1, format!("refused creates: {before} records before, {after} after"));
}

/// What is not the launch patient's, or not only, or not for sure.
fn outside(desk: &Desk) -> Vec<(&'static str, Value)> {
    let with = |name: &str, value: Value| {
        let mut record = desk.about(OWN, "mixed");
        match record.as_object_mut() {
            Some(map) if value.is_null() => drop(map.remove(name)),
            _ => record[name] = value,
        }
        record
    };
    let contained = json!([{"resourceType": "Patient", "id": "p"}]);
    let mut within = with("contained", contained);
    within["subject"] = json!({"reference": "#p"});
    let identifier = json!({"system": "https://hospital.example/mrn", "value": "MRN-0002"});
    vec![
        ("another's", desk.about(OTHER, "x")),
        ("nobody's", with("subject", Value::Null)),
        ("no reference", with("subject", json!({"display": "Ida"}))),
        (
            "an identifier beside the reference",
            with("subject", json!({"reference": OWN, "identifier": identifier})),
        ),
        ("an identifier alone", with("subject", json!({"identifier": identifier}))),
        ("performed by another", with("performer", json!([{"reference": OTHER}]))),
        ("about another, performed by the own", {
            let mut record = desk.about(OTHER, "x");
            record["performer"] = json!([{"reference": OWN}]);
            record
        }),
        ("about nobody, performed by the own", {
            let mut record = with("subject", Value::Null);
            record["performer"] = json!([{"reference": OWN}]);
            record
        }),
        ("contained", within),
        ("elsewhere", desk.about("https://elsewhere.example/fhir/Patient/pat-in", "x")),
        ("an id that begins so", desk.about("Patient/pat-in-2", "x")),
    ]
}

async fn updates(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    let put = |desk: &Desk, place: &str, subject: &str, words: &str| {
        desk.ask(house, "PUT", place).json(&named(desk.about(subject, words), place)).with(words)
    };
    put(desk, &own, OWN, "updated").send().await.is(200);
    holds(house, &own, "updated", "own").await;
    put(desk, &own, OTHER, "moved away").send().await.refused(403, "outside_grant");
    holds(house, &own, "updated", "moved away").await;
    put(desk, &other, OTHER, "another's").send().await.refused(403, "outside_grant");
    put(desk, &other, OWN, "taken over").send().await.refused(404, "not_found");
    holds(house, &other, "stored", "another's").await;
    let unknown = format!("Observation/{}-unknown", desk.mark);
    put(desk, &unknown, OWN, "unknown").send().await.refused(404, "not_found");
    let (status, _) = house.stack.hapi("GET", &unknown, None).await;
    house
        .findings
        .check(status == 404, format!("update_creates is off: expected no {unknown}, got {status}"));
    // The Patient resource itself: as it is, so that nothing changes.
    let (_, mut person) = house.stack.hapi("GET", OWN, None).await;
    person["meta"] = json!({});
    desk.ask(house, "PUT", OWN).json(&person).with("the own Patient").send().await.is(200);
    person["id"] = json!("pat-out");
    desk.ask(house, "PUT", OTHER).json(&person).with("another Patient").send().await.one_of(&[403, 404]);
    let (_, person) = house.stack.hapi("GET", OTHER, None).await;
    house
        .findings
        .check(person["name"][0]["family"] == "Outhwaite", format!("{OTHER} was changed: {person}"));
    for place in [own, other] {
        house.stack.hapi("DELETE", &place, None).await;
    }
}

/// The same change as JSON Patch and as FHIRPath Patch.
fn both(path: &str, name: &str, value: &Value) -> [(&'static str, String); 2] {
    let kind = if name == "Observation.value" { "valueString" } else { "valueReference" };
    let by_path = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": name},
        {"name": "value", kind: value}]}]});
    [
        (PATCH, json!([{"op": "replace", "path": path, "value": value}]).to_string()),
        (JSON, by_path.to_string()),
    ]
}

async fn patches(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    for (number, text) in ["patched", "patched by path"].into_iter().enumerate() {
        let harmless = &both("/valueString", "Observation.value", &json!(text))[number];
        let moving = &both("/subject", "Observation.subject", &json!({"reference": OTHER}))[number];
        let taking = &both("/subject", "Observation.subject", &json!({"reference": OWN}))[number];
        let patch = |place: &str, (media, body): &(&'static str, String), words: &str| {
            desk.ask(house, "PATCH", place).body(media, body.clone()).with(&format!("{words}, {media}"))
        };
        patch(&own, harmless, "own").send().await.is(200);
        holds(house, &own, text, "own").await;
        patch(&own, moving, "moved away").send().await.refused(403, "outside_grant");
        let (_, stored) = house.stack.hapi("GET", &own, None).await;
        house.findings.check(stored["subject"]["reference"] == OWN, format!("a patch moved {stored}"));
        for (change, words) in [(harmless, "another's"), (taking, "taken over")] {
            patch(&other, change, words).send().await.refused(404, "not_found");
        }
        let (_, stored) = house.stack.hapi("GET", &other, None).await;
        let kept = stored["subject"]["reference"] == OTHER && stored["valueString"] == "stored";
        house.findings.check(kept, format!("a refused patch changed {stored}"));
        let unknown = format!("Observation/{}-unknown", desk.mark);
        patch(&unknown, harmless, "unknown").send().await.refused(404, "not_found");
    }
    for (words, body) in [
        ("a test that fails", json!([{"op": "test", "path": "/status", "value": "draft"}])),
        ("a path that is not there", json!([{"op": "replace", "path": "/component/7", "value": 1}])),
    ] {
        let asked = desk.ask(house, "PATCH", &own).body(PATCH, body.to_string()).with(words);
        asked.send().await.refused(422, "patch_not_applicable");
    }
    for (words, body) in [
        ("subject removed", json!([{"op": "remove", "path": "/subject"}])),
        (
            "the whole replaced",
            json!([{"op": "replace", "path": "", "value": named(desk.about(OTHER, "x"), &own)}]),
        ),
        (
            "subject copied over",
            json!([
            {"op": "add", "path": "/focus", "value": [{"reference": OTHER}]},
            {"op": "move", "from": "/focus/0", "path": "/subject"}]),
        ),
        (
            "one letter of the reference",
            json!([{"op": "replace", "path": "/subject/reference", "value": "Patient/pat-3"}]),
        ),
        ("another performer", json!([{"op": "add", "path": "/performer", "value": [{"reference": OTHER}]}])),
    ] {
        let asked = desk.ask(house, "PATCH", &own).body(PATCH, body.to_string()).with(words);
        asked.send().await.one_of(&[400, 403, 422]).holds("OperationOutcome");
    }
    let (_, stored) = house.stack.hapi("GET", &own, None).await;
    house.findings.check(
        stored["subject"]["reference"] == OWN && stored["performer"].is_null(),
        format!("a refused patch changed {stored}"),
    );
    for place in [own, other] {
        house.stack.hapi("DELETE", &place, None).await;
    }
}

async fn deletions(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    desk.ask(house, "DELETE", &other).with("another's").send().await.refused(404, "not_found");
    holds(house, &other, "stored", "DELETE of another's").await;
    let unknown = format!("Observation/{}-unknown", desk.mark);
    desk.ask(house, "DELETE", &unknown).with("unknown").send().await.refused(404, "not_found");
    desk.ask(house, "DELETE", OTHER).with("another Patient").send().await.one_of(&[403, 404]);
    desk.ask(house, "DELETE", &own).with("own").send().await.one_of(&[200, 204]);
    let (status, _) = house.stack.hapi("GET", &own, None).await;
    house.findings.check(status == 410, format!("DELETE of the own: expected it to be gone, got {status}"));
    desk.ask(house, "DELETE", &own).with("gone").send().await.refused(404, "not_found");
    house.stack.hapi("DELETE", &other, None).await;
}

/// `If-Match` of the client beside that of the gateway.
async fn versions(house: &House<'_>, desk: &Desk) {
    let own = desk.stored(house, OWN).await;
    let read = desk.ask(house, "GET", &own).send().await;
    let etag = read.is(200).field("etag").to_owned();
    let put = |text: &str, version: &str| {
        let asked = desk.ask(house, "PUT", &own).json(&named(desk.about(OWN, text), &own));
        asked.field("if-match", version).with(&format!("If-Match {version}"))
    };
    put("current", &etag).send().await.is(200);
    holds(house, &own, "current", "If-Match of the current version").await;
    put("stale", &etag).send().await.refused(412, "version_conflict");
    put("future", "W/\"99\"").send().await.refused(412, "version_conflict");
    holds(house, &own, "current", "If-Match of a stale version").await;
    let patch = |version: &str| {
        let body = r#"[{"op":"replace","path":"/valueString","value":"patched"}]"#;
        desk.ask(house, "PATCH", &own).body(PATCH, body).field("if-match", version).with(version)
    };
    patch("W/\"1\"").send().await.refused(412, "version_conflict");
    patch("W/\"2\"").send().await.is(200);
    let delete = |version: &str| desk.ask(house, "DELETE", &own).field("if-match", version).with(version);
    delete("W/\"2\"").send().await.refused(412, "version_conflict");
    delete("W/\"3\"").send().await.one_of(&[200, 204]);
}

/// Criteria are narrowed: what another has is not found.
async fn conditional(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    let twin = desk.stored(house, OTHER).await;
    // All of them have the identifier: only one is in reach.
    let mark = format!("Observation?identifier={MARK}|{}", desk.mark);
    let by_id = |place: &str| format!("Observation?_id={}", place.trim_start_matches("Observation/"));
    cleared_but(house, desk, &[&own, &other, &twin]).await;
    let body = |text: &str| desk.about(OWN, text);
    let put = |target: &str, text: &str| desk.ask(house, "PUT", target).json(&body(text)).with(text);
    put(&mark, "by condition").send().await.is(200);
    holds(house, &own, "by condition", "conditional update of the own").await;
    put(&by_id(&other), "of another's").send().await.refused(404, "not_found");
    let away =
        desk.ask(house, "PUT", &mark).json(&desk.about(OTHER, "moved")).with("moving away").send().await;
    away.refused(403, "outside_grant");
    let patch = |target: &str, text: &str| {
        let body = json!([{"op": "replace", "path": "/valueString", "value": text}]).to_string();
        desk.ask(house, "PATCH", target).body(PATCH, body).with(text)
    };
    patch(&mark, "patched by condition").send().await.is(200);
    holds(house, &own, "patched by condition", "conditional patch of the own").await;
    patch(&by_id(&other), "of another's").send().await.refused(404, "not_found");
    desk.ask(house, "DELETE", &by_id(&other)).with("another's").send().await.refused(404, "not_found");
    let second = desk.stored(house, OWN).await;
    put(&mark, "two").send().await.refused(412, "multiple_matches");
    patch(&mark, "two").send().await.refused(412, "multiple_matches");
    desk.ask(house, "DELETE", &mark).with("two").send().await.refused(412, "multiple_matches");
    desk.ask(house, "DELETE", &by_id(&second)).with("one").send().await.one_of(&[200, 204]);
    desk.ask(house, "DELETE", &mark).with("own by condition").send().await.one_of(&[200, 204]);
    let (status, _) = house.stack.hapi("GET", &own, None).await;
    house.findings.check(status == 410, format!("conditional delete of the own: got {status}"));
    for place in [&other, &twin] {
        holds(house, place, "stored", "conditional writes of pat-in").await;
        house.stack.hapi("DELETE", place, None).await;
    }
}

async fn conditional_creates(house: &House<'_>, desk: &Desk) {
    cleared(house, desk).await;
    let other = desk.stored(house, OTHER).await;
    let criteria = format!("identifier={MARK}|{}", desk.mark);
    let post = |subject: &str, words: &str| {
        let asked = desk.ask(house, "POST", "Observation").json(&desk.about(subject, words)).with(words);
        asked.field("if-none-exist", &criteria)
    };
    post(OTHER, "another's").send().await.refused(403, "outside_grant");
    // What another has is no reason not to create, or its existence would show.
    post(OWN, "first").send().await.is(201).lacks("pat-out");
    post(OWN, "second").send().await.is(200).lacks("pat-out");
    let count = desk.count(house).await;
    house.findings.check(count == 2, format!("conditional creates: expected 2 records, got {count}"));
    holds(house, &other, "stored", "conditional creates").await;
    cleared(house, desk).await;
}

/// `Prefer: return=representation` is no way to read (decision: content of a write only with r).
async fn representation(house: &House<'_>, desk: &Desk) {
    let blind = house.logins.jwt("patient-in", "launch/patient patient/Observation.c patient/Observation.u");
    for prefer in ["return=representation", "return=minimal", "return=OperationOutcome"] {
        let record = desk.about(OWN, "shown");
        let post = |token: &str, words: &str| {
            let asked = house.client.ask("POST", "Observation").bearer(token).json(&record);
            asked.field("prefer", prefer).with(&format!("{prefer}, {words}"))
        };
        let answer = post(&blind, "without r").send().await;
        answer.is(201).has("location", house.client.base()).lacks("\"shown\"");
        let place = answer.field("location").to_owned();
        let place = place.split("/_history").next().unwrap_or_default().to_owned();
        let answer = post(&desk.own, "with r").send().await;
        answer.is(201);
        if prefer == "return=representation" {
            answer.holds("\"shown\"");
        }
        let id = place.rsplit('/').next().unwrap_or_default();
        let again = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"},
            "valueString": "shown", "subject": {"reference": OWN}, "identifier": record["identifier"]});
        let asked = house.client.ask("PUT", &format!("Observation/{id}")).bearer(&blind).json(&again);
        asked.field("prefer", prefer).with("PUT without r").send().await.is(200).lacks("\"shown\"");
        house.client.ask("GET", &format!("Observation/{id}")).bearer(&blind).send().await.is(403);
    }
    cleared(house, desk).await;
}

fn entry(method: &str, url: &str, resource: Option<Value>) -> Value {
    let mut entry = json!({"request": {"method": method, "url": url}});
    if let Some(resource) = resource {
        entry["resource"] = resource;
    }
    entry
}

async fn bundle(house: &House<'_>, desk: &Desk, kind: &str, (entries, words): (&[Value], &str)) -> Answer {
    let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    desk.ask(house, "POST", "").json(&bundle).with(&format!("{kind}: {words}")).send().await
}

const URN: &str = "urn:uuid:3a2b6d1e-52d5-4c5e-9d1e-0d3f6b0a7c11";

fn named_by_urn(mut entry: Value) -> Value {
    entry["fullUrl"] = json!(URN);
    entry
}

/// All or nothing, `urn:uuid` and conditional references included.
async fn transactions(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    let before = desk.count(house).await;
    let fine = || entry("POST", "Observation", Some(desk.about(OWN, "fine")));
    for (words, wrong) in refused(desk, &own, &other) {
        let entries: Vec<Value> = std::iter::once(fine()).chain(wrong).collect();
        let answer = bundle(house, desk, "transaction", (&entries, words)).await;
        answer.one_of(&[403, 404]).holds("OperationOutcome").lacks("stored").lacks("Outhwaite");
        let after = desk.count(house).await;
        house
            .findings
            .check(after == before, format!("transaction, {words}: {before} records before, {after} after"));
        holds(house, &other, "stored", words).await;
        holds(house, &own, "stored", words).await;
    }
    let (_, mut person) = house.stack.hapi("GET", OWN, None).await;
    person["meta"] = json!({});
    let about = entry("POST", "Observation", Some(desk.about(URN, "by urn")));
    let entries = [named_by_urn(entry("PUT", OWN, Some(person))), about];
    let answer = bundle(house, desk, "transaction", (&entries, "subject of PUT Patient/own")).await;
    answer.is(200).holds("transaction-response");
    let search = format!("Observation?identifier={MARK}|{}&subject={OWN}", desk.mark);
    let (_, found) = house.stack.hapi("GET", &search, None).await;
    let made =
        found["entry"].as_array().into_iter().flatten().any(|it| it["resource"]["valueString"] == "by urn");
    house.findings.check(made, format!("transaction with a urn of the own Patient: not made, {found}"));
    // To read another's in a transaction is as to read what is not there.
    let reads = [&other, "Observation/no-such"].map(|place| [fine(), entry("GET", place, None)]);
    let mut said = Vec::new();
    for entries in reads {
        let answer = bundle(house, desk, "transaction", (&entries, "GET")).await;
        answer.lacks("stored").lacks("pat-out");
        let statuses =
            answer.entries().iter().map(|it| it["response"]["status"].to_string()).collect::<Vec<_>>();
        said.push((answer.status, statuses));
    }
    house
        .findings
        .check(said[0] == said[1], format!("a foreign and an unknown GET in a transaction: {said:?}"));
    cleared(house, desk).await;
}

/// Entries that a transaction is refused for, also when one beside them is permitted.
fn refused(desk: &Desk, own: &str, other: &str) -> Vec<(&'static str, Vec<Value>)> {
    let post = |subject: &str| entry("POST", "Observation", Some(desk.about(subject, "x")));
    let put = |place: &str, subject: &str| entry("PUT", place, Some(named(desk.about(subject, "x"), place)));
    let new = json!({"resourceType": "Patient", "name": [{"family": "Nobody"}]});
    let stranger = json!({"resourceType": "Patient", "id": "pat-out", "name": [{"family": "Nobody"}]});
    let by_id = format!("Observation?_id={}", other.trim_start_matches("Observation/"));
    let place = json!({"resourceType": "Location", "name": "x"});
    vec![
        ("another's created", vec![post(OTHER)]),
        ("another's updated", vec![put(other, OWN)]),
        ("another's deleted", vec![entry("DELETE", other, None)]),
        ("moved away", vec![put(own, OTHER)]),
        ("subject of a new Patient", vec![named_by_urn(entry("POST", "Patient", Some(new))), post(URN)]),
        ("subject of another Patient", vec![named_by_urn(entry("PUT", OTHER, Some(stranger))), post(URN)]),
        ("urn that leads nowhere", vec![post(URN)]),
        (
            "conditional reference to another",
            vec![post("Patient?identifier=https://hospital.example/mrn|MRN-0002")],
        ),
        ("another's by condition", vec![entry("DELETE", &by_id, None)]),
        ("another type", vec![entry("POST", "Location", Some(place))]),
    ]
}

/// Each entry as if alone.
async fn batch(house: &House<'_>, desk: &Desk) {
    let (own, other) = (desk.stored(house, OWN).await, desk.stored(house, OTHER).await);
    // One resource is written once in a bundle.
    let (second, third) = (desk.stored(house, OTHER).await, desk.stored(house, OTHER).await);
    let before = desk.count(house).await;
    let urn = "urn:uuid:3a2b6d1e-52d5-4c5e-9d1e-0d3f6b0a7c12";
    let patch = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.subject"},
        {"name": "value", "valueReference": {"reference": OTHER}}]}]});
    let entries = [
        (entry("POST", "Observation", Some(desk.about(OWN, "batch"))), "201"),
        (entry("POST", "Observation", Some(desk.about(OTHER, "batch"))), "403"),
        (entry("POST", "Observation", Some(desk.about(urn, "batch"))), "403"),
        (entry("GET", &own, None), "200"),
        (entry("GET", &other, None), "404"),
        (entry("GET", "Observation/no-such", None), "404"),
        (entry("PUT", &own, Some(named(desk.about(OWN, "in a batch"), &own))), "200"),
        (entry("PUT", &other, Some(named(desk.about(OWN, "x"), &other))), "404"),
        (entry("PUT", &second, Some(named(desk.about(OTHER, "x"), &second))), "403"),
        (entry("PATCH", "Observation/obs-lab-enc-3", Some(patch)), "40"),
        (entry("DELETE", &third, None), "404"),
        (entry("GET", "Condition?patient=pat-out", None), "200"),
        (entry("GET", "Encounter", None), "200"),
        (entry("GET", "Patient/pat-out/$everything", None), "404"),
        (entry("GET", "Location", None), "403"),
        (entry("GET", "Binary/bin-out", None), "404"),
    ];
    let sent: Vec<Value> = entries.iter().map(|(entry, _)| entry.clone()).collect();
    let answer = bundle(house, desk, "batch", (&sent, "mixed")).await;
    answer
        .is(200)
        .holds("batch-response")
        .lacks("Outhwaite")
        .lacks("enc-3")
        .lacks("\"stored\",\"subject\":{\"reference\":\"Patient/pat-out");
    let got = answer.entries();
    house
        .findings
        .check(got.len() == entries.len(), format!("batch: {} entries of {}", got.len(), entries.len()));
    for (place, ((_, status), entry)) in entries.iter().zip(&got).enumerate() {
        let said = entry["response"]["status"].as_str().unwrap_or_default();
        house
            .findings
            .check(said.starts_with(status), format!("batch, entry {place}: expected {status}, got {entry}"));
    }
    let found =
        |place: usize| got.get(place).and_then(|it| it["resource"]["entry"].as_array()).map_or(0, Vec::len);
    house.findings.check(
        found(11) == 0 && found(12) == 2,
        format!("batch: searches found {} and {}", found(11), found(12)),
    );
    for place in [&other, &second, &third] {
        holds(house, place, "stored", "batch").await;
    }
    holds(house, &own, "in a batch", "batch").await;
    let after = desk.count(house).await;
    house.findings.check(after == before + 1, format!("batch: {before} records before, {after} after"));
    cleared(house, desk).await;
}

/// `patient.update_creates`: an unknown id is made, when what is sent is the patient's own.
async fn update_creates(house: &House<'_>, desk: &Desk) {
    let place = format!("Observation/{}-created", desk.mark);
    let put = |subject: &str, words: &str| {
        desk.ask(house, "PUT", &place).json(&named(desk.about(subject, words), &place)).with(words)
    };
    put(OTHER, "another's").send().await.refused(403, "outside_grant");
    let (status, _) = house.stack.hapi("GET", &place, None).await;
    house.findings.check(status == 404, format!("expected no {place}, got {status}"));
    put(OWN, "own").send().await.is(201);
    holds(house, &place, "own", "update_creates").await;
    put(OWN, "own again").send().await.is(200);
    let taken = "Observation/obs-lab-enc-3";
    let over = desk
        .ask(house, "PUT", taken)
        .json(&named(desk.about(OWN, "x"), taken))
        .with("another's id")
        .send()
        .await;
    over.refused(404, "not_found");
    let (_, kept) = house.stack.hapi("GET", taken, None).await;
    house.findings.check(kept["subject"]["reference"] == OTHER, format!("{taken} was taken over: {kept}"));
    let person = json!({"resourceType": "Patient", "id": format!("{}-new", desk.mark), "name": [{"family": "Nobody"}]});
    let target = format!("Patient/{}-new", desk.mark);
    desk.ask(house, "PUT", &target).json(&person).with("a new Patient").send().await.one_of(&[403, 404]);
}

/// Removes what this run made.
async fn cleared(house: &House<'_>, desk: &Desk) {
    cleared_but(house, desk, &[]).await;
}

async fn cleared_but(house: &House<'_>, desk: &Desk, keep: &[&String]) {
    let search = format!("Observation?identifier={MARK}|{}&_count=200&_elements=id", desk.mark);
    let (_, found) = house.stack.hapi("GET", &search, None).await;
    for entry in found["entry"].as_array().into_iter().flatten() {
        let place = format!("Observation/{}", entry["resource"]["id"].as_str().unwrap_or_default());
        if !keep.contains(&&place) {
            house.stack.hapi("DELETE", &place, None).await;
        }
    }
}
