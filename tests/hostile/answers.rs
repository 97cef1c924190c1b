//! What the backend says in the cases that are about its answer.

use serde_json::{Value, json};

use crate::backend::Canned;
use crate::fixture::{NUMBER, VICTIM, own_observation};

fn searchset(resources: &[Value]) -> Value {
    let entries: Vec<Value> =
        resources.iter().map(|it| json!({"resource": it, "search": {"mode": "match"}})).collect();
    json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
}

/// An Observation named `o` with another subject.
fn about(subject: Value) -> Value {
    let mut it = own_observation();
    it["id"] = "o".into();
    it["subject"] = subject;
    it
}

fn said(status: u16, media: &'static str, body: String) -> Canned {
    Canned { status, media, fields: Vec::new(), body: body.into() }
}

/// A searchset whose members come in the order in which nobody writes them.
const BACKWARDS: &str = "{\"entry\":[{\"search\":{\"mode\":\"match\"},\"resource\":{\"subject\":{\"reference\":\"Patient/p2\"},\"code\":{\"text\":\"VICTIM\"},\"id\":\"x\",\
                \"resourceType\":\"Observation\"},\"fullUrl\":\"http://upstream.internal/fhir/Observation/x\"},\
                {\"resource\":{\"subject\":{\"reference\":\"Patient/p1\"},\"id\":\"y\",\"resourceType\":\"Observation\"}}],\"type\":\"searchset\",\"resourceType\":\"Bundle\"}";

/// The answer that a case speaks of.
pub fn of(id: &str) -> Option<Canned> {
    let own = own_observation();
    let canned = match id {
        "RESP-008" => {
            Canned::json(200, &json!({"resourceType": "Observation", "id": "o2v", "code": {"text": VICTIM}}))
        }
        "RESP-009" => {
            let mut it = own;
            it["subject"] = json!({"reference": "#pat"});
            it["contained"] =
                json!([{"resourceType": "Patient", "id": "pat", "identifier": [{"value": "P1MRN"}]}]);
            it["code"] = json!({"text": VICTIM});
            Canned::json(200, &it)
        }
        "RESP-011" => Canned::json(200, &about(json!({"reference": "http://other.example/fhir/Patient/p1"}))),
        "RESP-012" => Canned::json(200, &about(json!({"reference": "Patient/p1/_history/3"}))),
        "RESP-014" => {
            Canned::json(200, &about(json!({"identifier": {"system": "urn:mrn", "value": NUMBER}})))
        }
        "RESP-017" => said(
            200,
            "application/fhir+xml",
            format!("<Observation xmlns=\"http://hl7.org/fhir\"><id value=\"{VICTIM}\"/></Observation>"),
        ),
        "RESP-019" => {
            let fields = vec![("content-encoding", "gzip".to_owned())];
            Canned { fields, ..said(200, "application/fhir+json", format!("\u{1f}{VICTIM}")) }
        }
        "RESP-023" => said(200, "application/fhir+json", BACKWARDS.to_owned()),
        "RESP-024" => {
            let words = format!("SQL SELECT at upstream.internal Observation/{VICTIM}");
            Canned::json(
                422,
                &json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing", "diagnostics": words}]}),
            )
        }
        "RESP-025" => {
            let fields =
                ["set-cookie", "x-powered-by", "via"].map(|name| (name, "upstream.internal".to_owned()));
            let patient = json!({"resourceType": "Patient", "id": "p1"});
            Canned { fields: fields.to_vec(), ..Canned::json(200, &patient) }
        }
        "RESP-032" => {
            let mut it = about(json!({"reference": "Patient/p1"}));
            it["contained"] =
                json!([{"resourceType": "Patient", "id": "c"}, {"resourceType": "RelatedPerson", "id": "r"}]);
            Canned::json(200, &it)
        }
        "INFO-015" => {
            said(500, "text/html", "<h1>at upstream.internal</h1> Authorization: Bearer xyz".to_owned())
        }
        "RESP-021" => {
            let whole = searchset(&vec![own; 4000]).to_string();
            said(200, "application/fhir+json", whole.chars().take(1_000_000).collect())
        }
        _ => return None,
    };
    Some(canned)
}
