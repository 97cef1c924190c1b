//! The transaction that writes events.

use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::config::{FhirSink, SinkWrite};
use crate::ledger::Kept;

/// Writes each event once, however often it is sent (FHIR R4 §3.1.0.11).
pub(super) fn transaction(events: &[Kept], settings: &FhirSink) -> Value {
    let entries: Vec<Value> = events.iter().map(|event| entry(event, settings)).collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

fn entry(event: &Kept, settings: &FhirSink) -> Value {
    let id = event.id();
    let resource = event.entry.to_audit_event_in(settings.fhir_version, Some(&id));
    let full_url = format!("urn:uuid:{id}");
    match settings.write {
        SinkWrite::Create => {
            let condition = tag(&resource);
            let mut resource = resource;
            // A server that chooses ids might take this one amiss (FHIR R4 §3.1.0.8).
            if let Some(members) = resource.as_object_mut() {
                members.remove("id");
            }
            let request = json!({ "method": "POST", "url": "AuditEvent", "ifNoneExist": condition });
            json!({ "fullUrl": full_url, "resource": resource, "request": request })
        }
        SinkWrite::Update => {
            let request = json!({ "method": "PUT", "url": format!("AuditEvent/{id}") });
            json!({ "fullUrl": full_url, "resource": resource, "request": request })
        }
    }
}

/// The search for the tag that holds the event's id.
fn tag(resource: &Value) -> String {
    let of = |member: &str| {
        let text = resource.pointer(&format!("/meta/tag/0/{member}")).and_then(Value::as_str);
        byte_serialize(text.unwrap_or_default().as_bytes()).collect::<String>()
    };
    format!("_tag={}%7C{}", of("system"), of("code"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tests::{event, repository};

    /// By its own id, or by the tag that holds it: either way it is written once.
    #[test]
    fn an_event_is_written_once() {
        let events = [event(1), event(2)];
        let id = events[1].id();
        let mut settings = repository("http://127.0.0.1/fhir");
        let update = transaction(&events, &settings);
        assert_eq!(update["type"], "transaction");
        assert_eq!(update["entry"][1]["request"]["method"], "PUT");
        assert_eq!(update["entry"][1]["request"]["url"], format!("AuditEvent/{id}"));
        assert_eq!(update["entry"][1]["resource"]["id"], id);
        settings.write = SinkWrite::Create;
        let create = transaction(&events, &settings);
        let request = &create["entry"][1]["request"];
        assert_eq!((&request["method"], &request["url"]), (&"POST".into(), &"AuditEvent".into()));
        assert_eq!(request["ifNoneExist"], format!("_tag=urn%3Apforte%3Aaudit-event%7C{id}"));
        assert!(create["entry"][1]["resource"].get("id").is_none());
        assert_eq!(create["entry"][1]["resource"]["meta"]["tag"][0]["code"], id);
    }

    /// FHIR R4 §2.24.0.1.11, and servers that refuse ids of clients that could be their own: `[A-Za-z0-9\-\.]{1,64}`, not
    /// all digits.
    #[test]
    fn ids_are_no_numbers() {
        for number in 0..1000 {
            let id = event(number).id();
            assert!(id.len() == 36 && id.contains('-'), "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{id}");
        }
    }
}
