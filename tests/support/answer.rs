//! One answer, and what is held against it. A finding names the request, what was expected and what came.

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::Value;

use super::Findings;

/// An answer, read to its end.
pub struct Answer {
    /// Method, target and scope, for people.
    pub request: String,
    /// The status; 0 when there was no answer at all.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Why the answer did not come whole.
    pub broken: Option<String>,
    pub(super) findings: Findings,
}

impl Answer {
    /// A header field as text; empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON; null, and a finding, when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            self.wrong(&format!("a JSON body ({error})"));
            Value::Null
        })
    }

    /// The resources of a Bundle's entries that have one.
    pub fn resources(&self) -> Vec<Value> {
        self.entries().iter().filter_map(|entry| entry.get("resource").cloned()).collect()
    }

    /// The entries of a Bundle.
    pub fn entries(&self) -> Vec<Value> {
        self.json()["entry"].as_array().cloned().unwrap_or_default()
    }

    /// `resourceType/id` of each resource in a Bundle, in order.
    pub fn ids(&self) -> Vec<String> {
        let name = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
        self.resources().iter().map(|it| format!("{}/{}", name(it, "resourceType"), name(it, "id"))).collect()
    }

    /// Has this status.
    pub fn is(&self, status: u16) -> &Self {
        self.one_of(&[status])
    }

    /// Has one of these statuses.
    pub fn one_of(&self, statuses: &[u16]) -> &Self {
        if !statuses.contains(&self.status) {
            self.wrong(&format!("status {statuses:?}"));
        }
        self
    }

    /// Is a refusal: this status, an OperationOutcome, this reason, and the request's id.
    pub fn refused(&self, status: u16, reason: &str) -> &Self {
        let text = self.text();
        let id = self.field("x-request-id");
        let said = !id.is_empty() && text.contains(&format!("reason {reason}, request {id}"));
        if self.status != status || !text.contains("OperationOutcome") || !said {
            self.wrong(&format!("{status} with an OperationOutcome that says `reason {reason}, request …`"));
        }
        self
    }

    /// The body has this text in it.
    pub fn holds(&self, text: &str) -> &Self {
        if !self.text().contains(text) {
            self.wrong(&format!("a body with `{text}` in it"));
        }
        self
    }

    /// The body does not have this text in it. What is sealed in a link is left out: letters come together there by
    /// chance.
    pub fn lacks(&self, text: &str) -> &Self {
        let body = unsealed(&self.text());
        if let Some((before, behind)) = body.split_once(text) {
            let before: String =
                before.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
            let behind: String = behind.chars().take(60).collect();
            self.wrong(&format!("a body without `{text}` in it, not `…{before}{text}{behind}…`"));
        }
        self
    }

    /// A header field begins with this text.
    pub fn has(&self, name: &str, begin: &str) -> &Self {
        if !self.headers.contains_key(name) || !self.field(name).starts_with(begin) {
            self.wrong(&format!("the header field `{name}: {begin}…`, not `{}`", self.field(name)));
        }
        self
    }

    /// There is no such header field.
    pub fn without(&self, name: &str) -> &Self {
        if self.headers.contains_key(name) {
            self.wrong(&format!("no header field `{name}`, not `{}`", self.field(name)));
        }
        self
    }

    /// Every resource in the Bundle is of one of these types, and there is at least one.
    pub fn only(&self, types: &[&str]) -> &Self {
        let ids = self.ids();
        let foreign = ids.iter().find(|id| !types.iter().any(|name| id.starts_with(&format!("{name}/"))));
        if ids.is_empty() || foreign.is_some() {
            self.wrong(&format!("a Bundle of {types:?} only, not of {ids:?}"));
        }
        self
    }

    /// Writes down that something else was expected.
    pub fn wrong(&self, expected: &str) {
        let head: String = self.text().chars().take(400).collect();
        let broken = self.broken.as_ref().map(|why| format!(" (broken off: {why})")).unwrap_or_default();
        self.findings.add(format!(
            "{}\n    expected {expected}\n    got      {}{broken} {} {head}",
            self.request,
            self.status,
            self.field("content-type")
        ));
    }
}

/// A text with an ellipsis for the content of each sealed link.
fn unsealed(text: &str) -> String {
    let mut parts = text.split("_link=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("_link=…");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }
    out
}
