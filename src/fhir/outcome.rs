//! OperationOutcome, written in both formats and read from a backend's.
//!
//! Ours is written when a request is refused. A backend's is read so that it can
//! be said again without what does not concern the client: its text may quote
//! the record or name the host (RESP-3). What is kept is the caller's choice.
//! Follows FHIR R4 §2.26 (OperationOutcome).

use crate::fhir::element::{Document, Element, ElementError};
use crate::fhir::outline::Format;
use crate::fhir::{json, xml};

/// How bad an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The work was not done, and more.
    Fatal,
    /// The work was not done.
    Error,
    /// The work was done, with something to know.
    Warning,
    /// Something to know.
    Information,
    /// R5: all went well.
    Success,
}

impl Severity {
    /// FHIR's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
            Self::Success => "success",
        }
    }

    fn parse(code: &str) -> Option<Self> {
        [Self::Fatal, Self::Error, Self::Warning, Self::Information, Self::Success]
            .into_iter()
            .find(|severity| severity.code() == code)
    }
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// FHIR's issue type: `forbidden`, `security`, `not-found` …
    pub code: String,
    /// `details.text`, for people.
    pub details: Option<String>,
    /// `diagnostics`, for whoever looks into it.
    pub diagnostics: Option<String>,
    /// `location`, XPath.
    pub location: Vec<String>,
    /// `expression`, FHIRPath.
    pub expression: Vec<String>,
}

impl Issue {
    /// An error with nothing more to say.
    pub fn error(code: &str) -> Self {
        Self {
            severity: Severity::Error,
            code: code.to_owned(),
            details: None,
            diagnostics: None,
            location: Vec::new(),
            expression: Vec::new(),
        }
    }

    /// The same with a text for people.
    #[must_use]
    pub fn details(self, text: impl Into<String>) -> Self {
        Self { details: Some(text.into()), ..self }
    }

    /// The same with a text for whoever looks into it.
    #[must_use]
    pub fn diagnostics(self, text: impl Into<String>) -> Self {
        Self { diagnostics: Some(text.into()), ..self }
    }
}

/// An OperationOutcome. FHIR asks for at least one issue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationOutcome {
    /// What there is to say.
    pub issues: Vec<Issue>,
}

impl From<Issue> for OperationOutcome {
    fn from(issue: Issue) -> Self {
        Self { issues: vec![issue] }
    }
}

impl OperationOutcome {
    /// Written in this format, as a document of its own.
    pub fn write(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Json => self.to_json(),
            Format::Xml => self.to_xml(),
        }
    }

    /// Written as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = b"{\"resourceType\":\"OperationOutcome\",\"issue\":[".to_vec();
        for (at, issue) in self.issues.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"severity\":\"" } else { b",{\"severity\":\"" });
            out.extend_from_slice(issue.severity.code().as_bytes());
            out.extend_from_slice(b"\",\"code\":");
            json_string(&issue.code, &mut out);
            if let Some(text) = &issue.details {
                out.extend_from_slice(b",\"details\":{\"text\":");
                json_string(text, &mut out);
                out.push(b'}');
            }
            if let Some(text) = &issue.diagnostics {
                out.extend_from_slice(b",\"diagnostics\":");
                json_string(text, &mut out);
            }
            for (name, items) in [("location", &issue.location), ("expression", &issue.expression)] {
                for (at, item) in items.iter().enumerate() {
                    let before = if at == 0 { format!(",\"{name}\":[") } else { ",".to_owned() };
                    out.extend_from_slice(before.as_bytes());
                    json_string(item, &mut out);
                }
                if !items.is_empty() {
                    out.push(b']');
                }
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// Written as XML, without declaration, so that it can stand in a bundle too.
    pub fn to_xml(&self) -> Vec<u8> {
        let mut out = b"<OperationOutcome xmlns=\"http://hl7.org/fhir\">".to_vec();
        for issue in &self.issues {
            out.extend_from_slice(b"<issue>");
            xml_element("severity", issue.severity.code(), &mut out);
            xml_element("code", &issue.code, &mut out);
            if let Some(text) = &issue.details {
                out.extend_from_slice(b"<details>");
                xml_element("text", text, &mut out);
                out.extend_from_slice(b"</details>");
            }
            if let Some(text) = &issue.diagnostics {
                xml_element("diagnostics", text, &mut out);
            }
            for (name, items) in [("location", &issue.location), ("expression", &issue.expression)] {
                items.iter().for_each(|item| xml_element(name, item, &mut out));
            }
            out.extend_from_slice(b"</issue>");
        }
        out.extend_from_slice(b"</OperationOutcome>");
        out
    }

    /// Reads an OperationOutcome that is the whole of `bytes`, or a range of an
    /// outline. An issue whose severity or code is missing or unknown counts as
    /// an error of type `processing`.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ElementError> {
        let document = Document::read(bytes, format)?;
        let root = document.root();
        if root.resource_type() != Some("OperationOutcome") {
            return Err(ElementError::Shape { offset: 0, expected: "an OperationOutcome" });
        }
        Ok(Self { issues: root.children("issue").map(issue).collect() })
    }
}

