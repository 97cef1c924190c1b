//! A backend that ignores every search parameter and answers with everybody's records: the worst a lenient server does.
//! Under a grant for one patient nothing of anybody else's comes out, and nothing of anybody else's is changed.

use pforte::demo::authorization::Claims;
use pforte::demo::fhir_server::{Misbehaviour, PATIENTS, patient_id};
use serde_json::{Value, json};

use crate::house::{House, Plan};
use crate::support::{Answer, Ask};

const FORM: &str = "application/x-www-form-urlencoded";
const XML: &str = "application/fhir+xml";
const PATCH: &str = "application/json-patch+json";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Pages that are followed; a page of a backend like this one has little in it, so there are many.
const PAGES: usize = 4;

/// Without and with compartment searches, which such a backend does not understand either.
const PLANS: [Plan; 2] = [
    Plan { backend: "compartment_search = false", issuer: "", tables: "", secrets: &[] },
    Plan { backend: "compartment_search = true", issuer: "", tables: "", secrets: &[] },
];

/// A gateway in front of a backend that ignores what is asked, and the grants of its first patient.
struct Deaf {
    house: House,
    grants: Vec<(&'static str, String)>,
}

impl Deaf {
    async fn open(plan: Plan) -> Self {
        let house = House::open(plan).await;
        house.demo.fhir.misbehave(Misbehaviour::IgnoreParameters);
        // The ward is in the compartment of each of its patients, and names the others.
        house.demo.fhir.remove("Group/ward-7");
        let launched = |scope: &str| house.claiming(Claims::new(scope).with("patient", "pat-01"));
        let narrow = format!(
            "patient/Observation.cruds?category={CATEGORY}|laboratory patient/Condition.cruds?clinical-status=active \
             patient/Patient.rs patient/Encounter.rs?status=finished"
        );
        let user = Claims::new("user/*.cruds").with("fhirUser", "Patient/pat-01");
        let grants = vec![
            ("patient/*.cruds", launched("patient/*.cruds")),
            ("granular", launched(&narrow)),
            ("user/ of a patient", house.claiming(user)),
        ];
        Self { house, grants }
    }

    fn ask(&self, method: &str, target: &str, (words, token): &(&'static str, String)) -> Ask {
        self.house.client.ask(method, target).bearer(token).with(words)
    }
}

/// Nothing of patients 2 to 24 is in it, links aside, which repeat what the client asked.
fn own(answer: &Answer) -> &Answer {
    const KINDS: [&str; 11] = ["pat", "all", "bin", "cond", "doc", "enc", "imm", "mr", "obs", "proc", "rep"];
    let text = unlinked(answer);
    for number in 2..=PATIENTS {
        let foreign = KINDS.iter().map(|kind| format!("{kind}-{number:02}"));
        if let Some(foreign) = foreign.into_iter().find(|foreign| text.contains(foreign)) {
            answer.wrong(&format!("nothing with `{foreign}` in it"));
            return answer;
        }
    }
    answer
}

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

/// What is asked of a backend that hears only the type.
const SEARCHES: [&str; 39] = [
    "Patient",
    "Patient?_id=pat-02",
    "Patient?family=Hansen",
    "Condition",
    "Condition?patient=pat-02",
    "Condition?patient=pat-01&_include=Condition:subject",
    "Condition?subject=Patient/pat-02&_count=500",
    "Encounter?_count=3",
    "Encounter?status=in-progress",
    "Observation",
    "Observation?category=laboratory&_count=100",
    "Observation?_sort=-date&_count=50",
    "Observation?subject=Patient/pat-02",
    "Observation?_id=obs-02-1",
    "Observation?_include=*&_revinclude=*",
    "Patient?_revinclude=Observation:subject&_revinclude=Condition:subject",
    "Encounter?_revinclude:iterate=Observation:encounter",
    "Encounter?patient.identifier=https://pforte.example/sid/mrn|004737",
    "Observation?encounter.status=finished",
    "Patient?_has:Observation:subject:code=8867-4",
    "Observation?_text=Hansen",
    "Observation?_filter=patient eq pat-02",
    "Observation?_list=list-1",
    "Observation?no-such=1",
    "Observation?_summary=count",
    "Observation?_count=0",
    "Condition?_elements=code",
    "Condition?_summary=text",
    "Condition?_total=accurate",
    "Patient/pat-01/Observation",
    "Patient/pat-02/Observation",
    "Patient/pat-01/*",
    "Encounter/enc-02-1/Observation",
    "Observation/_history?_count=500",
    "Patient/_history?_count=500",
    "_history",
    "?_type=Observation,Condition",
    "DocumentReference?patient=pat-02",
    "Binary",
];

/// Searches, in both formats, by both methods, page by page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_show_nothing_of_others() {
    let deaf = Deaf::open(PLANS[0]).await;
    for (grant, target) in deaf.grants.iter().take(2).flat_map(|grant| SEARCHES.map(|target| (grant, target)))
    {
        pages(&deaf, grant, target).await;
        own(&deaf.ask("GET", target, grant).field("accept", XML).send().await);
        if let Some((path, query)) = target.split_once('?')
            && !path.is_empty()
        {
            let asked = deaf.ask("POST", &format!("{path}/_search"), grant);
            own(&asked.body(FORM, query).with(target).send().await);
        }
    }
    deaf.house.close();
}

/// The same with compartment searches, and for a user who is the patient.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compartment_searches_show_nothing_of_others() {
    let deaf = Deaf::open(PLANS[1]).await;
    for target in SEARCHES {
        pages(&deaf, &deaf.grants[2], target).await;
    }
    deaf.house.close();
}

