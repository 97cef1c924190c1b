//! The FHIR server: search semantics, paging, includes, writes, bundles, operations, XML (FHIR R4 §3.1).

use pforte::demo::fhir_server::{Contents, FhirServer, Options, Unknown};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Got, client, get, send};

async fn full() -> FhirServer {
    FhirServer::start(Options::default()).await.unwrap()
}

async fn empty() -> FhirServer {
    FhirServer::start(Options { content: Contents::Empty, ..Options::default() }).await.unwrap()
}

async fn ask(server: &FhirServer, target: &str) -> Got {
    get(format!("{}/{target}", server.base())).await
}

async fn write(
    server: &FhirServer,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Got {
    let mut request = client().request(method, format!("{}/{target}", server.base())).body(body.to_string());
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/fhir+json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

fn ids(bundle: &Value, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let chosen = entries.iter().filter(|entry| entry["search"]["mode"] == mode);
    chosen
        .map(|entry| {
            format!(
                "{}/{}",
                entry["resource"]["resourceType"].as_str().unwrap(),
                entry["resource"]["id"].as_str().unwrap()
            )
        })
        .collect()
}

fn link<'a>(bundle: &'a Value, relation: &str) -> Option<&'a str> {
    bundle["link"].as_array()?.iter().find(|link| link["relation"] == relation)?["url"].as_str()
}

#[tokio::test]
async fn searches_find_what_they_should() {
    let server = full().await;
    let table = [
        ("Patient?_summary=count", 24),
        ("Patient?_id=pat-01,pat-02", 2),
        ("Patient?_id=pat-01&_id=pat-02", 0),
        ("Patient?gender=female", 12),
        ("Patient?gender:not=female", 12),
        ("Patient?gender:missing=true", 0),
        ("Patient?gender:missing=false", 24),
        ("Patient?family=F", 2),
        ("Patient?family:exact=Fuchs", 2),
        ("Patient?family:exact=fuchs", 0),
        ("Patient?name:contains=uch", 2),
        ("Patient?identifier=https://pforte.example/sid/mrn|004724", 1),
        ("Patient?identifier=|004724", 0),
        ("Patient?birthdate=1933", 1),
        ("Patient?birthdate=lt1940-01-01", 3),
        ("Patient?birthdate=ge1940-01-01&birthdate=lt1950", 3),
        ("Patient?general-practitioner=Practitioner/prac-2", 8),
        ("Patient?general-practitioner.name=quast", 8),
        ("Patient?general-practitioner:Practitioner.name=quast", 8),
        ("Patient?_has:Observation:patient:code=8867-4", 24),
        ("Patient?_has:AllergyIntolerance:patient:criticality=high", 6),
        ("Patient?_tag=https://pforte.example/CodeSystem/demo|synthetic", 24),
        ("Patient?_security=R", 3),
        ("Patient?_security:not=R", 21),
        ("Patient?_lastUpdated=lt2024", 0),
        ("Observation?patient=pat-01", 6),
        ("Observation?patient=Patient/pat-01", 6),
        ("Observation?subject:Patient=pat-01", 6),
        ("Observation?subject:Group=pat-01", 0),
        ("Observation?patient=pat-01&category=vital-signs", 3),
        ("Observation?patient=pat-01&category=vital-signs,laboratory", 5),
        ("Observation?code=http://loinc.org|8867-4&patient=pat-01,pat-02", 2),
        ("Observation?code:in=ValueSet/vitals&patient=pat-01", 3),
        ("Observation?code:not-in=https://pforte.example/ValueSet/vitals&patient=pat-01", 3),
        ("Observation?component-code=8480-6", 24),
        ("Observation?value-quantity=gt150||mg/dL", 1),
        ("Observation?status=preliminary", 3),
        ("Observation?patient.gender=male&code=8867-4", 12),
        ("Observation?_list=list-1", 3),
        ("Condition?clinical-status=resolved", 8),
        ("Patient/pat-01/Observation", 6),
        ("Patient/pat-01/Observation?category=laboratory", 2),
        ("Encounter/enc-01-1/Condition", 1),
        ("Patient/pat-01/*?_type=Condition,Observation", 8),
        ("?_type=Condition,Encounter&_summary=count", 96),
        ("MedicationRequest?medication.code=860975", 6),
        ("Group?member=Patient/pat-01", 1),
        ("DocumentReference?patient=pat-01&date=2024-06", 1),
        ("DocumentReference?location=Binary/bin-01", 1),
        ("DocumentReference?location=Binary/bin-01,Binary/bin-02", 2),
        ("DocumentReference?location=bin-01", 0),
        ("Observation?performer=Practitioner/prac-2&patient=pat-01", 6),
        ("Observation?encounter=Encounter/enc-01-1&encounter=Encounter/enc-01-2", 0),
        ("Communication?sender=Patient/pat-01", 0),
        ("Patient/pat-01/Coverage", 0),
    ];
    for (target, total) in table {
        let got = ask(&server, target).await;
        assert_eq!((got.status, &got.json()["total"]), (200, &json!(total)), "{target}");
    }
}

