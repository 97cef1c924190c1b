//! One event in the forms that programs read.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::safe;
use crate::audit::Outcome;
use crate::fhir::FhirVersion;
use crate::ledger::Kept;

/// Releases of FHIR, as versions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Release {
    /// FHIR R4.
    #[value(name = "4.0", alias = "R4", alias = "4.0.1")]
    R4,
    /// FHIR R4B.
    #[value(name = "4.3", alias = "R4B")]
    R4B,
    /// FHIR R5.
    #[value(name = "5.0", alias = "R5")]
    R5,
}

impl Release {
    fn version(self) -> FhirVersion {
        match self {
            Self::R4 => FhirVersion::R4,
            Self::R4B => FhirVersion::R4B,
            Self::R5 => FhirVersion::R5,
        }
    }
}

/// The AuditEvent.
pub(super) fn fhir(kept: &Kept, release: Release) -> String {
    safe::json(kept.entry.to_audit_event_in(release.version(), Some(&kept.id())).to_string())
}

/// How it ended, in a word.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Refused => "refused",
        Outcome::Failed => "failed",
    }
}

/// The columns of a table of facts, in order.
pub(super) const FACTS: [&str; 25] = [
    "sequence",
    "id",
    "hash",
    "recorded",
    "outcome",
    "status",
    "reason",
    "interaction",
    "method",
    "target",
    "form",
    "type",
    "resource_id",
    "version",
    "patient",
    "launch_patient",
    "user",
    "fhir_user",
    "client",
    "issuer",
    "jti",
    "purpose",
    "peer",
    "request_id",
    "batch_entry",
];

/// What the event says, each fact by the name that `FACTS` has for it, in its order; null when it is not known.
pub(super) fn facts(kept: &Kept) -> [Value; FACTS.len()] {
    let entry = &kept.entry;
    let purpose: Vec<String> = entry
        .purpose
        .iter()
        .map(|purpose| match &purpose.system {
            Some(system) => format!("{system}|{}", purpose.code),
            None => purpose.code.clone(),
        })
        .collect();
    [
        json!(kept.sequence),
        json!(kept.id()),
        json!(kept.hash.to_string()),
        json!(format!("{:.3}", entry.recorded)),
        json!(outcome(entry.outcome())),
        json!(Some(entry.status).filter(|status| *status > 0)),
        json!(entry.reason),
        json!(entry.interaction.name()),
        json!(entry.method),
        json!(entry.target),
        json!(entry.form),
        json!(entry.resource.map(|resource| resource.as_str())),
        json!(entry.id),
        json!(entry.version),
        json!(entry.subject_patient()),
        json!(entry.patient),
        json!(entry.subject),
        json!(entry.fhir_user),
        json!(entry.client),
        json!(entry.issuer),
        json!(entry.jti),
        json!(if purpose.is_empty() { None } else { Some(purpose) }),
        json!(entry.peer),
        json!(entry.request_id),
        json!(entry.batch_entry),
    ]
}

/// The facts as one JSON object; those not known are left out.
pub(super) fn flat(kept: &Kept) -> String {
    let facts = FACTS.iter().zip(facts(kept)).filter(|(_, fact)| !fact.is_null());
    let object: serde_json::Map<String, Value> =
        facts.map(|(name, fact)| ((*name).to_owned(), fact)).collect();
    safe::json(Value::Object(object).to_string())
}

/// The facts as a line of CSV (RFC 4180), without its line end.
pub(super) fn csv(kept: &Kept) -> String {
    let cells = facts(kept).map(|fact| match fact {
        Value::Null => String::new(),
        Value::String(text) => cell(&text),
        Value::Array(texts) => cell(&texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => cell(&other.to_string()),
    });
    cells.join(",")
}

/// A cell that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it, as OWASP advises.
fn cell(text: &str) -> String {
    let text = safe::plain(text);
    let mark = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if mark.is_empty() && !text.contains(['"', ',']) {
        return text.into_owned();
    }
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}
