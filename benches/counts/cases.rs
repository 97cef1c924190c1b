//! What is counted. A name says what is done once; where that is short, it is done a hundred times, so that what
//! allocation does at times is spread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use pforte::audit::Entry;
use pforte::config::{Settings, Source, Surroundings};
use pforte::fhir::links::{Mapping, Rewriter, is_uri};
use pforte::fhir::{Format, Kind};
use pforte::gateway::{Passage, Question, Route, Step};
use pforte::policy::{Facts, SealKey};
use pforte::release::{self, Answer, Credentials};
use pforte::token::{Caller, ClaimNames, Grant, Presented, Reading};

use crate::server::{Server, Signer};
use crate::{bodies, counted};

const TIMES: usize = 100;

/// What a backend's answers come in.
const CHUNK: usize = 16 << 10;

const READ: &str = "/fhir/Patient/p1";
const SEARCH: &str = "/fhir/Observation?category=laboratory&code=718-7&_count=20";

/// The cases by name.
pub const CASES: [(&str, fn()); 15] = [
    ("decide-read", || decide(READ, "system/*.rs")),
    ("decide-read-patient", || decide(READ, "patient/*.rs")),
    ("decide-read-thousand-scopes", || decide(READ, &many_scopes())),
    ("decide-search", || decide(SEARCH, "system/*.rs")),
    ("decide-search-patient", || decide(SEARCH, "patient/Observation.rs")),
    ("check-read-patient", check_read),
    ("check-searchset-json-type", || check("system/Observation.rs", Format::Json)),
    ("check-searchset-json-patient", || check("patient/Observation.rs", Format::Json)),
    ("check-searchset-json-category", || check("system/Observation.rs?category=laboratory", Format::Json)),
    ("check-searchset-xml-patient", || check("patient/Observation.rs", Format::Xml)),
    ("stream-read-json", || stream(Format::Json, &bodies::patient())),
    ("stream-searchset-json", || stream(Format::Json, &bodies::searchset(Format::Json))),
    ("stream-searchset-xml", || stream(Format::Xml, &bodies::searchset(Format::Xml))),
    ("token-seen", token_seen),
    ("event-kept", event_kept),
];

fn route() -> Route {
    let text = "[server]\npublic_url = \"https://gw.test/fhir\"\ninsecure_http = true\n[backend]\nurl = \"http://127.0.0.1:1/fhir\"\ncompartment_search = true\n[[authorization_server]]\nissuer = \"https://as.test\"\n";
    let surroundings = Surroundings::new(".", Timestamp::UNIX_EPOCH);
    let (settings, _) = Settings::check(&Source::new("counts", text), &surroundings).expect("settings");
    let key = Arc::new(SealKey::new(&[7; 32]).expect("a key"));
    Route::new(settings.rules, key, Credentials::Gateway).expect("a route")
}

fn caller(route: &Route, scope: &str) -> Caller {
    let claims = serde_json::json!({"scope": scope, "client_id": "counts", "sub": "counts", "patient": "p1"});
    let reading = Reading { scopes: route.rules().scopes, base: route.rules().public_base.clone() };
    let claims = claims.as_object().expect("claims").clone();
    Caller::Holder(Grant::from_claims(&claims, &ClaimNames::default(), &reading).expect("a grant"))
}

/// A thousand scopes, of which one covers Patient.
fn many_scopes() -> String {
    let narrow = (0..999).map(|number| format!("system/Observation.rs?code=x{number}"));
    narrow.chain(["system/Patient.rs".to_owned()]).collect::<Vec<_>>().join(" ")
}

fn passage(route: &Route, caller: &Caller, target: &str, headers: &HeaderMap) -> Passage {
    let question = route.ask(&Method::GET, target, headers).expect("readable");
    route.before_body(&question, caller).expect("permitted");
    let Question::Fhir(asked) = question else { panic!("a FHIR interaction") };
    let request = route.read(*asked, Bytes::new()).expect("readable");
    match route.pass(&request, caller, &Facts::default()).expect("permitted") {
        Step::Pass(passage) => *passage,
        Step::Ask(questions) => panic!("no questions, not {questions:?}"),
    }
}