#[tokio::test]
async fn searches_that_mean_nothing_are_refused() {
    let server = full().await;
    let table = [
        ("Patient?colour=blue", 400),
        ("Patient?gender:sideways=female", 400),
        ("Patient?birthdate=yesterday", 400),
        ("Patient?gender.name=x", 400),
        ("Patient?_has:Observation:code:code=1", 400),
        ("Patient?_include=Patient:birthdate", 400),
        ("Patient?_count=many", 400),
        ("Patient?_sort=colour", 400),
        ("?_type=Nonsense", 400),
        ("Nonsense?x=y", 404),
        ("Patient/nobody", 404),
        ("Patient/nobody/Observation", 404),
        ("Patient/pat-01/_history/9", 404),
        ("Location/loc-1/Observation", 400),
        ("Patient/pat-01/$unheard", 400),
        ("?_getpages=unheard", 410),
    ];
    for (target, status) in table {
        let got = ask(&server, target).await;
        assert_eq!(
            (got.status, &got.json()["resourceType"]),
            (status, &json!("OperationOutcome")),
            "{target}"
        );
    }
    let lenient =
        FhirServer::start(Options { unknown: Unknown::Ignore, ..Options::default() }).await.unwrap();
    assert_eq!(ask(&lenient, "Patient?colour=blue&gender=male").await.json()["total"], 12);
    let strict =
        client().get(format!("{}/Patient?colour=blue", lenient.base())).header("prefer", "handling=strict");
    assert_eq!(send(strict).await.status, 400);
}

#[tokio::test]
async fn a_posted_search_asks_query_and_form_together() {
    let server = full().await;
    let post = |target: &str, form: &'static [(&'static str, &'static str)]| {
        send(client().post(format!("{}/{target}", server.base())).form(form))
    };
    assert_eq!(post("Observation/_search", &[("patient", "pat-01")]).await.json()["total"], 6);
    assert_eq!(post("Observation/_search?patient=pat-02", &[("patient", "pat-01")]).await.json()["total"], 0);
    assert_eq!(post("_search", &[("_type", "Group,List")]).await.json()["total"], 3);
    assert_eq!(
        post("Patient/pat-01/Condition/_search", &[("clinical-status", "active")]).await.json()["total"],
        2
    );
}

#[tokio::test]
async fn pages_are_cut_and_linked_without_naming_anybody() {
    let server = full().await;
    let mut bundle = ask(&server, "Observation?patient=pat-01&_count=4").await.json();
    let next = link(&bundle, "next").unwrap().to_owned();
    assert!(next.starts_with(&format!("{}?_getpages=", server.base())), "{next}");
    assert!(!next.contains("pat-01") && !next.contains("Observation"), "{next}");
    assert!(link(&bundle, "self").unwrap().ends_with("/Observation?patient=pat-01&_count=4"));
    let mut seen = ids(&bundle, "match");
    bundle = get(&next).await.json();
    seen.extend(ids(&bundle, "match"));
    assert_eq!((seen.len(), link(&bundle, "next")), (6, None));
    assert!(link(&bundle, "previous").is_some());
    assert!(
        bundle["entry"][0]["fullUrl"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}/Observation/", server.base()))
    );
}

