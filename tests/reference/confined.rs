//! What a launch patient reads, finds and calls at HAPI (contract §7): everything of the own, nothing of another's.

use serde_json::{Value, json};

use crate::house::{Change, House};
use crate::support::{Answer, Ask};

const FORM: &str = "application/x-www-form-urlencoded";
const XML: &str = "application/fhir+xml";
const SCOPE: &str = "launch/patient patient/*.rs";
const MRN: &str = "https://hospital.example/mrn";

/// What only other patients' records have in them. `obs-focus-in-out` is the launch patient's and names `pat-out`.
const FOREIGN: [&str; 10] = [
    "Outhwaite",
    "Vier\"",
    "Drei\"",
    "enc-3",
    "enc-4",
    "enc-5",
    "enc-6",
    "enc-7",
    "obs-focus-out-in",
    "obs-nobody",
];

/// Reads, histories, searches and operations.
pub async fn all(house: &mut House<'_>) {
    let patient = Patient::of(house);
    reads(house, &patient).await;
    hidden(house, &patient).await;
    conditional_reads(house, &patient).await;
    histories(house, &patient).await;
    searches(house, &patient).await;
    nothing_found(house, &patient).await;
    shapes(house, &patient).await;
    brought_along(house, &patient).await;
    chains(house, &patient).await;
    everything(house, &patient).await;
    operations(house, &patient).await;
    binaries(house, &patient).await;
    user_who_is_a_patient(house).await;
    shared(house).await;
}

/// The tokens of both patients.
struct Patient {
    own: String,
    other: String,
}

impl Patient {
    fn of(house: &House<'_>) -> Self {
        Self { own: house.logins.jwt("patient-in", SCOPE), other: house.logins.jwt("patient-out", SCOPE) }
    }

    /// A request of `pat-in`.
    fn ask(&self, house: &House<'_>, method: &str, target: &str) -> Ask {
        house.client.ask(method, target).bearer(&self.own).with("pat-in")
    }

    async fn get(&self, house: &House<'_>, target: &str) -> Answer {
        self.ask(house, "GET", target).send().await
    }
}

/// Nothing of anybody else's is in it. Links repeat what the client asked for.
fn own(answer: &Answer) -> &Answer {
    let text = unlinked(answer);
    if let Some(foreign) = FOREIGN.iter().find(|foreign| text.contains(*foreign)) {
        answer.wrong(&format!("nothing with `{foreign}` in it"));
    }
    answer
}

/// The body without the links of a Bundle.
fn unlinked(answer: &Answer) -> String {
    let text = answer.text().into_owned();
    if let Ok(Value::Object(mut body)) = serde_json::from_str(&text) {
        body.remove("link");
        return Value::Object(body).to_string();
    }
    let pieces = text.split("<link>").enumerate().map(|(place, piece)| match piece.split_once("</link>") {
        Some((_, rest)) if place > 0 => rest,
        _ => piece,
    });
    pieces.collect()
}

fn empty(answer: &Answer) {
    if !own(answer).is(200).entries().is_empty() {
        answer.wrong("no entries");
    }
}

async fn reads(house: &House<'_>, patient: &Patient) {
    for id in [
        "Patient/pat-in",
        "Encounter/enc-2",
        "Condition/cond-problem-enc-1",
        "Observation/obs-lab-enc-2",
        "Observation/obs-focus-in-out",
        "Observation/obs-moved",
        "Observation/obs-secret",
        "AllergyIntolerance/alg-in",
        "Appointment/app-in",
        "Composition/comp-in",
        "DiagnosticReport/rep-in",
        "DocumentReference/doc-in",
        "Group/grp-1",
        "Immunization/imm-in",
        "List/list-in",
        "MedicationRequest/mr-in",
        "Procedure/proc-in",
        "RelatedPerson/rel-in",
    ] {
        patient.get(house, id).await.is(200).has("content-type", "application/fhir+json").has("etag", "W/");
        let answer = patient.ask(house, "GET", id).field("accept", XML).send().await;
        answer.is(200).has("content-type", XML);
    }
    // In nobody's compartment, and not shared (COMP-8).
    for id in ["Practitioner/prac-1", "Organization/org-1", "Location/loc-1", "Medication/med-1"] {
        patient.get(house, id).await.one_of(&[403, 404]).holds("OperationOutcome");
    }
}

