//! How fast a searchset is held against a constrained grant: megabytes a second by grant, format and size, beside a grant
//! by type, and the share of that time that goes into reading. Run with `cargo bench --bench
//! constrained`; `shares` behind it runs the last part only.
//!
//! One entry of ten is outside of the constrained grants, so that cutting is part of it.

#![expect(clippy::expect_used, reason = "a bench whose setting does not hold has nothing to measure")]
#![expect(clippy::print_stdout, reason = "what a bench measures goes to stdout")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pforte::config::{Settings, Source, Surroundings};
use pforte::fhir::Format;
use pforte::fhir::element::Document;
use pforte::fhir::outline::{Limits, Outline};
use pforte::gateway::{Passage, Question, Route, Step};
use pforte::policy::{Facts, SealKey};
use pforte::release::{self, Answer, Credentials};
use pforte::token::{Caller, ClaimNames, Grant, Reading};

const SMALL: usize = 100 << 10;
const LARGE: usize = 10 << 20;
const LIMITS: Limits = Limits { depth: 100, entries: 1_000_000, nesting: 4 };

/// By type; by the launch patient's compartment; by compartment and a parameter; by a parameter.
const GRANTS: [&str; 4] = [
    "system/Observation.rs",
    "patient/Observation.rs",
    "patient/Observation.rs?category=laboratory",
    "system/Observation.rs?category=laboratory",
];

fn main() {
    divan::main();
    // Not when a filter or `--test` asks for something else.
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.iter().all(|word| word == "--bench" || word == "shares") && !asked.is_empty() {
        shares();
    }
}

const JSON: &str = r#"{"fullUrl":"http://127.0.0.1:1/fhir/Observation/NUMBER","resource":{"resourceType":"Observation","id":"NUMBER","meta":{"versionId":"1","lastUpdated":"2024-03-01T10:00:00.000+00:00","profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p><b>Hemoglobin</b>: 13.7 g/dL on <i>1 March 2024</i></p></div>"},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"CATEGORY","display":"Category"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}],"text":"Hemoglobin"},"subject":{"reference":"Patient/PATIENT"},"encounter":{"reference":"http://127.0.0.1:1/fhir/Encounter/e1"},"effectiveDateTime":"2024-03-01T09:58:00+01:00","valueQuantity":{"value":13.7,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}},"search":{"mode":"match"}}"#;

const XML: &str = r#"<entry><fullUrl value="http://127.0.0.1:1/fhir/Observation/NUMBER"/><resource><Observation xmlns="http://hl7.org/fhir"><id value="NUMBER"/><meta><versionId value="1"/><lastUpdated value="2024-03-01T10:00:00.000+00:00"/><profile value="http://hl7.org/fhir/StructureDefinition/vitalsigns"/></meta><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p><b>Hemoglobin</b>: 13.7 g/dL on <i>1 March 2024</i></p></div></text><status value="final"/><category><coding><system value="http://terminology.hl7.org/CodeSystem/observation-category"/><code value="CATEGORY"/><display value="Category"/></coding></category><code><coding><system value="http://loinc.org"/><code value="718-7"/><display value="Hemoglobin"/></coding><text value="Hemoglobin"/></code><subject><reference value="Patient/PATIENT"/></subject><encounter><reference value="http://127.0.0.1:1/fhir/Encounter/e1"/></encounter><effectiveDateTime value="2024-03-01T09:58:00+01:00"/><valueQuantity><value value="13.7"/><unit value="g/dL"/><system value="http://unitsofmeasure.org"/><code value="g/dL"/></valueQuantity></Observation></resource><search><mode value="match"/></search></entry>"#;