#[tokio::test]
async fn includes_bring_what_is_linked_once() {
    let server = full().await;
    let table = [
        ("Observation?_id=obs-01-1&_include=Observation:subject", vec!["Patient/pat-01"]),
        ("Observation?_id=obs-01-1,obs-01-2&_include=Observation:subject", vec!["Patient/pat-01"]),
        ("Observation?_id=obs-01-1&_include=Observation:subject:Group", vec![]),
        (
            "Observation?_id=obs-01-1&_include=Observation:subject&_include:iterate=Patient:general-practitioner",
            vec!["Patient/pat-01", "Practitioner/prac-2"],
        ),
        (
            "Observation?_id=obs-01-1&_include=*",
            vec!["Encounter/enc-01-2", "Patient/pat-01", "Practitioner/prac-2"],
        ),
        ("MedicationRequest?_id=mr-01-1&_include=MedicationRequest:medication", vec!["Medication/med-2"]),
        ("Patient?_id=pat-01&_revinclude=Provenance:target", vec!["Provenance/prov-1"]),
        (
            "Patient?_id=pat-01&_revinclude=Condition:patient",
            vec!["Condition/cond-01-1", "Condition/cond-01-2"],
        ),
    ];
    for (target, expected) in table {
        let bundle = ask(&server, target).await.json();
        assert_eq!(ids(&bundle, "include").len(), expected.len(), "{target}");
        assert!(
            expected.iter().all(|id| ids(&bundle, "include").iter().any(|found| found == id)),
            "{target}: {:?}",
            ids(&bundle, "include")
        );
    }
}

#[tokio::test]
async fn order_and_parts_are_as_asked() {
    let server = full().await;
    let sorted = ask(&server, "Patient?_sort=-birthdate&_count=2").await.json();
    assert_eq!(ids(&sorted, "match"), ["Patient/pat-24", "Patient/pat-23"]);
    let sorted = ask(&server, "Patient?_sort=gender,-_id&_count=1").await.json();
    assert_eq!(ids(&sorted, "match"), ["Patient/pat-23"]);
    let part =
        ask(&server, "Patient?_id=pat-01&_elements=gender").await.json()["entry"][0]["resource"].clone();
    assert_eq!((&part["gender"], part.get("name")), (&json!("female"), None));
    assert!(part["meta"]["tag"].to_string().contains("SUBSETTED"));
    let count = ask(&server, "Patient?_summary=count").await.json();
    assert_eq!((&count["total"], count.get("entry")), (&json!(24), None));
    assert_eq!(ask(&server, "Patient?_total=none").await.json().get("total"), None);
}