/// Another's, unknown, deleted: one answer (status, fields, body) but for the id of the request.
async fn hidden(house: &House<'_>, patient: &Patient) {
    let gone = format!("Observation/gone-{}", std::process::id());
    let record = json!({"resourceType": "Observation", "id": gone.split_once('/').map(|(_, id)| id),
        "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/pat-in"}});
    house.stack.hapi("PUT", &gone, Some(&record)).await;
    patient.get(house, &gone).await.is(200);
    house.stack.hapi("DELETE", &gone, None).await;
    let targets = [
        "Observation/obs-lab-enc-3",
        gone.as_str(),
        "Observation/obs-nobody",
        "Observation/obs-focus-out-in",
        "Observation/obs-lab-enc-3/_history/1",
        "Observation/obs-no-such/_history/1",
        "Observation/obs-moved/_history/1",
        "Observation/obs-lab-enc-3/_history",
        "Condition/cond-problem-enc-3",
        "Condition/no-such",
        "Patient/pat-out",
        "Patient/pat-gone",
        "Patient/pat-4",
        "Patient/no-such",
        "Encounter/enc-3",
        "Binary/bin-out",
        "Binary/bin-free",
        "Binary/no-such",
        "Provenance/prov-out",
    ];
    for (method, accept) in [("GET", "*/*"), ("GET", XML), ("HEAD", "*/*")] {
        let ask = |target: &str| patient.ask(house, method, target).field("accept", accept);
        let unknown = ask("Observation/obs-no-such").send().await;
        if method == "GET" {
            unknown.refused(404, "not_found");
        }
        let expected = shape(&unknown);
        for target in targets {
            same(&ask(target).send().await, &expected);
        }
        if let Some(why) = &unknown.broken {
            unknown.wrong(&format!("an answer that ends well, not {why}"));
        }
    }
}

/// Says no more than that answer.
fn same(answer: &Answer, expected: &[String]) {
    let got = shape(answer);
    let more = got.iter().filter(|line| !expected.contains(line));
    let less = expected.iter().filter(|line| !got.contains(line));
    let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
    if !more.is_empty() || !less.is_empty() {
        answer.wrong(&format!("what is said of an unknown id; there is more: {more:?}, and less: {less:?}"));
    }
}

/// All there is to see of an answer, but for the request's id and the moment.
fn shape(answer: &Answer) -> Vec<String> {
    let id = answer.field("x-request-id");
    let fields = answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let fields = fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let whole = [answer.status.to_string(), answer.text().into_owned()].into_iter().chain(fields);
    whole.map(|line| line.replace(id, "ID")).collect()
}

/// HEAD, If-None-Match, If-Modified-Since.
async fn conditional_reads(house: &House<'_>, patient: &Patient) {
    for id in ["Patient/pat-in", "Observation/obs-moved"] {
        let answer = patient.get(house, id).await;
        let (etag, modified) = (answer.field("etag").to_owned(), answer.field("last-modified").to_owned());
        let head = patient.ask(house, "HEAD", id).send().await;
        head.is(200).has("etag", &etag).has("content-type", "application/fhir+json");
        if !head.body.is_empty() {
            head.wrong("no body");
        }
        let fresh = patient.ask(house, "GET", id).field("if-none-match", &etag).send().await;
        fresh.is(304).has("etag", &etag);
        patient
            .ask(house, "GET", id)
            .field("if-none-match", "W/\"99\"")
            .send()
            .await
            .is(200)
            .holds("resourceType");
        if !modified.is_empty() {
            patient.ask(house, "GET", id).field("if-modified-since", &modified).send().await.is(304);
        }
    }
    for (name, value) in
        [("if-none-match", "W/\"1\""), ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]
    {
        for id in ["Observation/obs-lab-enc-3", "Patient/pat-out"] {
            let answer = patient.ask(house, "GET", id).field(name, value).send().await;
            answer.refused(404, "not_found").without("etag").without("last-modified");
        }
    }
}

