//! What was acted on: data, query, patient and the request itself (AUD-6).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::audit::codes::{self, Code};
use crate::audit::entry::{Entry, Interaction, Pattern};
use crate::fhir::decode;

const PERSON: Code = Code::new(codes::ENTITY_TYPE, "1", "Person");
const SYSTEM_OBJECT: Code = Code::new(codes::ENTITY_TYPE, "2", "System Object");
const PATIENT: Code = Code::new(codes::OBJECT_ROLE, "1", "Patient");
const DOMAIN_RESOURCE: Code = Code::new(codes::OBJECT_ROLE, "4", "Domain Resource");
const QUERY: Code = Code::new(codes::OBJECT_ROLE, "24", "Query");
const REQUEST: Code = Code::new(codes::BALP_ENTITY, "XrequestId", "X-Request-Id");

/// Names of parameters whose values are credentials. They have no business in a query, and none in a record.
const CREDENTIALS: [&str; 7] = [
    "access_token",
    "client_assertion",
    "client_secret",
    "id_token",
    "password",
    "refresh_token",
    "subject_token",
];

/// The entities of an event.
pub(super) fn of(entry: &Entry) -> Vec<Value> {
    let mut entities = vec![request(entry)];
    entities.extend(data(entry));
    entities.extend(asks(entry).then(|| query(entry)));
    entities.extend(entry.subject_patient().map(|patient| {
        json!({
            "what": { "reference": format!("Patient/{patient}") },
            "type": PERSON.coding(),
            "role": PATIENT.coding(),
        })
    }));
    entities
}

/// The request: its id, its place in a Bundle and how it ended.
fn request(entry: &Entry) -> Value {
    let mut detail = vec![
        json!({ "type": "method", "valueString": entry.method }),
        json!({ "type": "status", "valueString": entry.status.to_string() }),
    ];
    if let Some(index) = entry.batch_entry {
        detail.push(json!({ "type": "entry", "valueString": index.to_string() }));
    }
    json!({
        "what": { "identifier": { "value": entry.request_id } },
        "type": REQUEST.coding(),
        "detail": detail,
    })
}

fn data(entry: &Entry) -> Option<Value> {
    let resource = entry.resource.filter(|_| entry.interaction.pattern() != Pattern::Query)?.as_str();
    let mut what = Map::new();
    match reference(entry) {
        Some(reference) => what.insert("reference".to_owned(), json!(reference)),
        None => what.insert("type".to_owned(), json!(resource)),
    };
    Some(json!({ "what": what, "type": SYSTEM_OBJECT.coding(), "role": DOMAIN_RESOURCE.coding() }))
}

/// The instance acted on, of a version where one is known.
pub(super) fn reference(entry: &Entry) -> Option<String> {
    let resource = entry.resource.filter(|_| entry.interaction.pattern() != Pattern::Query)?.as_str();
    let id = entry.id.as_deref()?;
    Some(match &entry.version {
        Some(version) => format!("{resource}/{id}/_history/{version}"),
        None => format!("{resource}/{id}"),
    })
}

/// Whether the request as sent is evidence: searches and what is like them, and whatever could not be read.
pub(super) fn asks(entry: &Entry) -> bool {
    match entry.interaction {
        Interaction::Known(kind) => {
            kind.is_conditional_write()
                || matches!(entry.interaction.pattern(), Pattern::Query | Pattern::Other)
        }
        Interaction::Transaction => false,
        Interaction::Unread => true,
    }
}

fn query(entry: &Entry) -> Value {
    json!({ "type": SYSTEM_OBJECT.coding(), "role": QUERY.coding(), "query": STANDARD.encode(raw(entry)) })
}

/// The request as sent, the values of credentials replaced.
pub(super) fn raw(entry: &Entry) -> String {
    let target = without_credentials(&entry.target);
    match &entry.form {
        Some(form) => format!("{} {target}\r\n\r\n{}", entry.method, blotted(form)),
        None => format!("{} {target}", entry.method),
    }
}

/// The target as sent, the values of credentials in its query replaced.
pub(super) fn without_credentials(target: &str) -> Cow<'_, str> {
    match target.split_once('?') {
        Some((path, query)) => Cow::Owned(format!("{path}?{}", blotted(query))),
        None => Cow::Borrowed(target),
    }
}

/// The query or form as sent, the values of credentials replaced.
pub(super) fn blotted(raw: &str) -> String {
    let pairs: Vec<String> = raw.split('&').map(blotted_pair).collect();
    pairs.join("&")
}

fn blotted_pair(pair: &str) -> String {
    let Some((name, _)) = pair.split_once('=') else { return pair.to_owned() };
    // A name that does not decode is no name any server would take for a credential's, but its neighbours may be.
    let read = decode(name).unwrap_or_default();
    if CREDENTIALS.iter().any(|credential| read.trim().eq_ignore_ascii_case(credential)) {
        return format!("{name}=***");
    }
    pair.to_owned()
}
