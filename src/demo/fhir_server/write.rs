//! Create, update, patch and delete, by id and by condition (FHIR R4 §3.1.0.4 … §3.1.0.8).

use http::StatusCode;
use serde_json::{Value, json};

use super::call::{Answer, Call, Content};
use super::fault::Fault;
use super::patch;
use super::search::{Request, Unknown, View, matches};
use super::store::Key;
use super::world::{Heeds, World};
use crate::demo::chance;
use crate::demo::serving::pairs;

/// The resources a condition selects; an empty condition is an error.
pub(super) fn selected(world: &World, kind: &str, pairs: Vec<(String, String)>) -> Result<Vec<Key>, Fault> {
    let pairs: Vec<_> =
        pairs.into_iter().filter(|(name, _)| name != "_format" && name != "_pretty").collect();
    if pairs.is_empty() {
        return Err(Fault::precondition("A conditional interaction needs search parameters"));
    }
    let (path, kinds) = (kind.to_owned(), vec![kind.to_owned()]);
    let request = Request { path, kinds, within: None, pairs, unknown: Unknown::Refuse };
    matches(View { store: &world.store, base: &world.base }, &request)
}

/// The one resource a condition selects, none, or 412.
pub(super) fn at_most_one(
    world: &World,
    kind: &str,
    pairs: Vec<(String, String)>,
) -> Result<Option<Key>, Fault> {
    if world.heeds == Heeds::NoConditions {
        return Ok(world.store.all(Some(kind)).next().map(|(key, _)| key.clone()));
    }
    let mut found = selected(world, kind, pairs)?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        more => Err(Fault::precondition(format!("{more} resources match where one may"))),
    }
}

fn body_of(call: &Call, kind: &str) -> Result<Value, Fault> {
    let resource = call.resource()?;
    if resource.get("resourceType").and_then(Value::as_str) != Some(kind) {
        return Err(Fault::invalid(format!("The body is no {kind}")));
    }
    Ok(resource)
}

fn raw_binary(call: &Call, kind: &str) -> Option<Value> {
    use base64::Engine as _;
    let foreign = kind == "Binary"
        && !call.media().is_empty()
        && !call.media().contains("fhir")
        && !call.media().contains("json");
    let data = || base64::engine::general_purpose::STANDARD.encode(&call.body);
    foreign.then(|| json!({"resourceType": "Binary", "contentType": call.media(), "data": data()}))
}

/// `POST T`, with `If-None-Exist` or without.
pub(super) fn create(world: &mut World, call: &Call, kind: &str) -> Result<Answer, Fault> {
    let resource = raw_binary(call, kind).map_or_else(|| body_of(call, kind), Ok)?;
    if let Some(condition) = call.header("if-none-exist") {
        let condition = condition.split_once('?').map_or(condition, |(_, query)| query);
        if let Some(key) = at_most_one(world, kind, pairs(condition.as_bytes()))? {
            let (version, _) = world.store.read(&key)?;
            return Ok(Answer::written(call, &world.base, &key, version));
        }
    }
    let id = call.assigned.clone().unwrap_or_else(|| world.store.free_id(kind));
    let key = Key::new(kind, &id);
    let version = world.store.put(&key, resource, chance::now());
    Ok(Answer::written(call, &world.base, &key, &version).status(StatusCode::CREATED))
}

/// `PUT T/id` and `PUT T?…`; what does not exist is created.
pub(super) fn update(world: &mut World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    let (key, resource) = match segments {
        [kind, id] => {
            let resource = raw_binary(call, kind).map_or_else(|| body_of(call, kind), Ok)?;
            if raw_binary(call, kind).is_none() && resource.get("id").and_then(Value::as_str) != Some(id) {
                return Err(Fault::invalid(format!("The id of the body is not \"{id}\"")));
            }
            (Key::new(kind, id), resource)
        }
        [kind] => {
            let resource = body_of(call, kind)?;
            let given = resource.get("id").and_then(Value::as_str).map(str::to_owned);
            let key = match at_most_one(world, kind, call.pairs.clone())? {
                Some(key) if given.as_ref().is_some_and(|id| *id != key.id) => {
                    return Err(Fault::invalid("The id of the body is not that of the resource found"));
                }
                Some(key) => key,
                None => {
                    let id = call.assigned.clone().or(given).unwrap_or_else(|| world.store.free_id(kind));
                    Key::new(kind, &id)
                }
            };
            (key, resource)
        }
        _ => {
            return Err(Fault::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "PUT is not possible here",
            ));
        }
    };
    if !valid_id(&key.id) {
        return Err(Fault::invalid(format!("\"{}\" is no valid id", key.id)));
    }
    guard(world, call, &key)?;
    let status = if world.store.live(&key).is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let version = world.store.put(&key, resource, chance::now());
    Ok(Answer::written(call, &world.base, &key, &version).status(status))
}

fn valid_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// 412 unless the stored version is the one `If-Match` names, and with `If-None-Match: *` unless there is none.
fn guard(world: &World, call: &Call, key: &Key) -> Result<(), Fault> {
    if call.header("if-none-match").is_some_and(|etag| etag.trim() == "*") && world.store.live(key).is_some()
    {
        return Err(Fault::precondition(format!("{} exists already", key.reference())));
    }
    let Some(expected) = call.expected_version() else { return Ok(()) };
    let stored = world.store.newest(key).map(|version| version.number.to_string());
    if stored.as_ref() == Some(&expected) {
        return Ok(());
    }
    Err(Fault::precondition(format!(
        "Version {expected} was expected, {} is stored",
        stored.as_deref().unwrap_or("none")
    )))
}

/// `PATCH T/id` and `PATCH T?…` with a JSON Patch.
pub(super) fn patch(world: &mut World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    let key =
        target(world, call, segments)?.ok_or_else(|| Fault::unknown("Nothing matches the condition"))?;
    if !call.media().starts_with("application/json-patch+json") {
        let text = format!(
            "This demo server patches with application/json-patch+json only, not \"{}\"",
            call.media()
        );
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
    }
    guard(world, call, &key)?;
    let (_, stored) = world.store.read(&key)?;
    let steps: Value = serde_json::from_slice(&call.body)
        .map_err(|error| Fault::invalid(format!("Invalid JSON: {error}")))?;
    let patched = patch::apply(Value::clone(stored), &steps)?;
    if Key::of(&patched).as_ref() != Some(&key) {
        return Err(Fault::invalid("A patch may change neither type nor id"));
    }
    let version = world.store.put(&key, patched, chance::now());
    Ok(Answer::written(call, &world.base, &key, &version))
}

/// `DELETE T/id` and `DELETE T?…`.
pub(super) fn delete(world: &mut World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    let Some(key) = target(world, call, segments)? else {
        return Ok(Answer::said("Nothing matched, nothing was deleted"));
    };
    if world.store.newest(&key).is_none() {
        return Err(Fault::unknown(format!("Resource {} is not known", key.reference())));
    }
    guard(world, call, &key)?;
    world.store.delete(&key, chance::now());
    let mut answer = Answer::said(&format!("{} is deleted", key.reference()));
    if call.header("prefer").is_some_and(|prefer| prefer.contains("return=minimal")) {
        answer = answer.status(StatusCode::NO_CONTENT);
        answer.content = Content::Nothing;
    }
    Ok(answer)
}

fn target(world: &World, call: &Call, segments: &[&str]) -> Result<Option<Key>, Fault> {
    match segments {
        [kind, id] => Ok(Some(Key::new(kind, id))),
        [kind] => at_most_one(world, kind, call.pairs.clone()),
        _ => Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", "This is not possible here")),
    }
}
