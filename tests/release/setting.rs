//! A gateway in front of a backend, a client with scopes, and answers to its requests.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use pforte::fhir::links::Rewriter;
use pforte::fhir::{FhirVersion, Format, OperationTable, Target};
use pforte::gateway::{Passage, Question, Route, Step, is_uri};
use pforte::policy::{
    CompartmentSearch, EncounterContext, Facts, LinkedPatients, Malformed, PatientRules, Rules, SealKey,
    Unmatched, UpdateCreates,
};
use pforte::reject::Rejection;
use pforte::release::{self, Answer, Credentials, Opening};
use pforte::scope::Reader;
use pforte::token::{Caller, ClaimNames, Grant, Reading};
use serde_json::json;

pub const PUBLIC: &str = "https://gw.test/fhir";
pub const BACKEND: &str = "http://upstream.internal/fhir";
pub const JSON: Format = Format::Json;
pub const XML: Format = Format::Xml;
pub const BOTH: [Format; 2] = [JSON, XML];

pub fn rules(backend: &str) -> Rules {
    Rules {
        scopes: Reader { version: FhirVersion::R4, v1: true },
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
        backend_base: backend.into(),
        bundle_entries: 100,
        compartment_search: CompartmentSearch::Off,
    }
}

pub fn route() -> Route {
    route_with(BACKEND, Credentials::Gateway)
}

pub fn route_with(backend: &str, credentials: Credentials) -> Route {
    Route::new(rules(backend), std::sync::Arc::new(SealKey::new(&[7; 32]).unwrap()), credentials).unwrap()
}

pub fn caller(scope: &str, subject: &str) -> Caller {
    let reading = Reading { scopes: rules(BACKEND).scopes, base: PUBLIC.into() };
    let claims = json!({"scope": scope, "client_id": "app", "sub": subject, "iss": "https://as.test"});
    let claims = claims.as_object().unwrap().clone();
    Caller::Holder(Grant::from_claims(&claims, &ClaimNames::default(), &reading).unwrap())
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub scope: &'a str,
    pub method: &'a str,
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

pub fn get<'a>(scope: &'a str, target: &'a str) -> Ask<'a> {
    Ask { scope, method: "GET", target, headers: &[], body: "" }
}

pub fn post<'a>(scope: &'a str, target: &'a str, body: &'a str) -> Ask<'a> {
    const JSON_BODY: &[(&str, &str)] = &[("content-type", "application/fhir+json")];
    const XML_BODY: &[(&str, &str)] =
        &[("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")];
    let headers = if body.starts_with('<') { XML_BODY } else { JSON_BODY };
    Ask { scope, method: "POST", target, headers, body }
}

pub fn fields(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The request on its way, or the id of its refusal.
pub fn passed(route: &Route, ask: &Ask<'_>) -> Result<Passage, String> {
    passed_as(route, ask, &caller(ask.scope, "alice"))
}

/// What leaves for a question, where nothing has to be asked of the backend first.
pub fn passage(
    route: &Route,
    question: Question,
    body: Bytes,
    caller: &Caller,
) -> Result<Passage, Rejection> {
    match question {
        Question::Link { link, method, wanted } => route.follow(&link, (&method, wanted), caller, now()),
        Question::Fhir(asked) => {
            let request = route.read(*asked, body)?;
            match route.pass(&request, caller, &Facts::default())? {
                Step::Pass(passage) => Ok(*passage),
                Step::Ask(questions) => panic!("asked {questions:?}"),
            }
        }
    }
}

pub fn passed_as(route: &Route, ask: &Ask<'_>, caller: &Caller) -> Result<Passage, String> {
    let method = Method::from_bytes(ask.method.as_bytes()).unwrap();
    let target = Target::relative(ask.target).map_err(|error| error.to_string())?;
    let body = Bytes::copy_from_slice(ask.body.as_bytes());
    route
        .ask_target(&method, target, &fields(ask.headers))
        .and_then(|question| passage(route, question, body, caller))
        .map_err(|rejection| rejection.reason_id().to_owned())
}

/// What reached the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub streamed: bool,
    pub altered: bool,
}

impl Shown {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// The answer of the backend to this request, as the client sees it; or why it is withheld.
pub fn shown(route: &Route, ask: &Ask<'_>, answer: (u16, &[(&str, &str)], &str)) -> Result<Shown, String> {
    let passage = passed(route, ask).unwrap_or_else(|refused| panic!("{ask:?} is refused: {refused}"));
    released(route, &passage, answer)
}

pub fn released(
    route: &Route,
    passage: &Passage,
    (status, headers, body): (u16, &[(&str, &str)], &str),
) -> Result<Shown, String> {
    let status = StatusCode::from_u16(status).unwrap();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let answer = Answer { status, headers: fields(headers), body };
    released_bytes(route, passage, answer).map_err(|withheld| format!("{withheld:?}"))
}

pub fn released_bytes(route: &Route, passage: &Passage, answer: Answer) -> Result<Shown, release::Withheld> {
    let terms = route.terms(passage, now());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match release::open(answer.status, &answer.headers, &passage.duties, &terms)? {
        Opening::Hold => {
            let released = release::check(answer, &passage.duties, &terms)?;
            let altered = released.altered();
            let (status, headers, body) = released.into_parts();
            Ok(Shown { status: status.as_u16(), headers, body: text(&body), streamed: false, altered })
        }
        Opening::Stream { status, headers, format } => {
            let mut body = Vec::new();
            match format {
                None => body.extend_from_slice(&answer.body),
                Some(format) => {
                    let mut rewriter = Rewriter::new(format, route.mapping().clone(), is_uri);
                    let broken =
                        |error: pforte::fhir::links::Broken| release::Withheld::Unreadable(error.to_string());
                    rewriter.push(answer.body, &mut |part| body.extend_from_slice(&part)).map_err(broken)?;
                    rewriter.finish().map_err(broken)?;
                }
            }
            Ok(Shown { status: status.as_u16(), headers, body: text(&body), streamed: true, altered: false })
        }
    }
}

pub fn media(format: Format) -> &'static str {
    format.media_type()
}