fn issue(element: Element<'_>) -> Issue {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let all = |name: &str| element.children(name).filter_map(|it| owned(it.value())).collect();
    let known =
        |code: &&str| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    Issue {
        severity: element.text("severity").and_then(Severity::parse).unwrap_or(Severity::Error),
        code: element.text("code").filter(known).unwrap_or("processing").to_owned(),
        details: owned(element.only("details").and_then(|details| details.text("text"))),
        diagnostics: owned(element.text("diagnostics")),
        location: all("location"),
        expression: all("expression"),
    }
}

fn json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    json::escape_into(text, out);
    out.push(b'"');
}

fn xml_element(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("<{name} value=\"").as_bytes());
    xml::escape_into(value, out);
    out.extend_from_slice(b"\"/>");
}

/// A message as a sentence: a capital first, a full stop last.
#[must_use]
pub fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(chars).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_written_as_fhir_writes_it() {
        let outcome = OperationOutcome {
            issues: vec![
                Issue::error("forbidden").details("no \"scope\" <for> it").diagnostics("a\nb"),
                Issue {
                    severity: Severity::Warning,
                    location: vec!["/f:a".into(), "b".into()],
                    expression: vec!["Patient.name".into()],
                    ..Issue::error("informational")
                },
            ],
        };
        let json = String::from_utf8(outcome.write(Format::Json)).unwrap();
        assert_eq!(
            json,
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","details":{"text":"no \"scope\" <for> it"},"diagnostics":"a\nb"},{"severity":"warning","code":"informational","location":["/f:a","b"],"expression":["Patient.name"]}]}"#
        );
        let xml = String::from_utf8(outcome.write(Format::Xml)).unwrap();
        assert_eq!(
            xml,
            "<OperationOutcome xmlns=\"http://hl7.org/fhir\"><issue><severity value=\"error\"/><code value=\"forbidden\"/><details><text value=\"no &quot;scope&quot; &lt;for&gt; it\"/></details><diagnostics value=\"a&#10;b\"/></issue><issue><severity value=\"warning\"/><code value=\"informational\"/><location value=\"/f:a\"/><location value=\"b\"/><expression value=\"Patient.name\"/></issue></OperationOutcome>"
        );
    }

    #[test]
    fn what_is_unclear_becomes_a_plain_error() {
        let table = [
            (r#"{"severity":"warning","code":"not-found"}"#, Severity::Warning, "not-found"),
            (r#"{"severity":"terrible","code":"not-found"}"#, Severity::Error, "not-found"),
            (r#"{"severity":"fatal"}"#, Severity::Fatal, "processing"),
            (r#"{"severity":["error","fatal"],"code":"<script>"}"#, Severity::Error, "processing"),
            ("{}", Severity::Error, "processing"),
        ];
        for (issue, severity, code) in table {
            let text = format!(r#"{{"resourceType":"OperationOutcome","issue":[{issue}]}}"#);
            let read = OperationOutcome::parse(text.as_bytes(), Format::Json).unwrap();
            assert_eq!((read.issues[0].severity, read.issues[0].code.as_str()), (severity, code), "{issue}");
        }
        for other in [r#"{"resourceType":"Patient"}"#, "[]", "<html>"] {
            assert!(OperationOutcome::parse(other.as_bytes(), Format::Json).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            details in prop::option::of("[ -~é\n\t]{0,20}"), diagnostics in prop::option::of("[ -~]{0,20}"),
            expression in prop::collection::vec("[ -~]{0,9}", 0..3), count in 0usize..3,
        ) {
            let issue = Issue { details, diagnostics, expression, ..Issue::error("security") };
            let outcome = OperationOutcome { issues: vec![issue; count] };
            for format in [Format::Json, Format::Xml] {
                prop_assert_eq!(&OperationOutcome::parse(&outcome.write(format), format).unwrap(), &outcome);
            }
        }
    }
}