#[tokio::test]
async fn a_resource_lives_through_its_versions() {
    let server = empty().await;
    let made =
        write(&server, Method::POST, "Patient", &[], &json!({"resourceType": "Patient", "gender": "male"}))
            .await;
    assert_eq!((made.status, made.header("etag")), (201, "W/\"1\""));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("{}/Patient/{id}/_history/1", server.base()));
    let target = format!("Patient/{id}");
    let newer = json!({"resourceType": "Patient", "id": id, "gender": "female"});
    assert_eq!(write(&server, Method::PUT, &target, &[("if-match", "W/\"7\"")], &newer).await.status, 412);
    let changed = write(&server, Method::PUT, &target, &[("if-match", "W/\"1\"")], &newer).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "W/\"2\""));
    assert_eq!(ask(&server, &format!("{target}/_history/1")).await.json()["gender"], "male");
    assert_eq!(ask(&server, &format!("{target}/_history/1")).await.header("etag"), "W/\"1\"");
    let read = ask(&server, &target).await;
    assert_eq!((read.header("etag"), &read.json()["meta"]["versionId"]), ("W/\"2\"", &json!("2")));
    let stale = [("if-match", "W/\"1\""), ("content-type", "application/json-patch+json")];
    assert_eq!(write(&server, Method::PATCH, &target, &stale, &json!([])).await.status, 412);
    assert_eq!(
        write(&server, Method::DELETE, &target, &[("if-match", "W/\"1\"")], &json!({})).await.status,
        412
    );
    let absent = [("if-none-match", "*")];
    assert_eq!(write(&server, Method::PUT, &target, &absent, &newer).await.status, 412);
    let other = json!({"resourceType": "Patient", "id": "other"});
    assert_eq!(write(&server, Method::PUT, "Patient/other", &absent, &other).await.status, 201);
    server.remove("Patient/other");
    let steps = json!([{"op": "test", "path": "/gender", "value": "female"}, {"op": "add", "path": "/active", "value": true}]);
    assert_eq!(
        write(&server, Method::PATCH, &target, &[("content-type", "application/json-patch+json")], &steps)
            .await
            .json()["active"],
        true
    );
    assert_eq!(
        write(
            &server,
            Method::PATCH,
            &target,
            &[("content-type", "application/json-patch+json")],
            &json!([{"op": "replace", "path": "/id", "value": "x"}])
        )
        .await
        .status,
        400
    );
    assert_eq!(write(&server, Method::PATCH, &target, &[], &steps).await.status, 415);
    assert_eq!(write(&server, Method::DELETE, &target, &[], &json!({})).await.status, 200);
    assert_eq!(ask(&server, &target).await.status, 410);
    for (place, total) in
        [(format!("{target}/_history"), 4), ("Patient/_history".into(), 6), ("_history".into(), 6)]
    {
        let history = ask(&server, &place).await.json();
        assert_eq!((&history["type"], &history["total"]), (&json!("history"), &json!(total)));
        assert_eq!(history["entry"][0]["request"]["method"], "DELETE");
    }
    assert_eq!(write(&server, Method::PUT, &target, &[], &newer).await.json()["meta"]["versionId"], "5");
}

#[tokio::test]
async fn conditions_decide_writes() {
    let server = empty().await;
    let body = |number: &str| json!({"resourceType": "Patient", "identifier": [{"system": "urn:n", "value": number}]});
    let exist = [("if-none-exist", "identifier=urn:n|1")];
    assert_eq!(write(&server, Method::POST, "Patient", &exist, &body("1")).await.status, 201);
    assert_eq!(write(&server, Method::POST, "Patient", &exist, &body("1")).await.status, 200);
    assert_eq!(write(&server, Method::PUT, "Patient?identifier=urn:n|1", &[], &body("1")).await.status, 200);
    assert_eq!(write(&server, Method::PUT, "Patient?identifier=urn:n|2", &[], &body("2")).await.status, 201);
    assert_eq!(write(&server, Method::PUT, "Patient?identifier=urn:n|", &[], &body("3")).await.status, 412);
    assert_eq!(write(&server, Method::PUT, "Patient", &[], &body("3")).await.status, 412);
    let patch = [("content-type", "application/json-patch+json")];
    let steps = json!([{"op": "add", "path": "/active", "value": false}]);
    assert_eq!(
        write(&server, Method::PATCH, "Patient?identifier=urn:n|2", &patch, &steps).await.json()["active"],
        false
    );
    assert_eq!(write(&server, Method::PATCH, "Patient?identifier=urn:n|9", &patch, &steps).await.status, 404);
    assert_eq!(
        write(&server, Method::DELETE, "Patient?identifier=urn:n|2", &[], &json!({})).await.status,
        200
    );
    assert_eq!(ask(&server, "Patient").await.json()["total"], 1);
    let minimal = write(&server, Method::POST, "Patient", &[("prefer", "return=minimal")], &body("5")).await;
    assert_eq!((minimal.status, &*minimal.text), (201, ""));
}