/// Version by version, each by what it says itself.
async fn histories(house: &House<'_>, patient: &Patient) {
    let ask = |token: &str, target: &str| house.client.ask("GET", target).bearer(token);
    let now = ask(&patient.own, "Observation/obs-moved/_history").with("pat-in").send().await;
    let then = ask(&patient.other, "Observation/obs-moved/_history").with("pat-out").send().await;
    for (answer, subject) in [(&now, "Patient/pat-in"), (&then, "Patient/pat-out")] {
        let found = answer.is(200).resources();
        if found.len() != 1 || found[0]["subject"]["reference"] != subject {
            answer.wrong(&format!("one version, of {subject}"));
        }
    }
    for (token, version, status) in
        [(&patient.own, 1, 404), (&patient.own, 2, 200), (&patient.other, 1, 200), (&patient.other, 2, 404)]
    {
        let target = format!("Observation/obs-moved/_history/{version}");
        ask(token, &target).send().await.is(status);
    }
    ask(&patient.other, "Observation/obs-moved").with("moved away from pat-out").send().await.is(404);
    type_history(house, patient).await;
    let only = patient.get(house, "Patient/_history").await;
    own(&only).is(200);
    if only.entries().iter().any(|entry| entry["resource"]["id"] != "pat-in") {
        only.wrong("the entries of pat-in, without the deletion of pat-gone");
    }
    let xml = patient.ask(house, "GET", "Observation/obs-moved/_history").field("accept", XML).send().await;
    xml.is(200).holds("Patient/pat-in").lacks("pat-out\"");
    patient.get(house, "_history").await.is(403).holds("OperationOutcome");
}

/// Every page of a type's history has the versions that are the patient's, of those that HAPI has on its pages.
async fn type_history(house: &House<'_>, patient: &Patient) {
    const FIRST: &str = "Observation/_history?_count=20";
    let (mut next, mut expected) = (Some(FIRST.to_owned()), Vec::new());
    while let Some(target) = next {
        let (_, body) = house.stack.hapi("GET", &target, None).await;
        let versions = body["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"]);
        expected.extend(versions.filter(|it| it["subject"]["reference"] == "Patient/pat-in").map(version));
        next = linked(&body).and_then(|url| Some(url.split_once("/fhir/")?.1.to_owned()));
    }
    let (mut next, mut seen) = (Some(FIRST.to_owned()), Vec::new());
    while let Some(target) = next {
        let answer = patient.get(house, &target).await;
        own(&answer).is(200).lacks("_getpages");
        seen.extend(answer.resources().iter().map(version));
        next = linked(&answer.json());
    }
    let fits = seen == expected && seen.len() > 10;
    house
        .findings
        .check(fits, format!("{FIRST} of pat-in:\n    expected {expected:?}\n    got      {seen:?}"));
}

fn version(resource: &Value) -> String {
    format!("{}/{}", resource["id"], resource["meta"]["versionId"])
}

/// The link to the next page.
fn linked(bundle: &Value) -> Option<String> {
    let link = bundle["link"].as_array()?.iter().find(|link| link["relation"] == "next")?;
    link["url"].as_str().map(str::to_owned)
}

