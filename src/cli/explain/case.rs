//! A case as it stands in the input: a request, a token's claims, what is stored, and what the backend would answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};

use super::CaseError;
use crate::fhir::{Format, ResourceType};
use crate::policy::{Complete, Facts, Found, Question as Inquiry, Stored, Version};
use crate::release::Answer;

/// A case, read.
pub(super) struct Case {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) claims: Option<Map<String, Value>>,
    pub(super) response: Option<Answer>,
    pub(super) object_response: bool,
    pub(super) stored: Vec<Value>,
}

impl Case {
    pub(super) fn read(case: &Map<String, Value>) -> Result<Self, CaseError> {
        let text = |member: &'static str| match case.get(member) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(CaseError::Member { member, expected: "a string" }),
        };
        let method = Method::from_bytes(text("method")?.as_bytes())
            .map_err(|_| CaseError::Member { member: "method", expected: "an HTTP method" })?;
        let claims = match case.get("claims") {
            None | Some(Value::Null) => None,
            Some(Value::Object(claims)) => Some(claims.clone()),
            Some(_) => return Err(CaseError::Member { member: "claims", expected: "an object or null" }),
        };
        let mut headers = headers(case.get("headers"), "headers")?;
        let body = body(case.get("body"));
        if !body.is_empty() && !headers.contains_key("content-type") {
            headers.insert("content-type", HeaderValue::from_static(guessed_type(&body, &method)));
        }
        let response = case.get("response").map(answer).transpose()?;
        let object_response =
            case.get("response").and_then(|r| r.get("body")).is_none_or(|body| !body.is_string());
        let stored = stored(case.get("stored"))?;
        Ok(Self { method, target: text("target")?, headers, body, claims, response, object_response, stored })
    }
}

/// The resource that an answer is.
fn version(answer: &Answer, resource: ResourceType) -> Option<Version> {
    let written = answer.headers.get("content-type")?.to_str().ok()?;
    Version::new((answer.body.clone(), Format::of(written)?), resource, None)
}

impl Case {
    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Answers a question from what the case says is stored.
    pub(super) fn answer(&self, question: Inquiry, facts: &mut Facts) {
        let (resource, id, _) = question.target();
        let of_type = self
            .stored
            .iter()
            .filter(|stored| stored.get("resourceType").and_then(Value::as_str) == Some(resource.as_str()));
        let versions: Vec<_> = of_type
            .filter_map(|stored| Version::new((stored.to_string().into(), Format::Json), resource, None))
            .collect();
        if let Some(id) = id {
            // What a read brings is what a look before it would have brought.
            let read = || self.response.as_ref().filter(|_| self.stored.is_empty() && self.reads());
            let found = versions.into_iter().chain(read().and_then(|answer| version(answer, resource)));
            let found = found.into_iter().find(|version| version.id == id);
            let stored = found.map_or(Stored::Absent, |version| Stored::Present(Arc::new(version)));
            facts.put_stored(question, stored);
        } else {
            let versions = versions.into_iter().map(Arc::new).collect();
            facts.put_found(question, Found::Versions(versions, Complete::Yes));
        }
    }
}

/// What a pre-fetch would find: a resource, several in an array, or as JSON text.
fn stored(written: Option<&Value>) -> Result<Vec<Value>, CaseError> {
    let wrong = CaseError::Member { member: "stored", expected: "a resource, or an array of them" };
    match written {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).map(|one| vec![one]).map_err(|_| wrong),
        Some(resource @ Value::Object(_)) => Ok(vec![resource.clone()]),
        Some(Value::Bool(_) | Value::Number(_)) => Err(wrong),
    }
}

fn answer(response: &Value) -> Result<Answer, CaseError> {
    let response =
        response.as_object().ok_or(CaseError::Member { member: "response", expected: "an object" })?;
    let status = response.get("status").map_or(Some(200), Value::as_u64).and_then(|s| u16::try_from(s).ok());
    let status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or(CaseError::Member { member: "response.status", expected: "an HTTP status" })?;
    let mut headers = headers(response.get("headers"), "response.headers")?;
    let body = body(response.get("body"));
    if !body.is_empty() && !headers.contains_key("content-type") {
        headers.insert("content-type", HeaderValue::from_static(guessed_type(&body, &Method::GET)));
    }
    Ok(Answer { status, headers, body })
}

fn headers(written: Option<&Value>, member: &'static str) -> Result<HeaderMap, CaseError> {
    let mut headers = HeaderMap::new();
    let wrong = || CaseError::Member { member, expected: "an object of header fields" };
    let Some(written) = written.filter(|written| !written.is_null()) else { return Ok(headers) };
    for (name, value) in written.as_object().ok_or_else(wrong)? {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let values = match value.as_array() {
            Some(values) => values.iter().map(Value::as_str).collect(),
            None => vec![value.as_str()],
        };
        for value in values {
            let value = HeaderValue::from_str(value.ok_or_else(wrong)?).map_err(|_| wrong())?;
            headers.append(name.clone(), value);
        }
    }
    Ok(headers)
}

fn body(written: Option<&Value>) -> Bytes {
    match written {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(value) => Bytes::from(value.to_string()),
    }
}

/// The media type of a body whose case names none.
fn guessed_type(body: &[u8], method: &Method) -> &'static str {
    match body.trim_ascii_start().first() {
        Some(b'<') => "application/fhir+xml",
        Some(b'[') if *method == Method::PATCH => "application/json-patch+json",
        Some(b'{' | b'[') => "application/fhir+json",
        _ if *method == Method::POST => "application/x-www-form-urlencoded",
        _ => "text/plain",
    }
}