#[tokio::test]
async fn bodies_that_do_not_fit_are_refused() {
    let server = empty().await;
    let patient = json!({"resourceType": "Patient", "id": "a"});
    let table = [
        (Method::POST, "Observation", "application/fhir+json", patient.clone(), 400),
        (Method::PUT, "Patient/b", "application/fhir+json", patient.clone(), 400),
        (
            Method::PUT,
            "Patient/a_b",
            "application/fhir+json",
            json!({"resourceType": "Patient", "id": "a_b"}),
            400,
        ),
        (Method::POST, "Patient", "application/fhir+xml", patient.clone(), 415),
        (Method::POST, "Patient", "application/fhir+json", json!([]), 400),
        (Method::PUT, "Patient/a/b", "application/fhir+json", patient.clone(), 405),
        (Method::POST, "Patient/a", "application/fhir+json", patient.clone(), 405),
        (Method::PUT, "Patient/a", "application/fhir+json", patient, 201),
    ];
    for (method, target, media, body, status) in table {
        let got = write(&server, method.clone(), target, &[("content-type", media)], &body).await;
        assert_eq!(got.status, status, "{method} {target} {}", got.text);
    }
}

#[tokio::test]
async fn a_batch_goes_on_and_a_transaction_does_not() {
    let server = empty().await;
    let entries = json!([
        {"request": {"method": "GET", "url": "Patient/new"}},
        {"resource": {"resourceType": "Patient", "id": "new"}, "request": {"method": "PUT", "url": "Patient/new"}},
        {"request": {"method": "GET", "url": "Patient/nobody"}},
    ]);
    let batch = write(
        &server,
        Method::POST,
        "",
        &[],
        &json!({"resourceType": "Bundle", "type": "batch", "entry": entries}),
    )
    .await
    .json();
    let status = |bundle: &Value, place: usize| {
        bundle["entry"][place]["response"]["status"].as_str().unwrap().split(" ").next().unwrap().to_owned()
    };
    assert_eq!((0..3).map(|place| status(&batch, place)).collect::<Vec<_>>(), ["404", "201", "404"]);
    assert_eq!(batch["type"], "batch-response");

    server.remove("Patient/new");
    let failed = write(
        &server,
        Method::POST,
        "",
        &[],
        &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}),
    )
    .await;
    assert_eq!((failed.status, &failed.json()["resourceType"]), (404, &json!("OperationOutcome")));
    assert_eq!(server.stored("Patient/new"), None, "undone");

    let mut good = entries.clone();
    good.as_array_mut().unwrap().pop();
    let done = write(
        &server,
        Method::POST,
        "",
        &[],
        &json!({"resourceType": "Bundle", "type": "transaction", "entry": good}),
    )
    .await
    .json();
    assert_eq!((status(&done, 0), status(&done, 1)), ("200".into(), "201".into()), "reads come last");
}

#[tokio::test]
async fn a_transaction_knows_its_own_names() {
    let server = empty().await;
    server.put(json!({"resourceType": "Practitioner", "id": "p", "identifier": [{"value": "77"}]})).unwrap();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:2"},
            "performer": [{"reference": "Practitioner?identifier=77"}]}, "request": {"method": "POST", "url": "Observation"}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient", "identifier": [{"value": "8"}]},
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=8"}}
    ]});
    for round in 1..=2 {
        let done = write(&server, Method::POST, "", &[], &bundle).await;
        assert_eq!(done.status, 200, "{}", done.text);
        let observation = &done.json()["entry"][0]["resource"];
        let patient = &done.json()["entry"][1]["resource"];
        assert_eq!(
            observation["subject"]["reference"],
            format!("Patient/{}", patient["id"].as_str().unwrap())
        );
        assert_eq!(observation["performer"][0]["reference"], "Practitioner/p");
        assert_eq!(ask(&server, "Patient").await.json()["total"], 1);
        assert_eq!(ask(&server, "Observation").await.json()["total"], round);
    }
}