/// A 200 with this body, its media type by its first byte.
pub fn ok(body: &str) -> (u16, &'static [(&'static str, &'static str)], &str) {
    (200, content_type(body), body)
}

pub fn content_type(body: &str) -> &'static [(&'static str, &'static str)] {
    if body.trim_start().starts_with('<') {
        &[("content-type", "application/fhir+xml;charset=UTF-8")]
    } else {
        &[("content-type", "application/fhir+json;charset=UTF-8")]
    }
}

/// A resource of a type, with an id, in a format.
pub fn resource(format: Format, name: &str, id: &str) -> String {
    match format {
        Format::Json => format!(r#"{{"resourceType":"{name}","id":"{id}"}}"#),
        Format::Xml => format!(r#"<{name} xmlns="http://hl7.org/fhir"><id value="{id}"/></{name}>"#),
    }
}

/// An OperationOutcome with diagnostics, as a backend writes it.
pub fn outcome(format: Format, diagnostics: &str) -> String {
    match format {
        Format::Json => format!(
            r#"{{"resourceType":"OperationOutcome","text":{{"status":"generated","div":"<div>SECRET</div>"}},"issue":[{{"severity":"warning","code":"processing","diagnostics":"{diagnostics}"}}]}}"#
        ),
        Format::Xml => format!(
            r#"<OperationOutcome xmlns="http://hl7.org/fhir"><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">SECRET</div></text><issue><severity value="warning"/><code value="processing"/><diagnostics value="{diagnostics}"/></issue></OperationOutcome>"#
        ),
    }
}

/// An entry with a resource and a search mode.
pub fn entry(format: Format, resource: &str, mode: &str) -> String {
    match format {
        Format::Json => format!(r#"{{"resource":{resource},"search":{{"mode":"{mode}"}}}}"#),
        Format::Xml => {
            format!(
                r#"<entry><resource>{resource}</resource><search><mode value="{mode}"/></search></entry>"#
            )
        }
    }
}

/// A bundle of a type; `head` is what stands before the entries, in the format.
pub fn bundle(format: Format, kind: &str, head: &str, entries: &[String]) -> String {
    match format {
        Format::Json if entries.is_empty() => format!(r#"{{"resourceType":"Bundle","type":"{kind}"{head}}}"#),
        Format::Json => {
            format!(r#"{{"resourceType":"Bundle","type":"{kind}"{head},"entry":[{}]}}"#, entries.join(","))
        }
        Format::Xml => {
            format!(
                r#"<Bundle xmlns="http://hl7.org/fhir"><type value="{kind}"/>{head}{}</Bundle>"#,
                entries.concat()
            )
        }
    }
}

pub fn total(format: Format, number: u32) -> String {
    match format {
        Format::Json => format!(r#","total":{number}"#),
        Format::Xml => format!(r#"<total value="{number}"/>"#),
    }
}

pub fn link(format: Format, relation: &str, url: &str) -> String {
    match format {
        Format::Json => format!(r#","link":[{{"relation":"{relation}","url":"{url}"}}]"#),
        Format::Xml => format!(
            r#"<link><relation value="{relation}"/><url value="{}"/></link>"#,
            url.replace('&', "&amp;")
        ),
    }
}

/// An entry of a batch's answer; `more` is what else stands in the response, `resource` what stands before it.
pub fn response(format: Format, status: &str, more: &str, resource: &str) -> String {
    match format {
        Format::Json if resource.is_empty() => format!(r#"{{"response":{{"status":"{status}"{more}}}}}"#),
        Format::Json => format!(r#"{{"resource":{resource},"response":{{"status":"{status}"{more}}}}}"#),
        Format::Xml => {
            let resource =
                if resource.is_empty() { String::new() } else { format!("<resource>{resource}</resource>") };
            format!(r#"<entry>{resource}<response><status value="{status}"/>{more}</response></entry>"#)
        }
    }
}

/// `outcome` of an entry's response.
pub fn with_outcome(format: Format, outcome: &str) -> String {
    match format {
        Format::Json => format!(r#","outcome":{outcome}"#),
        Format::Xml => format!("<outcome>{outcome}</outcome>"),
    }
}

/// A text element, for `more` of a response.
pub fn text(format: Format, name: &str, value: &str) -> String {
    match format {
        Format::Json => format!(r#","{name}":"{value}""#),
        Format::Xml => format!(r#"<{name} value="{}"/>"#, value.replace('"', "&quot;")),
    }
}
