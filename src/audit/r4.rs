//! An event as FHIR R4's (and R4B's) AuditEvent, in the shape of BALP 1.1.4.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::audit::Entry;
use crate::audit::agents::{self, Agent, Network, Who};
use crate::audit::attributes::Coding;
use crate::audit::codes::{self, Code};
use crate::audit::entities::{self, Entity, What};

/// The resource; `id` is its id when it has one.
pub(super) fn event(entry: &Entry, id: Option<&str>) -> Value {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("resourceType", json!("AuditEvent"));
    if let Some(id) = id {
        put("id", json!(id));
    }
    if let Some(meta) = meta(&entry.profiles(), id) {
        put("meta", meta);
    }
    put("type", codes::REST.coding());
    if let Some(code) = entry.interaction.code() {
        put("subtype", json!([interaction(code)]));
    }
    put("action", json!(entry.interaction.pattern().action()));
    put("recorded", json!(recorded(entry)));
    put("outcome", json!(entry.outcome().code()));
    if let Some(description) = entry.outcome_description() {
        put("outcomeDesc", json!(description));
    }
    if !entry.purpose.is_empty() {
        put("purposeOfEvent", concepts(&entry.purpose));
    }
    put("agent", agents::of(entry).iter().map(agent).collect());
    let observer = who(&agents::observer(entry));
    put("source", json!({ "observer": observer, "type": [codes::APPLICATION_SERVER.coding()] }));
    put("entity", entities::of(entry).iter().map(entity).collect());
    Value::Object(event)
}

/// The profiles, and the id as a tag.
pub(super) fn meta(profiles: &[String], id: Option<&str>) -> Option<Value> {
    let mut meta = Map::new();
    if !profiles.is_empty() {
        meta.insert("profile".to_owned(), json!(profiles));
    }
    if let Some(id) = id {
        meta.insert("tag".to_owned(), json!([{ "system": codes::EVENT_TAG, "code": id }]));
    }
    (!meta.is_empty()).then_some(Value::Object(meta))
}

/// The code of an interaction, which is its own name.
pub(super) fn interaction(code: &'static str) -> Value {
    Code::new(codes::INTERACTION, code, code).coding()
}

/// The instant. Milliseconds: enough to order by, and what archives commonly keep.
pub(super) fn recorded(entry: &Entry) -> String {
    format!("{:.3}", entry.recorded)
}

/// A reference to who took part.
pub(super) fn who(who: &Who<'_>) -> Value {
    let mut reference = Map::new();
    if let Some(to) = who.reference {
        reference.insert("reference".to_owned(), json!(to));
    }
    if let Some((system, value)) = who.identifier {
        let mut identifier = Map::new();
        if let Some(system) = system {
            identifier.insert("system".to_owned(), json!(system));
        }
        identifier.insert("value".to_owned(), json!(text(value)));
        reference.insert("identifier".to_owned(), Value::Object(identifier));
    }
    if let Some(display) = who.display.or(who.alternative) {
        reference.insert("display".to_owned(), json!(text(display)));
    }
    Value::Object(reference)
}

/// The kinds of a participant, as one concept.
pub(super) fn types(agent: &Agent<'_>) -> Value {
    json!({ "coding": agent.types.iter().map(|kind| kind.coding()).collect::<Vec<_>>() })
}

/// Identifiers beside the token's subject, in BALP's extension.
pub(super) fn other_ids(agent: &Agent<'_>) -> Vec<Value> {
    let of = |(kind, id): &(Code, &str)| {
        json!({
            "url": codes::BALP_OTHER_ID,
            "valueIdentifier": { "type": kind.concept(), "value": text(id) },
        })
    };
    agent.other_ids.iter().map(of).collect()
}

/// Codes that were claimed. What is no URI is no code system: it goes into the words.
pub(super) fn concepts(claimed: &[Coding]) -> Value {
    let of = |claimed: &Coding| {
        let named = claimed.system.as_deref().and_then(system);
        let mut coding = Map::new();
        if let Some(system) = &named {
            coding.insert("system".to_owned(), json!(system));
        }
        coding.insert("code".to_owned(), json!(claimed.code));
        if let Some(display) = &claimed.display {
            coding.insert("display".to_owned(), json!(text(display)));
        }
        match &claimed.system {
            Some(unnamed) if named.is_none() => {
                json!({ "coding": [coding], "text": text(&format!("{unnamed} {}", claimed.code)) })
            }
            Some(_) | None => json!({ "coding": [coding] }),
        }
    };
    claimed.iter().map(of).collect()
}

/// A code system as FHIR wants it: IUA's own examples are bare OIDs.
fn system(claimed: &str) -> Option<Cow<'_, str>> {
    let scheme = claimed.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) && !rest.is_empty()
    });
    let bare = claimed.contains('.') && claimed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if claimed.contains(char::is_whitespace) {
        return None;
    }
    match (scheme, bare) {
        (true, _) => Some(Cow::Borrowed(claimed)),
        (false, true) => Some(Cow::Owned(format!("urn:oid:{claimed}"))),
        (false, false) => None,
    }
}

/// A FHIR string: no control characters.
pub(super) fn text(words: &str) -> Cow<'_, str> {
    if !words.contains(char::is_control) {
        return Cow::Borrowed(words);
    }
    words.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// What a query is kept as.
pub(super) fn query(raw: &str) -> String {
    STANDARD.encode(raw)
}

fn agent(of: &Agent<'_>) -> Value {
    let mut agent = Map::new();
    let mut put = |name: &str, value: Value| agent.insert(name.to_owned(), value);
    let other_ids = other_ids(of);
    if !other_ids.is_empty() {
        put("extension", Value::Array(other_ids));
    }
    put("type", types(of));
    if !of.roles.is_empty() {
        put("role", concepts(of.roles));
    }
    put("who", who(&of.who));
    if let Some(alternative) = of.who.alternative {
        put("altId", json!(text(alternative)));
    }
    if let Some(name) = of.who.display.filter(|_| of.requestor) {
        put("name", json!(text(name)));
    }
    put("requestor", json!(of.requestor));
    if let Some(policy) = &of.policy {
        put("policy", json!([policy]));
    }
    match of.network {
        // 2: IP address; 5: URI.
        Some(Network::Address(address)) => drop(put("network", json!({ "address": address, "type": "2" }))),
        Some(Network::Uri(uri)) => drop(put("network", json!({ "address": uri, "type": "5" }))),
        None => {}
    }
    if !of.purposes.is_empty() {
        put("purposeOfUse", concepts(of.purposes));
    }
    Value::Object(agent)
}

fn entity(of: &Entity<'_>) -> Value {
    let mut entity = Map::new();
    let mut put = |name: &str, value: Value| entity.insert(name.to_owned(), value);
    if let Some(what) = what(&of.what) {
        put("what", what);
    }
    put("type", of.kind.coding());
    if let Some(role) = of.role {
        put("role", role.coding());
    }
    if let What::Query(raw) = &of.what {
        put("query", json!(query(raw)));
    }
    let details = of.details.iter().map(|(kind, value)| json!({ "type": kind, "valueString": text(value) }));
    let details: Vec<Value> = details.collect();
    if !details.is_empty() {
        put("detail", Value::Array(details));
    }
    Value::Object(entity)
}

/// A reference to what was acted on; a query has none.
pub(super) fn what(what: &What<'_>) -> Option<Value> {
    match what {
        What::Instance(reference) => Some(json!({ "reference": reference })),
        What::Type(name) => Some(json!({ "type": name, "display": name })),
        What::Request(id) => Some(json!({ "identifier": { "value": text(id) } })),
        What::Query(_) => None,
    }
}
