//! Answers that are errors: a status and an OperationOutcome.

use http::StatusCode;
use serde_json::{Value, json};

/// Why the demo FHIR server will not do something.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status}: {text}")]
pub struct Fault {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code of the issue, from `http://hl7.org/fhir/issue-type`.
    pub code: &'static str,
    /// What went wrong, in a sentence.
    pub text: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", text)
    }

    pub(super) fn unsupported(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not-supported", text)
    }

    pub(super) fn unknown(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", text)
    }

    pub(super) fn precondition(text: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "conflict", text)
    }

    /// The OperationOutcome that goes with it.
    pub fn outcome(&self) -> Value {
        outcome("error", self.code, &self.text)
    }
}

/// An OperationOutcome with one issue.
pub(super) fn outcome(severity: &str, code: &str, text: &str) -> Value {
    json!({"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code, "diagnostics": text}]})
}