/// What a page says, and the pages behind it.
async fn pages(deaf: &Deaf, grant: &(&'static str, String), target: &str) {
    let mut next = target.to_owned();
    for _ in 0..PAGES {
        let answer = deaf.ask("GET", &next, grant).with(target).send().await;
        own(&answer).lacks("_getpages").one_of(&[200, 400, 403, 404]);
        if answer.status != 200 {
            return;
        }
        let body = answer.json();
        // SRCH-16: what the backend counted is everybody's.
        if body["total"].as_u64().is_some_and(|total| total > 100) {
            answer.wrong("no total of everybody's records");
        }
        let link = body["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "next");
        let Some(url) = link.and_then(|link| link["url"].as_str()) else { return };
        next = url.to_owned();
    }
}

/// The launch patient's own are still found among all the others'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_is_found() {
    let deaf = Deaf::open(PLANS[0]).await;
    let (all, granular) = (&deaf.grants[0], &deaf.grants[1]);
    for (target, grant, id) in [
        ("Patient?_count=500", all, "pat-01"),
        ("Condition?_count=500", all, "cond-01-1"),
        ("Encounter?_count=500", all, "enc-01-2"),
        ("Observation?_count=500", all, "obs-01-4"),
        ("Observation?_count=500", granular, "obs-01-4"),
    ] {
        let answer = deaf.ask("GET", target, grant).send().await;
        own(&answer).is(200).holds(&format!("\"{id}\""));
    }
    let answer = deaf.ask("GET", "Observation?_count=500", granular).send().await;
    // A heart rate is no laboratory result.
    own(&answer).is(200).lacks("\"obs-01-1\"");
    deaf.house.close();
}

/// Reads, histories and operations, whatever comes back for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_operations_show_nothing_of_others() {
    let deaf = Deaf::open(PLANS[0]).await;
    for grant in &deaf.grants {
        for target in [
            "Patient/pat-02",
            "Observation/obs-02-4",
            "Observation/obs-02-4/_history",
            "Observation/obs-02-4/_history/1",
            "Condition/cond-02-1",
            "Encounter/enc-02-1",
            "Binary/bin-02",
            "DocumentReference/doc-02",
        ] {
            own(&deaf.ask("GET", target, grant).send().await).one_of(&[403, 404]);
            own(&deaf.ask("GET", target, grant).field("accept", XML).send().await).one_of(&[403, 404]);
            let asked = deaf.ask("GET", target, grant).field("if-none-match", "W/\"1\"");
            asked.send().await.one_of(&[403, 404]);
        }
        for target in [
            "Patient/pat-01/$everything",
            "Patient/pat-02/$everything",
            "Encounter/enc-01-1/$everything",
            "Encounter/enc-02-1/$everything",
            "Patient/$everything",
            "Observation/$lastn",
            "Observation/$lastn?patient=pat-01",
            "Observation/$lastn?patient=pat-02",
            "DocumentReference/$docref?patient=pat-01",
            "DocumentReference/$docref?patient=pat-02",
            "Composition/comp-1/$document",
            "Patient/pat-02/$meta",
            "Observation/$meta",
            "Binary/bin-01",
        ] {
            let answer = deaf.ask("GET", target, grant).send().await;
            own(&answer).one_of(&[200, 403, 404]);
            own(&deaf.ask("GET", target, grant).field("accept", XML).send().await);
        }
        let entries: Vec<Value> =
            ["Observation/obs-02-4", "Observation", "Condition?patient=pat-02", "Patient/pat-01"]
                .iter()
                .map(|url| json!({"request": {"method": "GET", "url": url}}))
                .collect();
        for kind in ["batch", "transaction"] {
            let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
            own(&deaf.ask("POST", "", grant).json(&bundle).with(kind).send().await);
        }
    }
    deaf.house.close();
}

/// An Observation about somebody, with an identifier that one of `pat-02` has as well.
fn observation(subject: &str, text: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": "test"}, "valueString": text,
        "category": [{"coding": [{"system": CATEGORY, "code": "laboratory"}]}],
        "subject": {"reference": subject}, "identifier": [{"system": "urn:ignoring", "value": "1"}]})
}