/// Searches that find all of the own; the ids are HAPI's for the same search of `pat-in`.
async fn searches(house: &House<'_>, patient: &Patient) {
    let cases = [
        ("Patient?_count=50", "Patient?_id=pat-in"),
        ("Patient?family=Inwood", "Patient?_id=pat-in"),
        ("Encounter?_count=50", "Encounter?patient=pat-in"),
        ("Encounter?status=finished", "Encounter?patient=pat-in&status=finished"),
        ("Condition?_count=50", "Condition?patient=pat-in"),
        ("Condition?subject=Patient/pat-in", "Condition?patient=pat-in"),
        ("Condition?patient=pat-in,pat-out", "Condition?patient=pat-in"),
        ("Condition?encounter=enc-1,enc-3", "Condition?patient=pat-in&encounter=enc-1"),
        ("Observation?_count=50", "Observation?subject=Patient/pat-in"),
        ("Observation?code=8867-4&_count=50", "Observation?subject=Patient/pat-in&code=8867-4"),
        ("Observation?_id=obs-lab-enc-1,obs-lab-enc-3", "Observation?_id=obs-lab-enc-1"),
        ("Observation?patient=pat-in&_count=50", "Observation?subject=Patient/pat-in"),
        ("DocumentReference", "DocumentReference?patient=pat-in"),
        ("MedicationRequest?status=active", "MedicationRequest?patient=pat-in"),
        ("AllergyIntolerance", "AllergyIntolerance?patient=pat-in"),
        ("Appointment", "Appointment?patient=pat-in"),
        ("List", "List?subject=Patient/pat-in"),
        // Compartment searches, which HAPI does not have.
        ("Patient/pat-in/Observation?_count=50", "Observation?subject=Patient/pat-in"),
        ("Patient/pat-in/Condition", "Condition?patient=pat-in"),
        ("Patient/pat-in/Encounter?status=finished", "Encounter?patient=pat-in&status=finished"),
    ];
    for (target, same) in cases {
        let (separator, form) = target.split_once('?').map_or(("", ""), |(_, query)| ("?", query));
        let path = target.trim_end_matches(form).trim_end_matches(separator);
        let expected = found(&house.stack.hapi("GET", &format!("{same}&_count=50"), None).await.1);
        let ways = [
            patient.ask(house, "GET", target),
            patient.ask(house, "POST", &format!("{path}/_search")).body(FORM, form).with(form),
            patient.ask(house, "GET", target).field("accept", XML),
        ];
        for asked in ways {
            let answer = asked.send().await;
            let answer = own(&answer).is(200);
            if answer.field("content-type").starts_with(XML) {
                expected.iter().for_each(|id| {
                    answer.holds(&format!("{id}\""));
                });
                continue;
            }
            let mut got = answer.ids();
            got.sort();
            if got != expected || expected.is_empty() {
                answer.wrong(&format!("{expected:?}"));
            }
            if answer.request.starts_with("GET") {
                // HAPI's own self link of a search by POST is `T/_search` without the parameters.
                repeated(house, patient, answer, &expected).await;
            }
        }
    }
}

