//! An event as FHIR R5's AuditEvent. BALP has no profiles of it, so that none is claimed; its mapping is followed.

use serde_json::{Map, Value, json};

use crate::audit::agents::{self, Agent, Network};
use crate::audit::codes::{self, Code};
use crate::audit::entities::{self, Entity, What};
use crate::audit::r4;
use crate::audit::{Entry, Outcome};

/// The resource; `id` is its id when it has one.
pub(super) fn event(entry: &Entry, id: Option<&str>) -> Value {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("resourceType", json!("AuditEvent"));
    if let Some(id) = id {
        put("id", json!(id));
    }
    if let Some(meta) = r4::meta(&[], id) {
        put("meta", meta);
    }
    put("category", json!([codes::REST.concept()]));
    put(
        "code",
        match entry.interaction.code() {
            Some(code) => json!({ "coding": [r4::interaction(code)] }),
            None => json!({ "text": "request that could not be read" }),
        },
    );
    put("action", json!(entry.interaction.pattern().action()));
    put("severity", json!(severity(entry.outcome())));
    put("occurredDateTime", json!(r4::recorded(entry)));
    put("recorded", json!(r4::recorded(entry)));
    put("outcome", outcome(entry));
    if !entry.purpose.is_empty() {
        put("authorization", r4::concepts(&entry.purpose));
    }
    if let Some(patient) = entry.subject_patient() {
        put("patient", json!({ "reference": format!("Patient/{patient}") }));
    }
    if let Some(encounter) = &entry.encounter {
        put("encounter", json!({ "reference": format!("Encounter/{encounter}") }));
    }
    put("agent", agents::of(entry).iter().map(agent).collect());
    let observer = r4::who(&agents::observer(entry));
    put("source", json!({ "observer": observer, "type": [codes::APPLICATION_SERVER.concept()] }));
    put("entity", entities::of(entry).iter().map(entity).collect());
    Value::Object(event)
}

/// How much an operator should care: a refusal is the gateway at work.
fn severity(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "informational",
        Outcome::Refused => "warning",
        Outcome::Failed => "error",
    }
}

/// R5 takes its outcomes from the severities of issues: what kept the action from being done is at least an error.
fn outcome(entry: &Entry) -> Value {
    let code = match entry.outcome() {
        Outcome::Success => Code::new(codes::ISSUE_SEVERITY, "success", "Operation Successful"),
        Outcome::Refused => Code::new(codes::ISSUE_SEVERITY, "error", "Error"),
        Outcome::Failed => Code::new(codes::ISSUE_SEVERITY, "fatal", "Fatal"),
    };
    match entry.outcome_description() {
        Some(description) => json!({ "code": code.coding(), "detail": [{ "text": description }] }),
        None => json!({ "code": code.coding() }),
    }
}

fn agent(of: &Agent<'_>) -> Value {
    let mut agent = Map::new();
    let mut put = |name: &str, value: Value| agent.insert(name.to_owned(), value);
    let other_ids = r4::other_ids(of);
    if !other_ids.is_empty() {
        put("extension", Value::Array(other_ids));
    }
    put("type", r4::types(of));
    if !of.roles.is_empty() {
        put("role", r4::concepts(of.roles));
    }
    put("who", r4::who(&of.who));
    put("requestor", json!(of.requestor));
    if let Some(policy) = &of.policy {
        put("policy", json!([policy]));
    }
    match of.network {
        Some(Network::Address(address)) => drop(put("networkString", json!(address))),
        Some(Network::Uri(uri)) => drop(put("networkUri", json!(uri))),
        None => {}
    }
    if !of.purposes.is_empty() {
        put("authorization", r4::concepts(of.purposes));
    }
    Value::Object(agent)
}

/// What R4 says in `type` has no place of its own any more: the role says it, of a request too.
fn entity(of: &Entity<'_>) -> Value {
    let mut entity = Map::new();
    let mut put = |name: &str, value: Value| entity.insert(name.to_owned(), value);
    if let Some(what) = r4::what(&of.what) {
        put("what", what);
    }
    put("role", of.role.unwrap_or(of.kind).concept());
    if let What::Query(raw) = &of.what {
        put("query", json!(r4::query(raw)));
    }
    let detail = |(kind, value): &(&'static str, String)| json!({ "type": { "text": kind }, "valueString": r4::text(value) });
    let details: Vec<Value> = of.details.iter().map(detail).collect();
    if !details.is_empty() {
        put("detail", Value::Array(details));
    }
    Value::Object(entity)
}