/// Conditional writes find everybody's at such a backend: they end at the patient's own or nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_change_nothing_of_others() {
    for trouble in [Misbehaviour::IgnoreParameters, Misbehaviour::IgnoreConditions] {
        let deaf = Deaf::open(PLANS[0]).await;
        let fhir = &deaf.house.demo.fhir;
        fhir.misbehave(trouble.clone());
        let mut theirs = observation("Patient/pat-02", "stored");
        theirs["id"] = json!("obs-02-9");
        fhir.put(theirs).expect("an Observation");
        let before = others(&deaf);
        let person = fhir.stored("Patient/pat-01");
        for grant in &deaf.grants {
            for criteria in [
                "identifier=urn:ignoring|1",
                "_id=obs-02-4",
                "patient=pat-02",
                "subject=Patient/pat-02&category=laboratory",
                "code=8867-4",
                "no-such=1",
            ] {
                conditional_writes(&deaf, grant, criteria).await;
            }
            for method in ["PUT", "DELETE"] {
                let mut taken = observation("Patient/pat-01", "overwritten");
                taken["id"] = json!("obs-02-4");
                let asked = deaf.ask(method, "Observation/obs-02-4", grant);
                let asked = if method == "PUT" { asked.json(&taken) } else { asked };
                own(&asked.send().await).one_of(&[403, 404]);
            }
        }
        for criteria in ["_id=pat-02", "family=Hansen", "identifier=https://pforte.example/sid/mrn|004737"] {
            // There is one Patient in reach, and it is not the one that is asked for.
            let target = format!("Patient?{criteria}");
            let change = json!([{"op": "replace", "path": "/gender", "value": "unknown"}]).to_string();
            own(&deaf.ask("PATCH", &target, &deaf.grants[0]).body(PATCH, change).send().await);
            own(&deaf.ask("DELETE", &target, &deaf.grants[0]).send().await);
        }
        deaf.house.findings.check(
            fhir.stored("Patient/pat-01") == person,
            format!("{trouble:?}: Patient/pat-01 was changed by criteria for another"),
        );
        let after = others(&deaf);
        let changed: Vec<_> = before.iter().filter(|it| !after.contains(it)).map(|(id, _)| id).collect();
        deaf.house.findings.check(changed.is_empty(), format!("{trouble:?}: {changed:?} were changed"));
        deaf.house.close();
    }
}

/// Every conditional write with these criteria, alone and in a Bundle.
async fn conditional_writes(deaf: &Deaf, grant: &(&'static str, String), criteria: &str) {
    let target = format!("Observation?{criteria}");
    let mine = observation("Patient/pat-01", "overwritten");
    let mut named = mine.clone();
    named["id"] = json!("obs-02-4");
    let change = json!([{"op": "replace", "path": "/valueString", "value": "overwritten"}]);
    let taken = json!([{"op": "replace", "path": "/subject", "value": {"reference": "Patient/pat-01"}}]);
    let asked = [
        deaf.ask("PUT", &target, grant).json(&mine),
        deaf.ask("PUT", &target, grant).json(&named),
        deaf.ask("PUT", &target, grant).json(&observation("Patient/pat-02", "overwritten")),
        deaf.ask("PATCH", &target, grant).body(PATCH, change.to_string()),
        deaf.ask("PATCH", &target, grant).body(PATCH, taken.to_string()),
        deaf.ask("DELETE", &target, grant),
        deaf.ask("POST", "Observation", grant).json(&mine).field("if-none-exist", criteria),
    ];
    for asked in asked {
        own(&asked.with(criteria).send().await);
    }
    let post = json!({"method": "POST", "url": "Observation", "ifNoneExist": criteria});
    for entry in [
        json!({"request": {"method": "DELETE", "url": target}}),
        json!({"request": {"method": "PUT", "url": target}, "resource": mine}),
        json!({"request": post, "resource": mine}),
    ] {
        for kind in ["batch", "transaction"] {
            let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
            own(&deaf.ask("POST", "", grant).json(&bundle).with(criteria).send().await);
        }
    }
}

/// What the other patients' records are, read without a request.
fn others(deaf: &Deaf) -> Vec<(String, Option<Value>)> {
    let of = |number: usize| {
        let observations = [1, 2, 3, 4, 5, 6, 9]
            .into_iter()
            .map(move |which| format!("Observation/obs-{number:02}-{which}"));
        let rest = [format!("Patient/{}", patient_id(number)), format!("Condition/cond-{number:02}-1")];
        observations.chain(rest)
    };
    let stored = |id: String| {
        let content = deaf.house.demo.fhir.stored(&id);
        (id, content)
    };
    (2..=PATIENTS).flat_map(of).map(stored).collect()
}
