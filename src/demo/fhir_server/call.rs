//! One request to the FHIR server and its answer, whether it came by itself or inside a batch.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::fault::{Fault, outcome};
use super::store::{Key, Version, instant};
use crate::demo::serving::{Received, pairs};

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The decoded path segments below the base.
    pub(super) segments: Vec<String>,
    /// The decoded parameters of the query, and of the form of a `POST _search`.
    pub(super) pairs: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The id a transaction has already given to what this creates.
    pub(super) assigned: Option<String>,
}

impl Call {
    /// `path` is relative to the base and still encoded.
    pub(super) fn new(method: Method, path: &str, query: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let segments =
            segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect();
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, segments, pairs: pairs(query.as_bytes()), headers, body, assigned: None }
    }

    /// None when the path is not below `root`.
    pub(super) fn received(received: &Received, root: &str) -> Option<Self> {
        let path = received.path().strip_prefix(root)?;
        if !path.is_empty() && !path.starts_with('/') {
            return None;
        }
        let method = if received.method == Method::HEAD { Method::GET } else { received.method.clone() };
        let mut call = Self::new(method, path, received.query());
        call.headers = received.headers.clone();
        call.body = received.body.clone();
        if call.media().starts_with("application/x-www-form-urlencoded") {
            // Query and form are both asked, as HAPI FHIR does it: they are ANDed.
            call.pairs.extend(pairs(&call.body));
        }
        Some(call)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn set_header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn media(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// The resource in the body; JSON only.
    pub(super) fn resource(&self) -> Result<Value, Fault> {
        if !self.media().is_empty() && !self.media().contains("json") {
            let text = format!("This demo server reads JSON only, not \"{}\"", self.media());
            return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
        }
        let resource: Value = serde_json::from_slice(&self.body)
            .map_err(|error| Fault::invalid(format!("Invalid JSON: {error}")))?;
        resource
            .get("resourceType")
            .and_then(Value::as_str)
            .ok_or_else(|| Fault::invalid("The body has no resourceType"))?;
        Ok(resource)
    }

    /// The version `If-Match` demands.
    pub(super) fn expected_version(&self) -> Option<String> {
        let etag = self.header("if-match")?;
        Some(etag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Nothing,
    Raw { media: String, bytes: Bytes },
    Resource(Value),
}

impl Answer {
    pub(super) fn ok(resource: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), content: Content::Resource(resource) }
    }

    pub(super) fn said(text: &str) -> Self {
        Self::ok(outcome("information", "informational", text))
    }

    /// A resource with `ETag` and `Last-Modified`.
    pub(super) fn version(version: &Version, resource: Value) -> Self {
        let mut answer = Self::ok(resource);
        answer.headers.push(("etag", format!("W/\"{}\"", version.number)));
        let since = std::time::Duration::from_millis(
            u64::try_from(version.when.as_millisecond()).unwrap_or_default(),
        );
        answer.headers.push(("last-modified", httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)));
        answer
    }

    /// The answer to a write; what it carries follows `Prefer: return=…` (FHIR R4 §3.1.0.1.9).
    pub(super) fn written(call: &Call, base: &str, key: &Key, version: &Version) -> Self {
        let resource = version.resource.as_deref().cloned().unwrap_or_default();
        let mut answer = Self::version(version, resource);
        answer.headers.push(("location", format!("{base}/{}/_history/{}", key.reference(), version.number)));
        match call.header("prefer").unwrap_or_default() {
            prefer if prefer.contains("return=minimal") => answer.content = Content::Nothing,
            prefer if prefer.contains("return=OperationOutcome") => {
                let text = format!(
                    "{} has version {} since {}",
                    key.reference(),
                    version.number,
                    instant(version.when)
                );
                answer.content = Content::Resource(outcome("information", "informational", &text));
            }
            _ => {}
        }
        answer
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}
