//! The pure path of a request: read, decide, write what leaves; and a checked answer. Run with `cargo bench --bench path`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench whose setting does not hold has nothing to measure"
)]

use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pforte::audit::Entry;
use pforte::config::{Settings, Source, Surroundings};
use pforte::gateway::{Passage, Question, Route, Step};
use pforte::policy::{Facts, SealKey};
use pforte::release::{self, Answer, Credentials};
use pforte::token::{Caller, ClaimNames, Grant, Reading};

/// Prints what is allocated beside what it takes.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

fn route() -> Route {
    let text = "[server]\npublic_url = \"https://gw.test/fhir\"\ninsecure_http = true\n[backend]\nurl = \"http://127.0.0.1:1/fhir\"\n[[authorization_server]]\nissuer = \"https://as.test\"\n";
    let surroundings = Surroundings::new(".", jiff::Timestamp::UNIX_EPOCH);
    let (settings, _) = Settings::check(&Source::new("bench", text), &surroundings).expect("settings");
    Route::new(settings.rules, Arc::new(SealKey::new(&[7; 32]).expect("a key")), Credentials::Gateway)
        .expect("a route")
}

fn caller(route: &Route, scope: &str) -> Caller {
    let claims = serde_json::json!({"scope": scope, "client_id": "bench", "sub": "bench"});
    let reading = Reading { scopes: route.rules().scopes, base: route.rules().public_base.clone() };
    let claims = claims.as_object().expect("claims").clone();
    Caller::Holder(Grant::from_claims(&claims, &ClaimNames::default(), &reading).expect("a grant"))
}

const TARGETS: [&str; 3] = [
    "/fhir/Patient/pat-01",
    "/fhir/Observation?patient=pat-01&category=laboratory&_count=20",
    "/fhir/Observation?patient.name=x&_include=Observation:encounter&_sort=-date",
];

/// From the head to what leaves, with a grant for everything.
#[divan::bench(args = TARGETS)]
fn decide_for_everything(bencher: Bencher<'_, '_>, target: &str) {
    let route = route();
    let caller = caller(&route, "system/*.rs");
    decide(bencher, &route, &caller, target);
}

/// From the head to what leaves, with ten scopes.
#[divan::bench(args = TARGETS)]
fn decide_for_ten_scopes(bencher: Bencher<'_, '_>, target: &str) {
    let types =
        ["Observation", "Patient", "Condition", "Encounter", "Procedure", "Group", "List", "Location"];
    let scopes: Vec<_> = types.iter().map(|name| format!("system/{name}.rs")).collect();
    let route = route();
    let caller = caller(&route, &format!("openid fhirUser {}", scopes.join(" ")));
    decide(bencher, &route, &caller, target);
}

/// The same with thousands of scopes of other types, which must cost nothing: a read, and a search.
#[divan::bench(args = [10, 1000, 10_000])]
fn decide_for_many_scopes(bencher: Bencher<'_, '_>, scopes: usize) {
    let of_others = (0..scopes).map(|number| format!("system/Condition.rs?code=http://x.test|{number}"));
    let route = route();
    let caller = caller(&route, &format!("system/Patient.rs {}", of_others.collect::<Vec<_>>().join(" ")));
    decide(bencher, &route, &caller, TARGETS[0]);
}

/// What is written down of a read, as it is kept.
#[divan::bench]
fn keep_an_entry(bencher: Bencher<'_, '_>) {
    let peer = (jiff::Timestamp::UNIX_EPOCH, "192.0.2.7");
    let mut entry =
        Entry::open(&"https://gw.test/fhir".into(), &"f".repeat(32), peer, ("GET", "Patient/pat-01"));
    entry.client = Some("client-1".to_owned());
    entry.subject = Some("8d4f5a6e-1111-4222-8333-944455556666".to_owned());
    entry.issuer = Some("https://idp.example.org/realms/hospital".to_owned());
    entry.about = Some("pat-01".to_owned());
    entry.answered(200);
    bencher.bench(|| entry.kept());
}

fn decide(bencher: Bencher<'_, '_>, route: &Route, caller: &Caller, target: &str) {
    let headers = HeaderMap::new();
    bencher.bench(|| passage(route, caller, route.ask(&Method::GET, target, &headers).expect("readable")));
}

fn passage(route: &Route, caller: &Caller, question: Question) -> Passage {
    let Question::Fhir(asked) = question else { panic!("a FHIR interaction") };
    let request = route.read(*asked, Bytes::new()).expect("readable");
    match route.pass(&request, caller, &Facts::default()).expect("permitted") {
        Step::Pass(passage) => *passage,
        Step::Ask(questions) => panic!("no questions, not {questions:?}"),
    }
}

/// A searchset held against a type-limited grant: read, cut, rewritten.
#[divan::bench(args = [100, 10_240])]
fn check_searchset(bencher: Bencher<'_, '_>, kib: usize) {
    let route = route();
    let caller = caller(&route, "system/Observation.rs");
    let question = route.ask(&Method::GET, "/fhir/Observation", &HeaderMap::new()).expect("readable");
    let passage = passage(&route, &caller, question);
    let body = searchset(kib * 1024);
    let terms = route.terms(&passage, jiff::Timestamp::UNIX_EPOCH);
    bencher.counter(divan::counter::BytesCount::new(body.len())).bench(|| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/fhir+json"));
        let answer = Answer { status: StatusCode::OK, headers, body: body.clone() };
        release::check(answer, &passage.duties, &terms).expect("released")
    });
}

fn searchset(bytes: usize) -> Bytes {
    let mut entries = Vec::new();
    let mut length = 0;
    while length < bytes {
        let id = entries.len();
        let entry = format!(
            r#"{{"fullUrl":"http://127.0.0.1:1/fhir/Observation/{id}","resource":{{"resourceType":"Observation","id":"{id}","status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}}]}},"subject":{{"reference":"Patient/pat-01"}},"encounter":{{"reference":"http://127.0.0.1:1/fhir/Encounter/enc-1"}},"effectiveDateTime":"2024-05-01T10:00:00Z","valueQuantity":{{"value":13.7,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}}}},"search":{{"mode":"match"}}}}"#
        );
        length += entry.len() + 1;
        entries.push(entry);
    }
    Bytes::from(format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{}]}}"#, entries.join(",")))
}
