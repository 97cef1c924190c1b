//! Operations: `$everything`, `$validate`, `$meta`, `$meta-add`, `$meta-delete`, `$lastn`, `$document`, `$docref`.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::fault::{Fault, outcome};
use super::page;
use super::parameters::{known_type, members};
use super::search::{Request, View, matches};
use super::store::Key;
use super::values::{at, reference};
use super::world::{World, request, search};
use crate::demo::chance;

/// Runs `$name` on the system (`[]`), a type or an instance.
pub(super) fn run(world: &mut World, call: &Call, place: &[&str], name: &str) -> Result<Answer, Fault> {
    let mut call = call.clone();
    if call.media().contains("json") {
        let simple = given(&call);
        call.pairs.extend(simple);
    }
    match (name, place) {
        ("$everything", [kind @ ("Patient" | "Encounter"), id]) => {
            everything(world, &call, &[Key::new(kind, id)])
        }
        ("$everything", ["Patient"]) => {
            let all: Vec<Key> = world.store.all(Some("Patient")).map(|(key, _)| key.clone()).collect();
            everything(world, &call, &all)
        }
        ("$validate", [kind]) => validate(world, &call, kind, None),
        ("$validate", [kind, id]) => validate(world, &call, kind, Some(id)),
        ("$meta", _) => meta(world, place),
        ("$meta-add" | "$meta-delete", [kind, id]) => relabel(world, &call, &Key::new(kind, id), name),
        ("$lastn", ["Observation"]) => lastn(world, &call),
        ("$document", ["Composition", id]) => document(world, &Key::new("Composition", id)),
        ("$docref", ["DocumentReference"]) => {
            call.pairs.retain(|(name, _)| matches!(name.as_str(), "patient" | "type" | "_count"));
            call.segments = vec!["DocumentReference".to_owned()];
            search(world, &call, None, &["DocumentReference"])
        }
        _ => Err(Fault::unsupported(format!("Operation {name} is not known here"))),
    }
}

/// The simple parameters of a Parameters resource, as pairs.
fn given(call: &Call) -> Vec<(String, String)> {
    let Ok(body) = call.resource() else { return Vec::new() };
    let parameters = at(&body, "parameter").into_iter();
    let pair = |parameter: &Value| {
        let name = parameter.get("name")?.as_str()?.to_owned();
        let (_, value) = parameter.as_object()?.iter().find(|(name, _)| name.starts_with("value"))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((name, reference(value).map_or(text, str::to_owned)))
    };
    parameters.filter_map(pair).collect()
}

/// The focus, its compartment, and what these refer to (FHIR R4 `Patient/$everything`).
fn everything(world: &mut World, call: &Call, focus: &[Key]) -> Result<Answer, Fault> {
    let mut found: Vec<Key> = Vec::new();
    let mut seen = BTreeSet::new();
    for key in focus {
        world.store.read(key)?;
        let kinds = members(&key.kind).map(str::to_owned).collect();
        let path = String::new();
        let request =
            Request { path, kinds, within: Some(key.clone()), pairs: Vec::new(), unknown: world.unknown };
        let inside = matches(View { store: &world.store, base: &world.base }, &request)?;
        let all = std::iter::once(key.clone()).chain(inside);
        found.extend(all.filter(|key| seen.insert(key.clone())));
    }
    let mut referred = Vec::new();
    for key in &found {
        let resource = world.store.live(key).map(|it| references(it)).unwrap_or_default();
        let keys = resource.iter().filter_map(|text| Key::parse(text, &world.base));
        let shared = keys.filter(|key| !matches!(key.kind.as_str(), "Patient" | "Group"));
        referred.extend(shared.filter(|key| world.store.live(key).is_some() && seen.insert(key.clone())));
    }
    found.extend(referred);
    let mut asked = request(world, call, None, &["Patient"])?;
    let kinds = asked.values("_type");
    found.retain(|key| kinds.is_empty() || kinds.contains(&key.kind));
    asked.kinds.clear();
    page::listed(&mut world.store, &world.base, asked, found).map(Answer::ok)
}

