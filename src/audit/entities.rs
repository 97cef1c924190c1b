//! What was acted on: data, query, patient and the request itself (AUD-6).

use crate::audit::Entry;
use crate::audit::codes::{self, Code};
use crate::audit::interaction::{Interaction, Pattern};
use crate::audit::stored;

const PERSON: Code = Code::new(codes::ENTITY_TYPE, "1", "Person");
const SYSTEM_OBJECT: Code = Code::new(codes::ENTITY_TYPE, "2", "System Object");
const PATIENT: Code = Code::new(codes::OBJECT_ROLE, "1", "Patient");
const DOMAIN_RESOURCE: Code = Code::new(codes::OBJECT_ROLE, "4", "Domain Resource");
const QUERY: Code = Code::new(codes::OBJECT_ROLE, "24", "Query");
const REQUEST: Code = Code::new(
    codes::BALP_ENTITY,
    "XrequestId",
    "transport specific unique identifier where http X-Request-Id is used",
);

/// Something acted on, in no version's form.
#[derive(Debug, Clone)]
pub(super) struct Entity<'e> {
    pub(super) kind: Code,
    pub(super) role: Option<Code>,
    pub(super) what: What<'e>,
    pub(super) details: Vec<(&'static str, String)>,
}

/// What it is.
#[derive(Debug, Clone)]
pub(super) enum What<'e> {
    /// A resource by its reference.
    Instance(String),
    /// Some resource of a type.
    Type(&'static str),
    /// The request, by its id.
    Request(&'e str),
    /// A query, by its words.
    Query(String),
}

/// The entities of an event.
pub(super) fn of(entry: &Entry) -> Vec<Entity<'_>> {
    let mut entities = vec![request(entry)];
    entities.extend(data(entry));
    entities.extend(asks(entry).then(|| query(entry)).flatten());
    entities.extend(entry.subject_patient().map(|patient| Entity {
        kind: PERSON,
        role: Some(PATIENT),
        what: What::Instance(format!("Patient/{patient}")),
        details: Vec::new(),
    }));
    entities
}

/// The request: its id, its place in a Bundle and how it ended.
fn request(entry: &Entry) -> Entity<'_> {
    let mut details = Vec::new();
    if !entry.method.is_empty() {
        details.push(("method", entry.method.clone()));
    }
    if entry.status != 0 {
        details.push(("status", entry.status.to_string()));
    }
    if let Some(index) = entry.batch_entry {
        details.push(("entry", index.to_string()));
    }
    Entity { kind: REQUEST, role: None, what: What::Request(&entry.request_id), details }
}

/// The instance acted on, of a version where one is known. Searches have none: BALP's pattern has no room for it.
fn data(entry: &Entry) -> Option<Entity<'_>> {
    let resource = entry.resource.filter(|_| entry.interaction.pattern() != Pattern::Query)?.as_str();
    let what = match (&entry.id, &entry.version) {
        (Some(id), Some(version)) => What::Instance(format!("{resource}/{id}/_history/{version}")),
        (Some(id), None) => What::Instance(format!("{resource}/{id}")),
        (None, _) => What::Type(resource),
    };
    Some(Entity { kind: SYSTEM_OBJECT, role: Some(DOMAIN_RESOURCE), what, details: Vec::new() })
}

/// Whether the request as sent is evidence: searches and what is like them, and whatever could not be read.
fn asks(entry: &Entry) -> bool {
    match entry.interaction {
        Interaction::Known(kind) => {
            kind.is_conditional_write()
                || matches!(entry.interaction.pattern(), Pattern::Query | Pattern::Other)
        }
        Interaction::Transaction => false,
        Interaction::Unread => true,
    }
}

/// The request as sent, as far as it is kept.
fn query(entry: &Entry) -> Option<Entity<'_>> {
    if entry.method.is_empty() && entry.target.is_empty() {
        return None;
    }
    let target = stored::target(&entry.target);
    let raw = match &entry.form {
        Some(form) => format!("{} {target}\r\n\r\n{}", entry.method, stored::form(form)),
        None => format!("{} {target}", entry.method),
    };
    Some(Entity { kind: SYSTEM_OBJECT, role: Some(QUERY), what: What::Query(raw), details: Vec::new() })
}