/// The self link is the same search as GET (FHIR R4 §3.1.1.1).
async fn repeated(house: &House<'_>, patient: &Patient, answer: &Answer, expected: &[String]) {
    let body = answer.json();
    let link = body["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "self");
    let Some(url) = link.and_then(|link| link["url"].as_str()) else {
        answer.wrong("a self link");
        return;
    };
    let again = patient.get(house, url).await;
    let mut got = again.is(200).ids();
    got.sort();
    if got != expected {
        again.wrong(&format!("by the self link: {expected:?}"));
    }
}

/// `Type/id` of each entry, sorted.
fn found(bundle: &Value) -> Vec<String> {
    let name = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let mut ids: Vec<String> = entries
        .map(|entry| {
            format!("{}/{}", name(&entry["resource"], "resourceType"), name(&entry["resource"], "id"))
        })
        .collect();
    ids.sort();
    ids
}

/// A search for somebody else's data is 200 and empty, however the other is named.
async fn nothing_found(house: &House<'_>, patient: &Patient) {
    for target in [
        "Patient?_id=pat-out",
        "Patient?family=Outhwaite",
        "Patient?link=Patient/pat-4&_id=pat-4",
        "Condition?patient=pat-out",
        "Condition?patient=Patient/pat-out",
        "Condition?subject=Patient/pat-out&patient=pat-in",
        "Condition?patient=pat-in&patient=pat-out",
        "Condition?subject:Patient=pat-out",
        "Condition?encounter=Encounter/enc-3",
        "Condition?_id=cond-problem-enc-3",
        "Observation?subject=Patient/pat-out",
        "Observation?patient=pat-out",
        "Observation?subject:missing=true",
        "Encounter?subject=Patient/pat-out",
        "Encounter?_id=enc-3",
        "DocumentReference?patient=pat-out",
        "List?subject=Patient/pat-out",
        "Patient/pat-out/Condition",
        "Patient/pat-out/Observation?code=8867-4",
    ] {
        empty(&patient.get(house, target).await);
    }
    for (target, form) in [
        ("Condition/_search", "patient=pat-out"),
        ("Condition/_search?patient=pat-in", "patient=pat-out"),
        ("Condition/_search?patient=pat-out", "patient=pat-in"),
        ("Observation/_search", "subject=Patient%2Fpat-out"),
        ("Patient/_search", "_id=pat-out"),
        ("Patient/pat-out/Condition/_search", "_count=5"),
    ] {
        empty(&patient.ask(house, "POST", target).body(FORM, form).with(form).send().await);
    }
    for target in
        ["?_type=Observation,Condition", "Patient/pat-in/*", "Patient/pat-out/*", "?_id=obs-lab-enc-3"]
    {
        own(&patient.get(house, target).await).one_of(&[200, 400, 403]);
    }
}

/// SRCH-11 … SRCH-17: what shapes an answer is no way around the check.
async fn shapes(house: &House<'_>, patient: &Patient) {
    for (target, total) in [
        ("Encounter?_summary=count", 2),
        ("Encounter?_count=0", 2),
        ("Patient?_summary=count", 1),
        ("Encounter?patient=pat-out&_summary=count", 0),
        ("Encounter?_id=enc-3&_total=accurate", 0),
        ("Encounter?_total=accurate", 2),
    ] {
        let answer = patient.get(house, target).await;
        if own(&answer).is(200).json()["total"] != total {
            answer.wrong(&format!("a total of {total}"));
        }
    }
    for target in [
        "Condition?_elements=code",
        "Condition?_summary=true",
        "Condition?_summary=text",
        "Condition?_summary=data",
        "Observation?_elements=status&code=8867-4",
        "Condition?_contained=false",
    ] {
        let answer = patient.get(house, target).await;
        own(&answer).is(200);
        if answer.entries().is_empty() {
            answer.wrong("an entry");
        }
    }
    for target in
        ["Condition?_contained=true", "Condition?_contained=both", "Condition?_containedType=contained"]
    {
        patient.get(house, target).await.is(403).holds("OperationOutcome");
    }
    for target in [
        "Condition?_filter=patient eq pat-out",
        "Condition?_query=anything",
        "Condition?_list=list-out",
        "Observation?_has:Provenance:target:agent=Practitioner/prac-1",
    ] {
        own(&patient.get(house, target).await).one_of(&[200, 400, 403]);
    }
}

/// `_include` and `_revinclude` bring nothing of others.
async fn brought_along(house: &House<'_>, patient: &Patient) {
    let cases = [
        ("Observation?_id=obs-lab-enc-1&_include=Observation:subject", "Inwood"),
        ("Observation?_id=obs-focus-in-out&_include=Observation:focus", "obs-focus-in-out"),
        ("Observation?_id=obs-focus-in-out&_include=*", "obs-focus-in-out"),
        ("Observation?_id=obs-lab-enc-1&_include=Observation:performer", "obs-lab-enc-1"),
        ("Patient?_id=pat-in&_include=Patient:link", "Inwood"),
        ("Patient?_id=pat-in&_revinclude=Observation:focus", "Inwood"),
        ("Patient?_id=pat-in&_revinclude=Patient:link", "Inwood"),
        ("Patient?_id=pat-in&_revinclude=Condition:subject", "cond-problem-enc-1"),
        ("Encounter?_id=enc-1&_revinclude=Condition:encounter", "cond-problem-enc-1"),
        ("Group?_id=grp-1&_include=Group:member", "grp-1"),
        ("Encounter?_include=Encounter:practitioner&_revinclude:iterate=Encounter:practitioner", "enc-1"),
    ];
    for (target, holds) in cases {
        let answer = patient.get(house, target).await;
        own(&answer).is(200).holds(holds).lacks("Prantl").lacks("Quist");
        let xml = patient.ask(house, "GET", target).field("accept", XML).send().await;
        xml.is(200).lacks("Outhwaite").lacks("obs-focus-out-in").lacks("enc-3").lacks("Prantl");
    }
}

/// SRCH-5, SRCH-6.
async fn chains(house: &House<'_>, patient: &Patient) {
    let reached = patient.get(house, &format!("Encounter?patient.identifier={MRN}|MRN-0001")).await;
    own(&reached).is(200).only(&["Encounter"]).holds("enc-2");
    let through = patient.get(house, "Condition?encounter.status=finished").await;
    own(&through).is(200).only(&["Condition"]).holds("cond-problem-enc-2").lacks("cond-problem-enc-1");
    for target in
        ["Patient?_has:Observation:subject:code=8867-4", "Patient?_has:Condition:patient:code=38341003"]
    {
        own(&patient.get(house, target).await).is(200).only(&["Patient"]).holds("Inwood");
    }
    for target in [
        &format!("Encounter?patient.identifier={MRN}|MRN-0002"),
        "Observation?subject:Patient.family=Outhwaite",
        // The match is the launch patient's; what the chain looked into is not.
        "Observation?focus:Patient.family=Outhwaite",
        "Patient?_has:Observation:subject:code=no-such",
    ] {
        empty(&patient.get(house, target).await);
    }
    for target in [
        "Observation?performer:Practitioner.family=Prantl",
        "Patient?general-practitioner:Practitioner.family=Prantl",
        "Patient?_has:Observation:focus:code=8867-4",
    ] {
        own(&patient.get(house, target).await).is(403).holds("OperationOutcome");
    }
    own(&patient.get(house, "Patient?link:Patient.family=Vier").await)
        .one_of(&[200, 403])
        .lacks("\"resource\"");
}

async fn everything(house: &House<'_>, patient: &Patient) {
    for (method, target) in [
        ("GET", "Patient/pat-in/$everything?_count=200"),
        ("POST", "Patient/pat-in/$everything"),
        ("GET", "Encounter/enc-1/$everything"),
    ] {
        let mut asked = patient.ask(house, method, target);
        if method == "POST" {
            asked = asked.json(&json!({"resourceType": "Parameters"}));
        }
        let answer = asked.send().await;
        own(&answer).is(200).holds("enc-1").lacks("Prantl").lacks("_getpages");
    }
    let xml = patient.ask(house, "GET", "Patient/pat-in/$everything").field("accept", XML).send().await;
    xml.is(200).holds("Inwood").lacks("Outhwaite").lacks("enc-3").lacks("Prantl");
    for target in
        ["Patient/pat-out/$everything", "Patient/no-such/$everything", "Encounter/enc-3/$everything"]
    {
        patient.get(house, target).await.refused(404, "not_found");
    }
    own(&patient.get(house, "Patient/$everything").await).is(403);
}

async fn operations(house: &House<'_>, patient: &Patient) {
    // HAPI answers with everybody's, whatever patient it is asked for.
    for target in ["Observation/$lastn?patient=pat-in", "Observation/$lastn?subject=Patient/pat-in"] {
        let answer = patient.get(house, target).await;
        own(&answer).is(200).only(&["Observation"]).holds("enc-1");
    }
    own(&patient.get(house, "Observation/$lastn").await).one_of(&[200, 403]);
    for target in ["Observation/$lastn?patient=pat-out", "Observation/$lastn?subject=Patient/pat-out"] {
        own(&patient.get(house, target).await).is(403);
    }
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "subject", "valueReference": {"reference": "Patient/pat-out"}}]});
    let answer =
        patient.ask(house, "POST", "Observation/$lastn").json(&parameters).with("other subject").send().await;
    own(&answer).is(403);
    // The document has in it what is not reached (its author, a linked patient): whole or not at all.
    own(&patient.get(house, "Composition/comp-in/$document").await).one_of(&[403, 404]).lacks("Inwood");
    patient.get(house, "Composition/comp-out/$document").await.refused(404, "not_found");
    own(&patient.get(house, "Patient/pat-in/$meta").await).is(200).holds("Parameters");
    patient.get(house, "Patient/pat-out/$meta").await.refused(404, "not_found");
    patient.get(house, "Observation/obs-lab-enc-3/$meta").await.refused(404, "not_found");
    let person = json!({"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": {"resourceType": "Patient", "name": [{"family": "Outhwaite"}]}}]});
    for (method, target) in [
        ("GET", "Observation/$meta"),
        ("GET", "$meta"),
        ("POST", "Patient/$match"),
        ("GET", "$export"),
        ("GET", "Patient/$export"),
        ("GET", "Group/grp-1/$export"),
        ("GET", "Patient/pat-in/$graphql?query={id}"),
    ] {
        let mut asked = patient.ask(house, method, target).field("prefer", "respond-async");
        if method == "POST" {
            asked = asked.json(&person);
        }
        own(&asked.send().await).is(403).holds("OperationOutcome");
    }
}

