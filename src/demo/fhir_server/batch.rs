//! Batch and transaction (FHIR R4 §3.1.0.11).

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Answer, Call, Content};
use super::fault::Fault;
use super::world::{World, answer};
use super::write::at_most_one;
use crate::demo::serving::pairs;

/// Runs a Bundle posted to the base.
pub(super) fn run(world: &mut World, call: &Call) -> Result<Answer, Fault> {
    let bundle = call.resource()?;
    let text = |name: &str| bundle.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("resourceType") != "Bundle" {
        return Err(Fault::invalid("Only a Bundle can be posted here"));
    }
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let results = match text("type") {
        "batch" => entries.iter().map(|entry| batched(world, entry)).collect(),
        "transaction" => {
            let before = world.store.clone();
            transaction(world, entries).inspect_err(|_| world.store = before)?
        }
        other => return Err(Fault::invalid(format!("A Bundle of type \"{other}\" cannot be processed"))),
    };
    let kind = format!("{}-response", text("type"));
    Ok(Answer::ok(json!({
        "resourceType": "Bundle", "type": kind, "link": [{"relation": "self", "url": world.base}], "entry": results
    })))
}

fn batched(world: &mut World, entry: &Value) -> Value {
    match inner(entry).and_then(|call| answer(world, &call)) {
        Ok(done) => result(&done),
        Err(fault) => json!({"response": {"status": fault.status.to_string(), "outcome": fault.outcome()}}),
    }
}

/// Reads the request of an entry.
fn inner(entry: &Value) -> Result<Call, Fault> {
    let text = |name: &str| entry.pointer(&format!("/request/{name}")).and_then(Value::as_str);
    let method = text("method").ok_or_else(|| Fault::invalid("An entry has no request.method"))?;
    let method = match method {
        "GET" | "HEAD" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        other => return Err(Fault::invalid(format!("Unknown request.method \"{other}\""))),
    };
    let url = text("url").ok_or_else(|| Fault::invalid("An entry has no request.url"))?;
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut call = Call::new(method, path, query);
    if call.segments.is_empty() && call.method != Method::GET {
        return Err(Fault::invalid("A Bundle cannot contain a request for the base"));
    }
    for (name, header) in
        [("ifMatch", "if-match"), ("ifNoneExist", "if-none-exist"), ("ifNoneMatch", "if-none-match")]
    {
        if let Some(value) = text(name) {
            call.set_header(header, value);
        }
    }
    call.set_header("accept", "application/fhir+json");
    if let Some(resource) = entry.get("resource") {
        fill(&mut call, resource);
    }
    Ok(call)
}

/// A PATCH in a Bundle carries its JSON Patch in a Binary (FHIR R4 §3.1.0.8.1).
fn fill(call: &mut Call, resource: &Value) {
    use base64::Engine as _;
    let data = resource.get("data").and_then(Value::as_str).filter(|_| call.method == Method::PATCH);
    match data {
        Some(data) => {
            let media = resource.get("contentType").and_then(Value::as_str).unwrap_or_default().to_owned();
            call.set_header("content-type", &media);
            call.body = base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default().into();
        }
        None => {
            call.set_header("content-type", "application/fhir+json");
            call.body = resource.to_string().into();
        }
    }
}

fn result(done: &Answer) -> Value {
    let mut response = json!({"status": done.status.to_string()});
    for (name, header) in [("location", "location"), ("etag", "etag")] {
        if let (Some(value), Some(map)) = (done.header(header), response.as_object_mut()) {
            map.insert(name.to_owned(), value.into());
        }
    }
    match &done.content {
        Content::Resource(resource) => json!({"resource": resource, "response": response}),
        Content::Nothing | Content::Raw { .. } => json!({"response": response}),
    }
}

/// DELETE, POST, PUT and PATCH, GET: the order of processing (FHIR R4 §3.1.0.11.2).
fn rank(method: &Method) -> u8 {
    match *method {
        Method::DELETE => 0,
        Method::POST => 1,
        Method::GET => 3,
        _ => 2,
    }
}

fn transaction(world: &mut World, mut entries: Vec<Value>) -> Result<Vec<Value>, Fault> {
    let (names, ids) = identities(world, &entries)?;
    for entry in &mut entries {
        if let Some(resource) = entry.get_mut("resource") {
            resolve(world, resource, &names)?;
        }
    }
    let mut calls = Vec::new();
    for (place, (entry, id)) in entries.iter().zip(ids).enumerate() {
        let mut call = inner(entry)?;
        call.assigned = id;
        calls.push((place, call));
    }
    calls.sort_by_key(|(place, call)| (rank(&call.method), *place));
    let mut results = Vec::new();
    for (place, call) in calls {
        let done = answer(world, &call)
            .map_err(|fault| Fault { text: format!("Entry {place}: {}", fault.text), ..fault })?;
        if done.status.is_client_error() {
            return Err(Fault::new(done.status, "processing", format!("Entry {place} failed")));
        }
        results.push((place, result(&done)));
    }
    results.sort_by_key(|(place, _)| *place);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

type Identities = (HashMap<String, String>, Vec<Option<String>>);

/// What each `fullUrl` will be called, and the ids given to what will be created.
fn identities(world: &mut World, entries: &[Value]) -> Result<Identities, Fault> {
    let mut names = HashMap::new();
    let mut ids = Vec::new();
    for entry in entries {
        let call = inner(entry)?;
        let kind = call.segments.first().cloned().unwrap_or_default();
        let (reference, id) = match (&call.method, call.segments.len()) {
            (&Method::POST, 1) => {
                let condition = call.header("if-none-exist").map(|text| pairs(text.as_bytes()));
                known_or_new(world, &kind, condition)?
            }
            (&Method::PUT, 1) => known_or_new(world, &kind, Some(call.pairs.clone()))?,
            _ => (call.segments.join("/"), None),
        };
        if let Some(url) = entry.get("fullUrl").and_then(Value::as_str)
            && names.insert(url.to_owned(), reference).is_some()
        {
            return Err(Fault::invalid(format!("fullUrl \"{url}\" occurs twice")));
        }
        ids.push(id);
    }
    Ok((names, ids))
}

fn known_or_new(
    world: &mut World,
    kind: &str,
    condition: Option<Vec<(String, String)>>,
) -> Result<(String, Option<String>), Fault> {
    let known = condition.map(|pairs| at_most_one(world, kind, pairs)).transpose()?.flatten();
    Ok(known.map_or_else(
        || {
            let id = world.store.free_id(kind);
            (format!("{kind}/{id}"), Some(id))
        },
        |key| (key.reference(), None),
    ))
}

/// Puts the real references in place of `urn:uuid:…` and of conditional ones (`Patient?identifier=…`).
fn resolve(world: &World, value: &mut Value, names: &HashMap<String, String>) -> Result<(), Fault> {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text.as_str()).filter(|_| text.starts_with("urn:")) {
                *text = name.clone();
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(world, item, names))?,
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("reference")
                && let Some((kind, condition)) = text.clone().split_once('?')
            {
                let found = at_most_one(world, kind, pairs(condition.as_bytes()))?;
                let missing = || {
                    Fault::new(
                        StatusCode::PRECONDITION_FAILED,
                        "not-found",
                        format!("Nothing matches \"{text}\""),
                    )
                };
                *text = found.ok_or_else(missing)?.reference();
            }
            map.values_mut().try_for_each(|item| resolve(world, item, names))?;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