/// From the head to what leaves.
fn decide(target: &str, scope: &str) {
    let route = route();
    let caller = caller(&route, scope);
    let headers = headers(Format::Json);
    passage(&route, &caller, target, &headers);
    counted(|| {
        for _ in 0..TIMES {
            std::hint::black_box(passage(&route, &caller, target, &headers));
        }
    });
}

fn headers(format: Format) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("accept", media(format));
    headers
}

fn media(format: Format) -> HeaderValue {
    HeaderValue::from_static(match format {
        Format::Json => "application/fhir+json",
        Format::Xml => "application/fhir+xml",
    })
}

fn answer(format: Format, body: &Bytes) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", media(format));
    Answer { status: StatusCode::OK, headers, body: body.clone() }
}

/// A searchset of 100 KiB, held against a grant, cut and written.
fn check(scope: &str, format: Format) {
    let route = route();
    let caller = caller(&route, scope);
    let passage = passage(&route, &caller, "/fhir/Observation", &headers(format));
    let terms = route.terms(&passage, Timestamp::UNIX_EPOCH);
    let body = bodies::searchset(format);
    let work = || release::check(answer(format, &body), &passage.duties, &terms).expect("released");
    work();
    counted(work);
}

/// A Patient, held against the compartment.
fn check_read() {
    let route = route();
    let caller = caller(&route, "patient/*.rs");
    let passage = passage(&route, &caller, READ, &headers(Format::Json));
    let terms = route.terms(&passage, Timestamp::UNIX_EPOCH);
    let body = bodies::patient();
    let work = || release::check(answer(Format::Json, &body), &passage.duties, &terms).expect("released");
    work();
    counted(|| {
        for _ in 0..TIMES {
            std::hint::black_box(work());
        }
    });
}

/// A body handed on chunk by chunk: URLs rewritten, patients noted.
fn stream(format: Format, body: &Bytes) {
    let mapping =
        Arc::new(Mapping::new(&["http://127.0.0.1:1/fhir"], "https://gw.test/fhir").expect("a base"));
    let work = || {
        let mut rewriter = Rewriter::new(format, Arc::clone(&mapping), is_uri);
        let (mut length, mut patients) = (0, 0);
        for from in (0..body.len()).step_by(CHUNK) {
            let chunk = body.slice(from..body.len().min(from + CHUNK));
            rewriter.push(chunk, &mut |bytes| length += std::hint::black_box(bytes).len()).expect("sound");
            patients += rewriter.patients().take().len();
        }
        rewriter.finish().expect("whole");
        assert!(length > 0 && patients > 0, "handed on, and somebody named");
    };
    work();
    counted(|| {
        for _ in 0..if body.len() > CHUNK { 1 } else { TIMES } {
            work();
        }
    });
}

/// A token that was verified before.
fn token_seen() {
    let signer = Signer::new(Algorithm::ES256);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let issuers = runtime.block_on(async {
        let server = Server::start(&[&signer]).await;
        let issuers = server.issuers(server.signed());
        issuers.refresh().await;
        issuers
    });
    let issuer = issuers.status().first().map(|status| status.issuer.clone()).expect("an issuer");
    let token = signer.token(&issuer, 1, None);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).expect("a value"));
    let now = crate::now();
    let work = || {
        let presented = Presented::from_request(&headers, false).expect("a credential");
        at_once(issuers.verify(&presented, now)).expect("a good token")
    };
    work();
    counted(|| {
        for _ in 0..TIMES {
            std::hint::black_box(work());
        }
    });
}

/// An event as it is kept.
fn event_kept() {
    let observer = "https://gw.test/fhir".into();
    counted(|| {
        for _ in 0..TIMES {
            let now = (Timestamp::UNIX_EPOCH, "192.0.2.7");
            let mut entry = Entry::open(&observer, "01J0000000000000000000", now, ("GET", "Patient/p1"));
            entry.interaction = Kind::Read.into();
            (entry.id, entry.about) = (Some("p1".to_owned()), Some("p1".to_owned()));
            (entry.client, entry.subject) = (Some("counts".to_owned()), Some("counts".to_owned()));
            entry.answered(200);
            std::hint::black_box(entry.kept());
        }
    });
}

/// What nothing has to be waited for is done in one go, without a runtime.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
