//! Reading, in JSON and XML (contract §6).

use crate::house::House;
use crate::row::{Row, row, run};

const FORM: &str = "application/x-www-form-urlencoded";

/// Every row that changes nothing.
pub async fn all(house: &mut House<'_>) {
    run(house, instances()).await;
    run(house, searches()).await;
    run(house, whole_system()).await;
    narrowed(house).await;
    xml(house).await;
    head_and_formats(house).await;
    unknown(house).await;
}

/// REST-1 … REST-8, REST-18, REST-19.
fn instances() -> Vec<Row> {
    vec![
        row("GET", "Patient/pat-in", "system/Patient.r")
            .gives(200, "Inwood")
            .not(&["system/Patient.s", "system/Observation.r"]),
        row("GET", "Patient/pat-in", "system/Patient.read")
            .gives(200, "Inwood")
            .not(&["system/Patient.write"]),
        row("GET", "Patient/pat-in", "system/*.rs").gives(200, "Inwood").not(&["system/*.s"]),
        row("GET", "Patient/pat-gone", "system/Patient.r").gives(410, "").not(&["system/Patient.s"]),
        row("GET", "Patient/pat-gone", "system/*.r").gives(410, "").not(&["system/*.s"]),
        row("GET", "Patient/pat-none", "system/Patient.r").gives(404, "").not(&["system/Patient.s"]),
        row("GET", "Patient/pat-none", "system/*.r").gives(404, "").not(&["system/*.s"]),
        row("GET", "Observation/obs-moved/_history/1", "system/Observation.r")
            .gives(200, "Patient/pat-out")
            .not(&["system/Observation.s"]),
        row("GET", "Observation/obs-moved/_history/2", "system/*.r")
            .gives(200, "Patient/pat-in")
            .not(&["system/*.s"]),
        row("GET", "Observation/obs-moved/_history", "system/Observation.r")
            .gives(200, "Patient/pat-out")
            .not(&["system/Observation.s"]),
        row("GET", "Observation/obs-moved/_history?_count=1", "system/*.r")
            .gives(200, "\"history\"")
            .not(&["system/*.s"]),
        // A deletion has no resource in the history, but its entry stays.
        row("GET", "Patient/pat-gone/_history", "system/Patient.r")
            .gives(200, "DELETE")
            .not(&["system/Patient.s"]),
        row("GET", "Binary/bin-in", "system/Binary.rs")
            .gives(200, "\"Binary\"")
            .not(&["system/DocumentReference.rs"]),
        row("GET", "Binary/bin-in", "system/*.rs")
            .field("accept", "application/fhir+json")
            .gives(200, "\"Binary\"")
            .not(&["system/*.s"]),
        // OPS-40: its content as it is, when the client asks for that.
        row("GET", "Binary/bin-in", "system/*.rs")
            .field("accept", "text/plain")
            .gives(200, "Discharge note of pat-in")
            .not(&["system/*.s"]),
    ]
}

/// SRCH-1 … SRCH-10, REST-4, REST-20.
fn searches() -> Vec<Row> {
    vec![
        row("GET", "Observation?subject=Patient/pat-in&_count=5", "system/Observation.s")
            .gives(200, "searchset")
            .not(&["system/Observation.r", "system/Patient.rs"]),
        row("GET", "Observation/?subject=Patient/pat-in", "system/Observation.s")
            .gives(200, "searchset")
            .not(&["system/Observation.r"]),
        row("POST", "Observation/_search", "system/Observation.s")
            .body(FORM, "subject=Patient%2Fpat-in&_count=5")
            .gives(200, "searchset")
            .not(&["system/Observation.r"]),
        row("POST", "Observation/_search?_count=2", "system/*.s")
            .body(FORM, "code=8867-4")
            .gives(200, "searchset")
            .not(&["system/*.r"]),
        row("GET", "Observation/_history?_count=3", "system/Observation.s")
            .gives(200, "\"history\"")
            .not(&["system/Observation.r"]),
        row("GET", "Observation?no-such-parameter=1", "system/Observation.s")
            .gives(400, "")
            .not(&["system/Observation.r"]),
        // SRCH-5, SRCH-6: what a chain reaches must be granted too.
        row("GET", "Observation?subject:Patient.family=Inwood", "system/Observation.s system/Patient.s")
            .gives(200, "searchset")
            .not(&["system/Patient.s"]),
        row("GET", "Patient?_has:Observation:patient:code=8867-4", "system/Patient.s system/Observation.s")
            .gives(200, "searchset")
            .not(&["system/Observation.s"]),
    ]
}

/// HAPI answers none of these but the histories: its 400 comes out clean.
fn whole_system() -> Vec<Row> {
    vec![
        row("GET", "?_type=Patient,Observation", "system/Patient.s system/Observation.s")
            .gives(400, "")
            .not(&["system/Patient.s", "system/*.r"]),
        row("GET", "?_type=Patient", "system/*.s").gives(400, "").not(&["system/*.r"]),
        row("POST", "_search", "system/*.s").body(FORM, "_type=Patient").gives(400, "").not(&["system/*.r"]),
        row("GET", "_history?_count=3", "system/*.s").gives(200, "\"history\"").not(&["system/*.r"]),
        row("GET", "Patient/pat-in/Observation", "system/Observation.s system/Patient.s")
            .gives(400, "")
            .not(&["system/Observation.r"]),
        row("GET", "Patient/pat-in/Observation?code=8867-4", "system/*.s")
            .gives(400, "")
            .not(&["system/*.r"]),
        row("POST", "Patient/pat-in/Observation/_search", "system/*.s")
            .body(FORM, "code=8867-4")
            .gives(400, "")
            .not(&["system/*.r"]),
        row("GET", "Patient/pat-in/*", "system/*.s").gives(400, "").not(&["system/*.r"]),
    ]
}

