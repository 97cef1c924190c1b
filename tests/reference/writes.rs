//! Writing, conditionally and not, alone and in bundles (contract §6).

use serde_json::{Value, json};

use crate::house::House;
use crate::row::{Row, row};

const JSON: &str = "application/fhir+json";
const SYSTEM: &str = "urn:pforte:reference";

/// Every row that changes something. What is made carries an identifier of its own and is removed at the end.
pub async fn all(house: &mut House<'_>) {
    let mark = format!("run-{}-{}", std::process::id(), house.client.tokens().len());
    let id = format!("{mark}-put");
    alone(house, &mark, &id).await;
    conditional(house, &mark).await;
    refused_bodies(house, &id).await;
    xml(house, &mark).await;
    batch(house, &mark).await;
    transaction(house, &mark).await;
    let (_, found) = house
        .stack
        .hapi("GET", &format!("Observation?identifier={SYSTEM}|&_count=100&_elements=id"), None)
        .await;
    for entry in found["entry"].as_array().into_iter().flatten() {
        let id = entry["resource"]["id"].as_str().unwrap_or_default();
        house.stack.hapi("DELETE", &format!("Observation/{id}"), None).await;
    }
}

/// An Observation of `pat-5`.
fn observation(mark: &str, text: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final", "code": {"text": "test"}, "valueString": text,
        "subject": {"reference": "Patient/pat-5"}, "identifier": [{"system": SYSTEM, "value": mark}],
    })
}

fn named(id: &str, mark: &str, text: &str) -> Value {
    let mut resource = observation(mark, text);
    resource["id"] = json!(id);
    resource
}

/// create, update, patch, delete.
async fn alone(house: &House<'_>, mark: &str, id: &str) {
    let place = format!("Observation/{id}");
    let created = row("POST", "Observation", "system/Observation.c")
        .body(JSON, observation(mark, "created").to_string());
    let answer =
        created.gives(201, "").not(&["system/Observation.u", "system/Patient.cruds"]).run(house).await;
    answer.has("location", &format!("{}/Observation/", house.client.base()));
    let asked = row("PUT", &place, "system/Observation.u").body(JSON, named(id, mark, "first").to_string());
    let answer =
        asked.gives(201, "").not(&["system/Observation.c", "system/Observation.rs"]).run(house).await;
    // HAPI names a version it wrote by PUT in Content-Location.
    answer.has("content-location", &format!("{}/{place}", house.client.base()));
    let asked = row("PUT", &place, "system/*.u").body(JSON, named(id, mark, "second").to_string());
    asked.gives(200, "").not(&["system/*.c"]).run(house).await;
    let asked =
        row("PUT", &place, "system/Observation.cruds").body(JSON, named(id, mark, "stale").to_string());
    asked.field("if-match", "W/\"1\"").gives(409, "").run(house).await;
    let patch = r#"[{"op":"replace","path":"/valueString","value":"patched"}]"#;
    let asked = row("PATCH", &place, "system/Observation.u").body("application/json-patch+json", patch);
    asked.gives(200, "").not(&["system/Observation.rs", "system/Observation.c"]).run(house).await;
    content(house, &place, "patched").await;
    let asked = row("PATCH", &place, "system/*.u").body(JSON, fhirpath_patch("by FHIRPath"));
    asked.gives(200, "").not(&["system/*.c"]).run(house).await;
    content(house, &place, "by FHIRPath").await;
    row("DELETE", &place, "system/Observation.d")
        .gives(200, "")
        .not(&["system/Observation.u", "system/Patient.cruds"])
        .run(house)
        .await;
    row("GET", &place, "system/Observation.r").gives(410, "").run(house).await;
}

fn fhirpath_patch(value: &str) -> String {
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.value"},
        {"name": "value", "valueString": value}]}]})
    .to_string()
}

/// What the backend really has.
async fn content(house: &House<'_>, place: &str, text: &str) {
    let (status, body) = house.stack.hapi("GET", place, None).await;
    let fits = body["valueString"] == text;
    house
        .findings
        .check(fits, format!("{place}: expected the backend to have `{text}`, got {status} {body}"));
}