/// OPS-40 … OPS-44.
async fn binaries(house: &House<'_>, patient: &Patient) {
    patient.ask(house, "GET", "Binary/bin-in").field("accept", "application/fhir+json").send().await.is(200);
    let raw = patient.ask(house, "GET", "Binary/bin-in").field("accept", "text/plain").send().await;
    raw.one_of(&[200, 406]);
    if raw.status == 200 {
        raw.holds("Discharge note of pat-in");
    }
    for id in ["Binary/bin-out", "Binary/bin-free"] {
        let answer = patient.ask(house, "GET", id).field("accept", "text/plain").send().await;
        answer.is(404).lacks("Discharge note").lacks("belongs to nobody");
    }
    own(&patient.get(house, "Binary?_id=bin-out").await).one_of(&[200, 400, 403]).lacks("RGlzY2hhcmdl");
}

/// A user who is a patient reaches that patient's compartment with user/ scopes.
async fn user_who_is_a_patient(house: &House<'_>) {
    let token = house.logins.jwt("patient-in", "openid fhirUser user/*.rs");
    let ask = |target: &str| house.client.ask("GET", target).bearer(&token).with("user/ of pat-in");
    ask("Patient/pat-in").send().await.is(200);
    ask("Patient/pat-out").send().await.refused(404, "not_found");
    ask("Observation/obs-lab-enc-3").send().await.refused(404, "not_found");
    let all = ask("Condition?_count=100").send().await;
    own(&all).is(200).only(&["Condition"]);
    empty(&ask("Condition?patient=pat-out").send().await);
    // No launch patient, no patient/ scope.
    let nobody = house.logins.jwt("nobody", SCOPE);
    let answer = house.client.ask("GET", "Patient/pat-in").bearer(&nobody).send().await;
    answer.refused(403, "no_launch_patient");
    house.client.read("Condition", &nobody).await.refused(403, "no_launch_patient");
}

