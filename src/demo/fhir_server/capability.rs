//! The CapabilityStatement of the demo FHIR server.

use serde_json::{Value, json};

use super::parameters::{Kind, TYPES, parameters};

/// What `GET metadata` answers. It has no security section: the gateway adds its own.
pub(super) fn statement(base: &str) -> Value {
    let kinds = TYPES.iter().filter(|kind| !matches!(**kind, "Parameters" | "OperationOutcome"));
    let resources: Vec<Value> = kinds.map(|kind| resource(base, kind)).collect();
    let codes = |names: &[&str]| names.iter().map(|name| json!({"code": name})).collect::<Vec<_>>();
    json!({
        "resourceType": "CapabilityStatement",
        "id": "demo",
        "url": format!("{base}/metadata"),
        "name": "PforteDemoServer",
        "title": "DEMO FHIR server with synthetic data",
        "status": "active",
        "experimental": true,
        "date": "2025-01-01",
        "publisher": "Pforte demo",
        "description": "DEMO: an in-memory FHIR server with synthetic people. Not for clinical use.",
        "kind": "instance",
        "software": {"name": "Pforte demo FHIR server", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "DEMO server, synthetic data, all in memory", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [{
            "mode": "server",
            "documentation": "DEMO: everybody who reaches this server may do everything",
            "resource": resources,
            "interaction": codes(&["transaction", "batch", "search-system", "history-system"]),
            "operation": [{"name": "meta", "definition": "http://hl7.org/fhir/OperationDefinition/Resource-meta"}],
            "compartment": [compartment("patient"), compartment("encounter"), compartment("practitioner")]
        }]
    })
}

fn compartment(name: &str) -> String {
    format!("http://hl7.org/fhir/CompartmentDefinition/{name}")
}

fn resource(base: &str, kind: &str) -> Value {
    let codes = [
        "read",
        "vread",
        "update",
        "patch",
        "delete",
        "history-instance",
        "history-type",
        "create",
        "search-type",
    ];
    let interactions: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
    let searches: Vec<Value> =
        parameters(kind).map(|found| json!({"name": found.name, "type": found.kind.code()})).collect();
    let includes = parameters(kind).filter(|found| found.kind == Kind::Reference);
    let includes: Vec<String> = includes.map(|found| format!("{kind}:{}", found.name)).collect();
    let mut out = json!({
        "type": kind, "profile": format!("http://hl7.org/fhir/StructureDefinition/{kind}"), "interaction": interactions,
        "versioning": "versioned-update", "readHistory": true, "updateCreate": true, "conditionalCreate": true,
        "conditionalRead": "not-match", "conditionalUpdate": true, "conditionalDelete": "single",
        "searchInclude": includes, "searchParam": searches
    });
    let operations: &[&str] = match kind {
        "Patient" | "Encounter" => &["everything", "validate"],
        "Observation" => &["lastn", "validate"],
        "Composition" => &["document", "validate"],
        _ => &["validate"],
    };
    let listed: Vec<Value> = operations
        .iter()
        .map(|name| json!({"name": name, "definition": format!("{base}/OperationDefinition/{kind}-{name}")}))
        .collect();
    if let Some(map) = out.as_object_mut() {
        map.insert("operation".to_owned(), listed.into());
        map.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    }
    out
}
