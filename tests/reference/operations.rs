//! The table of operations as delivered (contract §6), with HAPI's answers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::House;
use crate::row::{row, run};

const JSON: &str = "application/fhir+json";

/// Longest wait for HAPI to finish an export.
const EXPORT_PATIENCE: Duration = Duration::from_secs(90);

/// OPS-1 … OPS-9.
pub async fn all(house: &mut House<'_>) {
    permitted(house).await;
    terminology(house).await;
    checked(house).await;
    denied(house).await;
}

async fn permitted(house: &House<'_>) {
    let meta = json!({"resourceType": "Parameters", "parameter": [
        {"name": "meta", "valueMeta": {"tag": [{"system": "urn:pforte:reference", "code": "tagged"}]}}]})
    .to_string();
    let person = json!({"resourceType": "Patient", "name": [{"family": "Inwood"}]}).to_string();
    let matched = json!({"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": {"resourceType": "Patient", "name": [{"family": "Inwood"}]}}]})
    .to_string();
    run(
        house,
        vec![
            row("GET", "Patient/pat-in/$everything", "system/*.r")
                .gives(200, "Inwood")
                .not(&["system/Observation.rs"]),
            row("GET", "Patient/pat-in/%24everything", "system/*.s")
                .gives(200, "Inwood")
                .not(&["system/Observation.rs"]),
            row("GET", "Encounter/enc-1/$everything", "system/Encounter.r")
                .gives(200, "enc-1")
                .not(&["system/Patient.rs"]),
            row("POST", "Patient/$validate", "system/Patient.c")
                .body(JSON, person.clone())
                .gives(200, "OperationOutcome")
                .not(&["system/Patient.rs"]),
            row("GET", "Patient/pat-in/$validate", "system/Patient.u system/Patient.r")
                .gives(200, "OperationOutcome")
                .not(&["system/Patient.u", "system/Patient.r"]),
            row("GET", "Observation/$lastn?patient=pat-in", "system/Observation.s")
                .gives(200, "searchset")
                .not(&["system/Observation.r"]),
            row("GET", "Patient/pat-in/$meta", "system/Patient.r")
                .gives(200, "Parameters")
                .not(&["system/Patient.s"]),
            row("POST", "Patient/pat-5/$meta-add", "system/Patient.u")
                .body(JSON, meta.clone())
                .gives(200, "")
                .not(&["system/Patient.rs"]),
            row("POST", "Patient/pat-5/$meta-delete", "system/Patient.u")
                .body(JSON, meta)
                .gives(200, "")
                .not(&["system/Patient.rs"]),
            // Not there in HAPI: its 400 comes out clean.
            row("GET", "DocumentReference/$docref?patient=pat-in", "system/DocumentReference.rs")
                .gives(400, "")
                .not(&["system/Patient.rs"]),
            row("POST", "Patient/$match", "system/Patient.s")
                .body(JSON, matched)
                .gives(400, "")
                .not(&["system/Patient.r"]),
            row("GET", "$versions", "system/Patient.r").gives(400, ""),
        ],
    )
    .await;
}

/// OPS-5.
async fn terminology(house: &House<'_>) {
    let gender = "http://hl7.org/fhir/administrative-gender";
    let set = "http://hl7.org/fhir/ValueSet/administrative-gender";
    run(
        house,
        vec![
            row("GET", format!("ValueSet/$expand?url={set}"), "system/ValueSet.r")
                .gives(200, "\"male\"")
                .not(&["system/*.cud"]),
            row(
                "GET",
                format!("ValueSet/$validate-code?url={set}&system={gender}&code=male"),
                "system/ValueSet.s",
            )
            .gives(200, "\"result\"")
            .not(&["system/CodeSystem.rs"]),
            row("GET", format!("CodeSystem/$lookup?system={gender}&code=male"), "system/CodeSystem.r")
                .gives(200, "Male")
                .not(&["system/ValueSet.rs"]),
            row(
                "GET",
                format!("CodeSystem/$subsumes?system={gender}&codeA=male&codeB=female"),
                "system/*.rs",
            )
            .gives(400, ""),
            row("GET", "ConceptMap/$translate?system=http://elsewhere.example&code=a", "system/ConceptMap.r")
                .gives(200, "\"result\"")
                .not(&["system/ValueSet.rs"]),
        ],
    )
    .await;
}