/// REST-15: criteria are a search.
async fn conditional(house: &House<'_>, mark: &str) {
    let mark = &format!("{mark}-if");
    let criteria = format!("identifier={SYSTEM}|{mark}");
    let place = format!("Observation?{criteria}");
    let create = |text: &str| {
        let asked = row("POST", "Observation", "system/Observation.c system/Observation.s");
        let asked = asked.body(JSON, observation(mark, text).to_string());
        asked.field("if-none-exist", criteria.clone()).not(&["system/Observation.c", "system/Observation.s"])
    };
    create("first").gives(201, "").run(house).await;
    create("second").gives(200, "").run(house).await;
    let one: fn(Row) -> Row = |asked| asked.not(&["system/Observation.u", "system/Observation.s"]);
    let granted = "system/Observation.u system/Observation.s";
    one(row("PUT", &place, granted).body(JSON, observation(mark, "put").to_string()))
        .gives(200, "")
        .run(house)
        .await;
    let patch = r#"[{"op":"replace","path":"/valueString","value":"patched"}]"#;
    one(row("PATCH", &place, granted).body("application/json-patch+json", patch))
        .gives(200, "")
        .run(house)
        .await;
    let (_, found) = house.stack.hapi("GET", &place, None).await;
    let found = found["entry"].as_array().cloned().unwrap_or_default();
    let fits = found.len() == 1 && found[0]["resource"]["valueString"] == "patched";
    house
        .findings
        .check(fits, format!("conditional writes: expected one patched Observation, got {found:?}"));
    let asked = row("DELETE", &place, "system/Observation.d system/Observation.s");
    asked.not(&["system/Observation.d", "system/Observation.s"]).run(house).await;
    let (_, left) = house.stack.hapi("GET", &place, None).await;
    house
        .findings
        .check(left["entry"].is_null(), format!("conditional delete: expected nothing left, got {left}"));
}

/// REST-5, REST-10, REST-36, AUD-12: bodies that say something else than the request line.
async fn refused_bodies(house: &House<'_>, id: &str) {
    let token = house.tokens.get("system/*.cruds").await;
    let twice = r#"{"resourceType":"Observation","status":"final","status":"final","code":{"text":"x"}}"#;
    let cases: [(&str, &str, &str, String, &[u16]); 9] = [
        ("PUT", "Observation/pforte-a", JSON, named("pforte-b", "x", "x").to_string(), &[400]),
        ("PUT", "Patient/pforte-a", JSON, named("pforte-a", "x", "x").to_string(), &[400]),
        ("POST", "Patient", JSON, observation("x", "x").to_string(), &[400]),
        ("POST", "Observation", JSON, twice.to_owned(), &[400]),
        ("POST", "Observation", JSON, "{\"resourceType\":\"Obs".to_owned(), &[400]),
        ("POST", "Observation", "text/plain", "hello".to_owned(), &[415]),
        (
            "POST",
            "",
            JSON,
            json!({"resourceType": "Bundle", "type": "history", "entry": []}).to_string(),
            &[400],
        ),
        ("POST", "", JSON, observation("x", "x").to_string(), &[400]),
        ("POST", "AuditEvent", JSON, json!({"resourceType": "AuditEvent"}).to_string(), &[403]),
    ];
    for (method, target, media, body, statuses) in cases {
        let asked = house.client.ask(method, target).bearer(&token).body(media, body.clone()).with(&body);
        asked.send().await.one_of(statuses).holds("OperationOutcome");
    }
    let (status, _) = house.stack.hapi("GET", "Observation/pforte-a", None).await;
    house
        .findings
        .check(status == 404, format!("PUT with a foreign id: expected 404 at the backend, got {status}"));
    let patch = house.client.ask("PATCH", &format!("Observation/{id}")).bearer(&token);
    patch.body("application/merge-patch+json", "{}").send().await.is(415);
}

async fn xml(house: &House<'_>, mark: &str) {
    let body = format!(
        r#"<Observation xmlns="http://hl7.org/fhir"><identifier><system value="{SYSTEM}"/><value value="{mark}-xml"/></identifier><status value="final"/><code><text value="test"/></code><subject><reference value="Patient/pat-5"/></subject></Observation>"#
    );
    let media = "application/fhir+xml";
    let asked = row("POST", "Observation", "system/Observation.c").body(media, body.clone());
    let answer = asked.gives(201, "").not(&["system/Observation.u"]).run(house).await;
    answer.has("location", &format!("{}/Observation/", house.client.base()));
    let asked = row("POST", "", "system/Observation.cruds").body(media, format!(
        r#"<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource>{body}</resource><request><method value="POST"/><url value="Observation"/></request></entry><entry><request><method value="GET"/><url value="Patient/pat-in"/></request></entry></Bundle>"#
    ));
    let answer = asked.field("accept", media).gives(200, "<Bundle").run(house).await;
    answer.holds("201").holds("403").holds("OperationOutcome").lacks("Inwood");
    // REST-11.
    let token = house.tokens.get("system/*.cruds").await;
    let doctype = format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{body}");
    house
        .client
        .ask("POST", "Observation")
        .bearer(&token)
        .body(media, doctype)
        .with("DOCTYPE")
        .send()
        .await
        .is(400);
}

fn request(method: &str, url: &str) -> Value {
    json!({"request": {"method": method, "url": url}})
}