/// A searchset of about `size` bytes.
fn page(format: Format, size: usize) -> Bytes {
    let (head, entry, between, tail) = match format {
        Format::Json => (r#"{"resourceType":"Bundle","type":"searchset","entry":["#, JSON, ",", "]}"),
        Format::Xml => {
            (r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>"#, XML, "", "</Bundle>")
        }
    };
    let one = |number: usize| {
        let (patient, category) = if number % 10 == 9 { ("p2", "vital-signs") } else { ("p1", "laboratory") };
        entry.replace("NUMBER", &number.to_string()).replace("PATIENT", patient).replace("CATEGORY", category)
    };
    let entries: Vec<_> = (0..size / entry.len()).map(one).collect();
    format!("{head}{}{tail}", entries.join(between)).into()
}

/// A search on its way under one grant.
struct Asked {
    route: Route,
    passage: Passage,
}

impl Asked {
    /// None when such a grant is refused.
    fn under(scope: &str, format: Format) -> Option<Self> {
        let text = "[server]\npublic_url = \"https://gw.test/fhir\"\ninsecure_http = true\n[backend]\nurl = \"http://127.0.0.1:1/fhir\"\ncompartment_search = true\n[[authorization_server]]\nissuer = \"https://as.test\"\n";
        let surroundings = Surroundings::new(".", jiff::Timestamp::UNIX_EPOCH);
        let (settings, _) = Settings::check(&Source::new("bench", text), &surroundings).expect("settings");
        let key = Arc::new(SealKey::new(&[7; 32]).expect("a key"));
        let route = Route::new(settings.rules, key, Credentials::Gateway).expect("a route");
        let claims =
            serde_json::json!({"scope": scope, "client_id": "bench", "sub": "bench", "patient": "p1"});
        let reading = Reading { scopes: route.rules().scopes, base: route.rules().public_base.clone() };
        let claims = claims.as_object().expect("claims").clone();
        let grant = Grant::from_claims(&claims, &ClaimNames::default(), &reading).expect("a grant");
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static(media(format)));
        let question = route.ask(&Method::GET, "/fhir/Observation", &headers).expect("readable");
        let caller = Caller::Holder(grant);
        let Question::Fhir(asked) = question else { return None };
        let request = route.read(*asked, Bytes::new()).expect("readable");
        match route.pass(&request, &caller, &Facts::default()).ok()? {
            Step::Pass(passage) => Some(Self { route, passage: *passage }),
            Step::Ask(_) => None,
        }
    }

    fn check(&self, page: &Bytes, format: Format) -> release::Released {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media(format)));
        let answer = Answer { status: StatusCode::OK, headers, body: page.clone() };
        let terms = self.route.terms(&self.passage, jiff::Timestamp::UNIX_EPOCH);
        release::check(answer, &self.passage.duties, &terms).expect("released")
    }
}

fn media(format: Format) -> &'static str {
    match format {
        Format::Json => "application/fhir+json",
        Format::Xml => "application/fhir+xml",
    }
}

/// What any check begins with: where everything stands, and what it says.
fn read(page: &Bytes, format: Format) -> usize {
    let outline = Outline::read(black_box(page), format, LIMITS).expect("an outline");
    let document = Document::read(black_box(page), format).expect("a document");
    outline.root.range.end + usize::from(document.root().resource_type().is_some())
}

fn check_of(bencher: Bencher<'_, '_>, scope: &str, (format, size): (Format, usize)) {
    let Some(asked) = Asked::under(scope, format) else { return };
    let page = page(format, size);
    bencher.counter(BytesCount::new(page.len())).bench(|| asked.check(&page, format));
}

fn read_of(bencher: Bencher<'_, '_>, (format, size): (Format, usize)) {
    let page = page(format, size);
    bencher.counter(BytesCount::new(page.len())).bench(|| read(&page, format));
}

#[divan::bench(args = GRANTS, consts = [SMALL, LARGE])]
fn check_json<const SIZE: usize>(bencher: Bencher<'_, '_>, scope: &str) {
    check_of(bencher, scope, (Format::Json, SIZE));
}

#[divan::bench(args = GRANTS, consts = [SMALL, LARGE])]
fn check_xml<const SIZE: usize>(bencher: Bencher<'_, '_>, scope: &str) {
    check_of(bencher, scope, (Format::Xml, SIZE));
}

#[divan::bench(args = [SMALL, LARGE])]
fn read_json(bencher: Bencher<'_, '_>, size: usize) {
    read_of(bencher, (Format::Json, size));
}

#[divan::bench(args = [SMALL, LARGE])]
fn read_xml(bencher: Bencher<'_, '_>, size: usize) {
    read_of(bencher, (Format::Xml, size));
}

/// The median of a few runs.
fn median<T>(mut work: impl FnMut() -> T) -> Duration {
    let mut times: Vec<_> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// One line for each grant: how fast, and how much of the time goes into reading.
fn shares() {
    println!("\nshare of reading (outline and element view) in the whole check\n");
    for format in [Format::Json, Format::Xml] {
        for size in [SMALL, LARGE] {
            let page = page(format, size);
            let reading = median(|| read(&page, format));
            for scope in GRANTS {
                let Some(asked) = Asked::under(scope, format) else {
                    println!("{format:?} {:>6} KiB  refused  {scope}", size >> 10);
                    continue;
                };
                let whole = median(|| asked.check(&page, format));
                let pace = page.len() as f64 / 1e6 / whole.as_secs_f64();
                let share = 100.0 * reading.as_secs_f64() / whole.as_secs_f64();
                let (whole, kib) = (whole.as_secs_f64() * 1e3, size >> 10);
                println!(
                    "{format:?} {kib:>6} KiB  {whole:>8.2} ms  {pace:>6.0} MB/s  {share:>4.0} %  {scope}"
                );
            }
        }
    }
}