/// `shared_types`, `linked_patients` and `unmatched`, which are off elsewhere.
async fn shared(house: &mut House<'_>) {
    house.change(Change {
        tables: "[patient]\nshared_types = [\"Practitioner\", \"Organization\", \"Location\", \"Medication\"]\n\
                 linked_patients = true\nunmatched = \"forbidden\"",
        ..Change::NONE
    });
    let patient = Patient::of(house);
    for (target, text) in [
        ("Practitioner/prac-2", "Quist"),
        ("Practitioner?_count=10", "Prantl"),
        ("Organization?name=Northgate", "Northgate"),
        ("Location", "Ward 7"),
        ("Medication/med-1", "Amlodipine"),
        ("Encounter?_id=enc-1&_include=Encounter:participant", "Prantl"),
        ("MedicationRequest?_include=MedicationRequest:medication", "Amlodipine"),
        ("Observation?performer:Practitioner.family=Prantl&_count=100", "obs-lab-enc-1"),
    ] {
        let answer = patient.get(house, target).await;
        own(&answer).is(200).holds(text);
    }
    // Shown is who names the launch patient in a link. `pat-in` names `pat-4`, which does not name it.
    let linked = format!("Patient/linked-{}", std::process::id());
    let record = json!({"resourceType": "Patient", "id": linked.split_once('/').map(|(_, id)| id),
        "name": [{"family": "Inwood-Earlier"}],
        "link": [{"other": {"reference": "Patient/pat-in"}, "type": "replaces"}]});
    house.stack.hapi("PUT", &linked, Some(&record)).await;
    let theirs = json!({"resourceType": "Observation", "id": linked.replace('/', "-"), "status": "final",
        "code": {"text": "x"}, "subject": {"reference": linked}});
    let observation = format!("Observation/{}", linked.replace('/', "-"));
    house.stack.hapi("PUT", &observation, Some(&theirs)).await;
    patient.get(house, &linked).await.is(200).holds("Inwood-Earlier");
    patient.get(house, "Patient?_count=50").await.is(200).holds("Inwood-Earlier").holds("\"pat-in\"");
    patient.get(house, &observation).await.refused(403, "not_reached");
    house.stack.hapi("DELETE", &observation, None).await;
    let unknown = patient.get(house, "Observation/obs-no-such").await;
    let expected = shape(unknown.refused(403, "not_reached"));
    for id in ["Patient/pat-4", "Patient/pat-out", "Observation/obs-lab-enc-3", "Observation/obs-lab-enc-6"] {
        same(&patient.get(house, id).await, &expected);
    }
    house.change(Change::NONE);
    patient.get(house, &linked).await.refused(404, "not_found");
    house.stack.hapi("DELETE", &linked, None).await;
}
