//! What the fuzz targets share: a gateway before a backend, a caller with scopes, and the way of an answer through it.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pforte::fhir::links::Rewriter;
use pforte::fhir::{FhirVersion, Format, OperationTable, Target};
use pforte::gateway::{Passage, Question, Route, Step, is_uri};
use pforte::policy::{
    CompartmentSearch, EncounterContext, Facts, LinkedPatients, Malformed, PatientRules, Rules, SealKey,
    Unmatched, UpdateCreates,
};
use pforte::release::{self, Answer, Credentials, Opening};
use pforte::scope::Reader;
use pforte::token::{Caller, ClaimNames, Grant, Reading};
use serde_json::json;

/// The public base.
pub const PUBLIC: &str = "https://gw.test/fhir";
/// The backend's base. None of its bytes may reach a client.
pub const BACKEND: &str = "http://upstream.internal/fhir";

/// A gateway, as `gateway.toml` makes it when it says nothing.
pub static ROUTE: LazyLock<Route> = LazyLock::new(|| {
    let rules = Rules {
        scopes: READER,
        malformed: Malformed::Ignore,
        patient: PatientRules {
            encounter: EncounterContext::Hint,
            shared_types: Vec::new(),
            update_creates: UpdateCreates::No,
            unmatched: Unmatched::NotFound,
            linked: LinkedPatients::Hidden,
        },
        limits: Vec::new(),
        operations: OperationTable::delivered(),
        public_base: PUBLIC.into(),
        backend_base: BACKEND.into(),
        bundle_entries: 100,
        compartment_search: CompartmentSearch::Off,
    };
    let key = Arc::new(SealKey::new(&[7; 32]).unwrap());
    Route::new(rules, key, Credentials::Gateway).unwrap()
});

/// How scopes are read.
pub const READER: Reader = Reader { version: FhirVersion::R4, v1: true };

/// Whoever has a token with these scopes and the launch patient p1.
pub fn caller(scope: &str) -> Caller {
    let reading = Reading { scopes: READER, base: PUBLIC.into() };
    let claims = json!({"scope": scope, "client_id": "app", "sub": "alice", "iss": "https://as.test", "patient": "p1"});
    let claims = claims.as_object().unwrap().clone();
    Caller::Holder(Grant::from_claims(&claims, &ClaimNames::default(), &reading).unwrap())
}

/// Splits the input at its first newline: a line of text, and the rest.
pub fn line(data: &[u8]) -> Option<(&str, &[u8])> {
    let at = data.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&data[..at]).ok()?, &data[at + 1..]))
}

/// Header fields of a request or an answer in a format.
pub fn fields(format: Format) -> HeaderMap {
    let media = HeaderValue::from_static(format.media_type());
    HeaderMap::from_iter([(CONTENT_TYPE, media.clone()), (ACCEPT, media)])
}

/// What leaves for a request whose decision needs nothing of the backend.
pub fn passed(
    method: &Method,
    target: &str,
    (format, body): (Format, &[u8]),
    caller: &Caller,
) -> Option<Passage> {
    let route = &*ROUTE;
    let target = Target::relative(target).ok()?;
    let question = route.ask_target(method, target, &fields(format)).ok()?;
    let _ = route.before_body(&question, caller);
    match question {
        Question::Link { .. } => None,
        Question::Fhir(asked) => {
            let request = route.read(*asked, Bytes::copy_from_slice(body)).ok()?;
            match route.pass(&request, caller, &Facts::default()).ok()? {
                Step::Pass(passage) => Some(*passage),
                Step::Ask(_) => None,
            }
        }
    }
}

/// What a client gets of an answer: its bytes, and whether they were held and checked. `None` is withheld.
pub fn shown(passage: &Passage, format: Format, body: &[u8]) -> Option<(Vec<u8>, bool)> {
    let route = &*ROUTE;
    let now = jiff_now();
    let terms = route.terms(passage, now);
    let mut headers = fields(format);
    headers.insert(LOCATION, HeaderValue::from_static("http://upstream.internal/fhir/Observation/1"));
    let body = Bytes::copy_from_slice(body);
    let answer = Answer { status: StatusCode::OK, headers, body };
    match release::open(answer.status, &answer.headers, &passage.duties, &terms).ok()? {
        Opening::Hold => {
            let released = release::check(answer, &passage.duties, &terms).ok()?;
            let (_, _, body) = released.into_parts();
            Some((body.to_vec(), true))
        }
        Opening::Stream { format: Some(format), .. } => {
            let mut out = Vec::new();
            let mut rewriter = Rewriter::new(format, route.mapping().clone(), is_uri);
            rewriter.push(answer.body, &mut |part| out.extend_from_slice(&part)).ok()?;
            rewriter.finish().ok()?;
            Some((out, false))
        }
        Opening::Stream { format: None, .. } => Some((answer.body.to_vec(), false)),
    }
}

fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000).unwrap()
}