#[tokio::test]
async fn operations_answer() {
    let server = full().await;
    let everything = ask(&server, "Patient/pat-01/$everything?_count=200").await.json();
    let found = ids(&everything, "match");
    for wanted in ["Patient/pat-01", "Observation/obs-01-6", "Practitioner/prac-2", "Binary/bin-01"] {
        assert_eq!(found.iter().any(|id| id == wanted), wanted != "Binary/bin-01", "{wanted}");
    }
    assert!(!found.iter().any(|id| id == "Patient/pat-02" || id == "Observation/obs-02-1"));
    let some = ask(&server, "Patient/pat-01/$everything?_type=Condition").await.json();
    assert_eq!(some["total"], 2);
    assert_eq!(ask(&server, "Encounter/enc-01-1/$everything").await.status, 200);
    assert_eq!(ask(&server, "Observation/$lastn?patient=pat-01").await.json()["total"], 6);
    assert_eq!(
        ask(&server, "Composition/comp-1/$document").await.json()["entry"][0]["resource"]["resourceType"],
        "Composition"
    );
    assert_eq!(ask(&server, "DocumentReference/$docref?patient=pat-02").await.json()["total"], 1);
    assert!(ask(&server, "Patient/pat-01/$meta").await.text.contains("synthetic"));
    let label = json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "mine"}]}}]});
    write(&server, Method::POST, "Patient/pat-01/$meta-add", &[], &label).await;
    assert_eq!(ask(&server, "Patient?_tag=mine").await.json()["total"], 1);
    write(&server, Method::POST, "Patient/pat-01/$meta-delete", &[], &label).await;
    assert_eq!(ask(&server, "Patient?_tag=mine").await.json()["total"], 0);
    assert_eq!(
        write(&server, Method::POST, "Patient/$validate", &[], &json!({"resourceType": "Patient"}))
            .await
            .status,
        200
    );
    assert_eq!(
        write(&server, Method::POST, "Patient/$validate", &[], &json!({"resourceType": "Group"}))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn the_format_is_as_asked() {
    let server = full().await;
    let table = [
        ("Patient/pat-01", "*/*", "application/fhir+json"),
        ("Patient/pat-01", "application/fhir+xml", "application/fhir+xml"),
        ("Patient/pat-01?_format=xml", "application/fhir+json", "application/fhir+xml"),
        ("Patient/pat-01?_format=json", "application/fhir+xml", "application/fhir+json"),
        ("Patient/nobody", "application/fhir+xml", "application/fhir+xml"),
        (
            "Patient/pat-01",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/fhir+json",
        ),
        ("Binary/bin-01", "*/*", "text/plain"),
        ("Binary/bin-01", "application/fhir+json", "application/fhir+json"),
        ("metadata", "application/fhir+xml", "application/fhir+xml"),
    ];
    for (target, accept, media) in table {
        let got = send(client().get(format!("{}/{target}", server.base())).header("accept", accept)).await;
        assert!(
            got.header("content-type").starts_with(media),
            "{target} {accept}: {}",
            got.header("content-type")
        );
        if media.ends_with("xml") {
            let mut reader = quick_xml::Reader::from_str(&got.text);
            while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
            assert!(got.text.contains("xmlns=\"http://hl7.org/fhir\""));
        }
    }
    assert_eq!(
        send(client().get(format!("{}/Patient/pat-01", server.base())).header("accept", "image/png"))
            .await
            .status,
        406
    );
    assert_eq!(
        send(client().get(format!("{}/Patient/pat-01", server.base())).header("if-none-match", "W/\"1\""))
            .await
            .status,
        304
    );
}

#[tokio::test]
async fn everything_says_that_it_is_a_demo() {
    let server = full().await;
    let got = ask(&server, "metadata").await;
    assert!(got.text.contains("DEMO"));
    assert_eq!(got.header("x-demo"), "synthetic data, not for clinical use");
    assert_eq!(got.json()["implementation"]["url"], server.base());
}