pub(super) fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(map) => {
            let own = map.get("reference").and_then(Value::as_str);
            own.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn validate(world: &World, call: &Call, kind: &str, id: Option<&str>) -> Result<Answer, Fault> {
    if let Some(id) = id {
        world.store.read(&Key::new(kind, id))?;
    }
    if call.body.is_empty() {
        return Ok(Answer::said("The stored resource is valid as far as a demo can tell"));
    }
    let body = call.resource()?;
    let wrapped = at(&body, "parameter").into_iter().find_map(|parameter| parameter.get("resource"));
    let resource = wrapped.unwrap_or(&body);
    let found = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if found == kind && known_type(found) {
        return Ok(Answer::said("The resource is valid as far as a demo can tell"));
    }
    let answer =
        Answer::ok(outcome("error", "structure", &format!("The resource is a \"{found}\" and no {kind}")));
    Ok(answer.status(StatusCode::UNPROCESSABLE_ENTITY))
}

fn meta(world: &World, place: &[&str]) -> Result<Answer, Fault> {
    let metas: Vec<Value> = match place {
        [kind, id] => {
            let (_, resource) = world.store.read(&Key::new(kind, id))?;
            resource.get("meta").cloned().into_iter().collect()
        }
        [] => world.store.all(None).filter_map(|(_, it)| it.get("meta").cloned()).collect(),
        [kind] => world.store.all(Some(kind)).filter_map(|(_, it)| it.get("meta").cloned()).collect(),
        _ => return Err(Fault::unsupported("$meta is not possible here")),
    };
    let merged = match metas.as_slice() {
        [one] => one.clone(),
        many => {
            let mut tags: Vec<Value> = Vec::new();
            for tag in many.iter().flat_map(|meta| at(meta, "tag")) {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            json!({"tag": tags})
        }
    };
    Ok(Answer::ok(
        json!({"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": merged}]}),
    ))
}

fn relabel(world: &mut World, call: &Call, key: &Key, name: &str) -> Result<Answer, Fault> {
    let body = call.resource()?;
    let wanted = at(&body, "parameter.valueMeta").into_iter().next().cloned();
    let wanted = wanted.ok_or_else(|| Fault::invalid("The parameter \"meta\" is missing"))?;
    let (_, stored) = world.store.read(key)?;
    let mut resource = Value::clone(stored);
    for list in ["tag", "security", "profile"] {
        let changes: Vec<Value> = at(&wanted, list).into_iter().cloned().collect();
        if changes.is_empty() {
            continue;
        }
        let entry = resource
            .get_mut("meta")
            .and_then(Value::as_object_mut)
            .map(|meta| meta.entry(list).or_insert(json!([])));
        let Some(items) = entry.and_then(Value::as_array_mut) else { continue };
        items.retain(|item| !changes.contains(item));
        if name == "$meta-add" {
            items.extend(changes);
        }
    }
    world.store.put(key, resource, chance::now());
    meta(world, &[&key.kind, &key.id])
}

/// The newest `max` observations of every code (default 1).
fn lastn(world: &mut World, call: &Call) -> Result<Answer, Fault> {
    let mut asked = request(world, call, None, &["Observation"])?;
    let max: usize = asked.value("max").and_then(|text| text.parse().ok()).unwrap_or(1);
    asked.pairs.retain(|(name, _)| name != "max");
    asked.pairs.push(("_sort".to_owned(), "-date".to_owned()));
    let mut found = matches(View { store: &world.store, base: &world.base }, &asked)?;
    let mut counts = std::collections::HashMap::new();
    found.retain(|key| {
        let code = world.store.live(key).and_then(|it| it.pointer("/code/coding/0/code").cloned());
        let subject = world.store.live(key).and_then(|it| it.pointer("/subject/reference").cloned());
        let count = counts.entry(format!("{code:?} {subject:?}")).or_insert(0);
        *count += 1;
        *count <= max
    });
    page::listed(&mut world.store, &world.base, asked, found).map(Answer::ok)
}

fn document(world: &World, key: &Key) -> Result<Answer, Fault> {
    let (_, composition) = world.store.read(key)?;
    let keys = references(composition).into_iter().filter_map(|text| Key::parse(text, &world.base));
    let mut seen = BTreeSet::new();
    let all = std::iter::once(key.clone()).chain(keys).filter(|key| seen.insert(key.clone()));
    let entries: Vec<Value> = all
        .filter_map(|key| {
            let resource = world.store.live(&key)?;
            Some(json!({"fullUrl": format!("{}/{}", world.base, key.reference()), "resource": **resource}))
        })
        .collect();
    Ok(Answer::ok(json!({
        "resourceType": "Bundle", "id": chance::uuid(), "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", chance::uuid())},
        "timestamp": super::store::instant(chance::now()), "entry": entries
    })))
}