/// REST-20: where no type is named, a grant for some is narrowed to them or refused; it never brings others.
async fn narrowed(house: &House<'_>) {
    let patients = house.tokens.get("system/Patient.rs").await;
    let answer = house
        .client
        .ask("GET", "_history?_count=200")
        .bearer(&patients)
        .with("system/Patient.rs")
        .send()
        .await;
    if answer.status == 200 {
        // HAPI's page has the newest changes, and they may all be of other types.
        if answer.ids().iter().any(|id| !id.starts_with("Patient/")) {
            answer.wrong("versions of Patients only");
        }
    } else {
        answer.is(403);
    }
    let observations = house.tokens.get("system/Observation.rs").await;
    for target in ["Patient/pat-in/*", "?_id=obs-lab-enc-1"] {
        let answer =
            house.client.ask("GET", target).bearer(&observations).with("system/Observation.rs").send().await;
        answer.one_of(&[400, 403]).holds("OperationOutcome");
    }
}

/// REST-9: the same decisions in XML, by Accept and by `_format`.
async fn xml(house: &House<'_>) {
    let one = house.tokens.get("system/Patient.rs").await;
    let all = house.tokens.get("system/*.rs").await;
    for token in [&one, &all] {
        let ask = |target: &str| {
            let asked = house.client.ask("GET", target).bearer(token);
            asked.field("accept", "application/fhir+xml").with("XML")
        };
        ask("Patient/pat-in")
            .send()
            .await
            .is(200)
            .has("content-type", "application/fhir+xml")
            .holds("Inwood")
            .holds("<Patient");
        let answer = ask("Patient?_count=2&_sort=_id").send().await;
        answer
            .is(200)
            .has("content-type", "application/fhir+xml")
            .holds("<Bundle")
            .holds(house.client.base());
        ask("Patient/pat-none").send().await.is(404).holds("<OperationOutcome");
        ask("Patient/pat-in/_history").send().await.is(200).holds("<type value=\"history\"/>");
    }
    let answer = house
        .client
        .ask("GET", "Observation/obs-lab-enc-1?_format=xml")
        .bearer(&one)
        .with("XML")
        .send()
        .await;
    answer
        .refused(403, "insufficient_scope")
        .has("content-type", "application/fhir+xml")
        .holds("<OperationOutcome");
    // SRCH-7: includes in XML are cut like those in JSON.
    let observations = house.tokens.get("system/Observation.rs").await;
    let target = "Observation?_id=obs-lab-enc-1&_include=Observation:subject&_format=xml";
    let answer = house.client.read(target, &observations).await;
    answer.is(200).holds("<Observation").lacks("Inwood").lacks("<Patient");
}

/// REST-3, REST-9.
async fn head_and_formats(house: &House<'_>) {
    let token = house.tokens.get("system/Patient.rs").await;
    let answer = house.client.ask("HEAD", "Patient/pat-in").bearer(&token).send().await;
    answer.is(200).has("content-type", "application/fhir+json");
    if !answer.body.is_empty() {
        answer.wrong("no body in the answer to HEAD");
    }
    house.client.ask("HEAD", "Observation/obs-lab-enc-1").bearer(&token).send().await.is(403);
    let strange = house.client.ask("GET", "Patient/pat-in").bearer(&token).field("accept", "text/turtle");
    strange.with("turtle").send().await.one_of(&[200, 406]).lacks("@prefix");
    let answer = house
        .client
        .ask("GET", "Patient/pat-in")
        .bearer(&token)
        .field("accept-encoding", "gzip")
        .send()
        .await;
    answer.is(200).without("content-encoding").holds("Inwood").has("etag", "W/\"1\"").has("vary", "");
    answer.has("cache-control", "no-store");
}

/// What has no row is not forwarded.
async fn unknown(house: &House<'_>) {
    let token = house.tokens.get("system/*.cruds").await;
    let cases: [(&str, &str, &[u16]); 10] = [
        ("GET", "patient/pat-in", &[400, 404]),
        ("GET", "NoSuchType/1", &[400, 404]),
        ("GET", "Patient/pat-in/_history/1/2", &[400, 404]),
        ("GET", "Patient/pat-in/nothing", &[400, 404]),
        ("PUT", "Patient", &[400, 404, 405]),
        ("DELETE", "Patient/pat-in/_history", &[400, 403, 404, 405]),
        ("TRACE", "Patient/pat-in", &[405, 501]),
        ("PROPFIND", "Patient/pat-in", &[405, 501]),
        ("GET", "/", &[404]),
        ("GET", "/actuator", &[404]),
    ];
    for (method, target, statuses) in cases {
        let answer = house.client.ask(method, target).bearer(&token).send().await;
        answer.one_of(statuses).holds("OperationOutcome");
    }
}