/// OPS-2, OPS-9: a grant for some types gets no others, and a document of others not at all.
async fn checked(house: &House<'_>) {
    let some = house.tokens.get("system/Patient.rs system/Observation.rs").await;
    let answer = house
        .client
        .ask("GET", "Patient/pat-in/$everything?_count=200")
        .bearer(&some)
        .with("two types")
        .send()
        .await;
    answer.is(200).holds("Inwood").only(&["Patient", "Observation"]);
    let one = house.tokens.get("system/Patient.r").await;
    house.client.read("Patient/pat-in/$everything?_count=200", &one).await.is(200).only(&["Patient"]);
    let document = "Composition/comp-in/$document";
    let all = house.tokens.get("system/*.rs").await;
    house.client.read(document, &all).await.is(200).holds("\"document\"").holds("Summary of pat-in");
    // Half a document would say what its author did not: refused whole, or only what is permitted is in it.
    let answer = house
        .client
        .ask("GET", document)
        .bearer(&house.tokens.get("system/Composition.rs").await)
        .with("Composition only")
        .send()
        .await;
    answer.one_of(&[200, 403]).lacks("Inwood").lacks("\"Observation\",");
}

/// OPS-1, OPS-6, OPS-7.
async fn denied(house: &House<'_>) {
    let everything = house.tokens.get("system/*.cruds").await;
    for (method, target) in [
        ("GET", "Patient/pat-in/$graphql?query={id}"),
        ("GET", "$graphql?query={PatientList{id}}"),
        ("POST", "Patient/pat-in/$expunge"),
        ("POST", "$expunge"),
        ("POST", "$reindex"),
        ("GET", "Patient/pat-in/$no-such"),
        ("GET", "Group/grp-1/$everything"),
        ("GET", "$everything"),
        ("GET", "Condition/$lastn"),
        ("GET", "Patient/$Everything"),
        ("POST", "$process-message"),
    ] {
        let mut asked = house.client.ask(method, target).bearer(&everything);
        if method == "POST" {
            asked = asked.json(&json!({"resourceType": "Parameters"}));
        }
        asked.send().await.refused(403, "operation_unknown");
    }
    let (status, _) = house.stack.hapi("GET", "Patient/pat-in", None).await;
    house.findings.check(status == 200, "a denied $expunge had its effect");
    // Export is for system/ scopes only.
    let user = house.stack.login(&["--user", "practitioner", "--scope", "openid fhirUser user/*.rs"]);
    let asked = house.client.ask("GET", "$export").bearer(&user).field("prefer", "respond-async");
    asked.with("user/").send().await.refused(403, "operation_reserved");
    let some = house.tokens.get("system/Patient.rs").await;
    let asked = house.client.ask("GET", "$export").bearer(&some).field("prefer", "respond-async");
    asked.with("system/Patient.rs").send().await.refused(403, "insufficient_scope");
    export(house).await;
}

/// OPS-7, OPS-20: status, files and cancellation belong to the client that started the export.
async fn export(house: &House<'_>) {
    let mine = house.tokens.get("system/*.rs").await;
    let other = house.stack.opaque("system/*.rs").await;
    let Some(place) = kick_off(house, &mine, "$export?_type=Organization").await else { return };
    let stranger = house.client.ask("GET", &place).bearer(&other).with("another client");
    stranger.send().await.one_of(&[403, 404]);
    house.client.ask("GET", &place).with("no token").send().await.is(401);
    // HAPI works on it in its own time; its status is all there is to look at.
    let begun = Instant::now();
    let manifest = loop {
        let answer = house.client.ask("GET", &place).bearer(&mine).with("status of the export").send().await;
        if answer.status != 202 || begun.elapsed() > EXPORT_PATIENCE {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    manifest.is(200).has("content-type", "application/json").holds("\"output\"");
    let file = manifest.json()["output"][0]["url"].as_str().unwrap_or_default().to_owned();
    if !file.starts_with(house.client.base()) {
        manifest.wrong(&format!("files below the public base, not {file}"));
        return;
    }
    let answer = house.client.ask("GET", &file).bearer(&mine).with("file of the export").send().await;
    answer.is(200).holds("Northgate Hospital").holds("Southgate Clinic");
    let answer = house.client.ask("GET", &file).bearer(&other).with("file, another client").send().await;
    answer.one_of(&[403, 404]).lacks("Northgate");
    house.client.ask("GET", &file).with("file, no token").send().await.is(401);

    let Some(place) = kick_off(house, &mine, "Group/grp-1/$export?_type=Patient").await else { return };
    let stranger = house.client.ask("DELETE", &place).bearer(&other).with("another client");
    stranger.send().await.one_of(&[403, 404]);
    let cancelled = house.client.ask("DELETE", &place).bearer(&mine).with("its own client").send().await;
    cancelled.one_of(&[200, 202, 204, 404]);
}

/// Starts an export; gives where its status is.
async fn kick_off(house: &House<'_>, token: &str, target: &str) -> Option<String> {
    let asked = house.client.ask("GET", target).bearer(token).field("prefer", "respond-async");
    let answer = asked.field("accept", "application/fhir+json").send().await;
    answer.is(202).has("content-location", house.client.base());
    let place = answer.field("content-location").to_owned();
    place.starts_with(house.client.base()).then_some(place)
}