fn posting(mark: &str, text: &str) -> Value {
    json!({"resource": observation(mark, text), "request": {"method": "POST", "url": "Observation"}})
}

/// REST-30, REST-32, REST-34: refused entries are answered in their place, the rest runs.
async fn batch(house: &House<'_>, mark: &str) {
    let token = house.tokens.get("system/Observation.cruds").await;
    let entries = [
        (request("GET", "Observation/obs-lab-enc-1"), "200"),
        (request("GET", "Patient/pat-in"), "403"),
        (posting(&format!("{mark}-batch"), "in a batch"), "201"),
        (request("GET", "Observation?_id=obs-lab-enc-1&_include=Observation:subject"), "200"),
        (request("DELETE", "Patient/pat-in"), "403"),
        (request("GET", "Observation/no-such"), "404"),
        (request("GET", "Patient?family=Inwood"), "403"),
        (request("GET", "../admin"), "4"),
        (request("GET", "NoSuchType/1"), "4"),
    ];
    let body: Vec<&Value> = entries.iter().map(|(entry, _)| entry).collect();
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": body});
    let answer = house.client.ask("POST", "").bearer(&token).json(&bundle).with("batch").send().await;
    answer.is(200).holds("\"batch-response\"").lacks("Inwood");
    let got = answer.entries();
    if got.len() != entries.len() {
        answer.wrong(&format!("{} entries, not {}", entries.len(), got.len()));
    }
    for (place, ((_, status), entry)) in entries.iter().zip(&got).enumerate() {
        let said = entry["response"]["status"].as_str().unwrap_or_default();
        if !said.starts_with(status) {
            answer.wrong(&format!("entry {place} with status {status}, not {entry}"));
        }
        if *status == "403" && entry["response"]["outcome"]["resourceType"] != "OperationOutcome" {
            answer.wrong(&format!("entry {place} with an OperationOutcome, not {entry}"));
        }
    }
    let included = got.get(3).map(|entry| entry["resource"].to_string()).unwrap_or_default();
    if !included.contains("obs-lab-enc-1") || included.contains("\"Patient\",") {
        answer.wrong(&format!("an Observation without its Patient in entry 3, not {included}"));
    }
    let (status, _) = house.stack.hapi("GET", "Patient/pat-in", None).await;
    house.findings.check(status == 200, "a refused DELETE in a batch deleted");
    let none = house.tokens.get("system/Condition.r").await;
    let bundle =
        json!({"resourceType": "Bundle", "type": "batch", "entry": [request("GET", "Patient/pat-in")]});
    let answer = house
        .client
        .ask("POST", "")
        .bearer(&none)
        .json(&bundle)
        .with("batch, nothing permitted")
        .send()
        .await;
    answer.is(200).holds("403").lacks("Inwood");
}

/// REST-31: all or nothing, also in what is permitted.
async fn transaction(house: &House<'_>, mark: &str) {
    let mark = format!("{mark}-transaction");
    let token = house.tokens.get("system/Observation.cruds").await;
    let count = async || {
        let (_, found) = house
            .stack
            .hapi("GET", &format!("Observation?identifier={SYSTEM}|{mark}&_summary=count"), None)
            .await;
        found["total"].as_u64()
    };
    let ask = |entries: Vec<Value>| {
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        house.client.ask("POST", "").bearer(&token).json(&bundle)
    };
    let refused = vec![posting(&mark, "one"), request("DELETE", "Patient/pat-in"), posting(&mark, "two")];
    ask(refused).with("one entry refused").send().await.refused(403, "insufficient_scope").lacks("Inwood");
    let left = count().await;
    house.findings.check(left == Some(0), format!("a refused transaction left {left:?} Observations"));
    let mut first = posting(&mark, "one");
    first["fullUrl"] = json!("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0");
    let mut second = posting(&mark, "two");
    second["resource"]["derivedFrom"] =
        json!([{"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}]);
    let answer = ask(vec![first, second]).with("permitted").send().await;
    answer.is(200).holds("\"transaction-response\"");
    let made = count().await;
    house
        .findings
        .check(made == Some(2), format!("a permitted transaction made {made:?} Observations, not 2"));
    // The backend's refusal of the whole comes out as its status and a clean outcome.
    let broken = json!({"resource": {"resourceType": "Observation", "id": "x", "status": "nonsense"},
                        "request": {"method": "PUT", "url": "Observation/pforte-broken"}});
    ask(vec![posting(&mark, "three"), broken])
        .with("invalid")
        .send()
        .await
        .one_of(&[400, 422])
        .holds("OperationOutcome");
    let made = count().await;
    house
        .findings
        .check(made == Some(2), format!("an invalid transaction left {made:?} Observations, not 2"));
}
