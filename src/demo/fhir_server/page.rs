//! Searchsets and history bundles: pages, links, included resources, and how much of each resource is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::fault::Fault;
use super::parameters::{Kind, parameter, parameters};
use super::search::{Request, View, matches};
use super::store::{Cursor, Key, Store, Version, instant};
use super::values::{of, reference};
use crate::demo::chance;

/// The page size when none is asked for, and the largest.
const PAGE: usize = 20;
const PAGE_LIMIT: usize = 500;

/// Runs a search and gives its first page.
pub(super) fn first(store: &mut Store, base: &str, request: Request) -> Result<Value, Fault> {
    let found = matches(View { store, base }, &request)?;
    if request.value("_summary") == Some("count") || request.value("_count") == Some("0") {
        return Ok(json!({
            "resourceType": "Bundle", "type": "searchset", "total": found.len(), "link": [self_link(base, &request)]
        }));
    }
    listed(store, base, request, found)
}

/// The first page of what was found.
pub(super) fn listed(
    store: &mut Store,
    base: &str,
    request: Request,
    found: Vec<Key>,
) -> Result<Value, Fault> {
    let size = size(&request)?;
    let cursor = Cursor { keys: Arc::new(found), request: Arc::new(request) };
    let name = (cursor.keys.len() > size).then(chance::uuid);
    if let Some(name) = &name {
        store.cursors.insert(name.clone(), cursor.clone());
    }
    show(View { store, base }, &cursor, name.as_deref(), (0, size))
}

/// A later page, by the opaque `_getpages` link the way HAPI FHIR writes it: neither type nor patient stand in it.
pub(super) fn next(store: &Store, base: &str, pairs: &[(String, String)]) -> Result<Value, Fault> {
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let name = value("_getpages").unwrap_or_default();
    let cursor = store.cursors.get(name);
    let gone = || {
        Fault::new(
            http::StatusCode::GONE,
            "not-found",
            format!("Search ID \"{name}\" does not exist or has expired"),
        )
    };
    let cursor = cursor.ok_or_else(gone)?;
    let number = |name: &str, otherwise: usize| match value(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| Fault::invalid(format!("Invalid {name}: \"{text}\""))),
    };
    let size = number("_count", PAGE)?.clamp(1, PAGE_LIMIT);
    show(View { store, base }, cursor, Some(name), (number("_getpagesoffset", 0)?, size))
}

fn size(request: &Request) -> Result<usize, Fault> {
    let Some(text) = request.value("_count") else { return Ok(PAGE) };
    let asked: usize = text.parse().map_err(|_| Fault::invalid(format!("Invalid _count: \"{text}\"")))?;
    Ok(asked.clamp(1, PAGE_LIMIT))
}

fn show(
    view: View<'_>,
    cursor: &Cursor,
    name: Option<&str>,
    (from, size): (usize, usize),
) -> Result<Value, Fault> {
    let request = &cursor.request;
    let page: Vec<Key> = cursor.keys.iter().skip(from).take(size).cloned().collect();
    let included = included(view, request, &page)?;
    let entry = |(key, mode): (&Key, &str)| {
        let resource = view.store.live(key)?;
        let shown = shape(resource, request);
        Some(
            json!({"fullUrl": format!("{}/{}", view.base, key.reference()), "resource": shown, "search": {"mode": mode}}),
        )
    };
    let all = page.iter().map(|key| (key, "match")).chain(included.iter().map(|key| (key, "include")));
    let entries: Vec<Value> = all.filter_map(entry).collect();
    let mut links = vec![self_link(view.base, request)];
    if let Some(name) = name {
        let link = |relation: &str, offset: usize| {
            let url = format!(
                "{}?_getpages={name}&_getpagesoffset={offset}&_count={size}&_bundletype=searchset",
                view.base
            );
            json!({"relation": relation, "url": url})
        };
        if from + size < cursor.keys.len() {
            links.push(link("next", from + size));
        }
        if from > 0 {
            links.push(link("previous", from.saturating_sub(size)));
        }
    }
    let mut bundle = json!({"resourceType": "Bundle", "id": chance::uuid(), "type": "searchset"});
    let mut rest = json!({"total": cursor.keys.len(), "link": links, "entry": entries});
    if let (Some(bundle), Some(rest)) = (bundle.as_object_mut(), rest.as_object_mut()) {
        rest.retain(|name, value| name != "entry" || value.as_array().is_some_and(|it| !it.is_empty()));
        rest.retain(|name, _| name != "total" || request.value("_total") != Some("none"));
        bundle.append(rest);
    }
    Ok(bundle)
}

fn self_link(base: &str, request: &Request) -> Value {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&request.pairs);
    let query = query.finish();
    let path = if request.path.is_empty() { base.to_owned() } else { format!("{base}/{}", request.path) };
    let url = if query.is_empty() { path } else { format!("{path}?{query}") };
    json!({"relation": "self", "url": url})
}

/// What `_include` and `_revinclude` bring along, each once; `:iterate` follows what was included, too.
fn included(view: View<'_>, request: &Request, page: &[Key]) -> Result<Vec<Key>, Fault> {
    let matched: BTreeSet<Key> = page.iter().cloned().collect();
    let mut seen = matched.clone();
    let mut found = Vec::new();
    let mut edge: Vec<Key> = page.to_vec();
    let mut rounds = 0;
    while !edge.is_empty() {
        let mut brought = Vec::new();
        for (name, rule) in request.pairs.iter().filter(|(name, _)| name.contains("include")) {
            let iterate = name.ends_with(":iterate") || name.ends_with(":recurse");
            if rounds > 0 && !iterate {
                continue;
            }
            let rule = Rule::parse(rule)?;
            for key in &edge {
                brought.extend(if name.starts_with("_revinclude") {
                    rule.back(view, key)
                } else {
                    rule.forth(view, key)
                });
            }
        }
        brought.retain(|key| seen.insert(key.clone()));
        found.extend(brought.iter().cloned());
        edge = brought;
        rounds += 1;
    }
    Ok(found)
}

/// `Observation:subject:Patient`, `Observation:*` or `*`.
struct Rule<'a> {
    source: &'a str,
    link: &'a str,
    target: Option<&'a str>,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self { source: "*", link: "*", target: None });
        }
        let mut parts = text.splitn(3, ':');
        let (Some(source), Some(link)) = (parts.next(), parts.next()) else {
            return Err(Fault::invalid(format!("Invalid include: \"{text}\"")));
        };
        let known = link == "*" || parameter(source, link).is_some_and(|found| found.kind == Kind::Reference);
        known
            .then_some(Self { source, link, target: parts.next() })
            .ok_or_else(|| Fault::invalid(format!("Invalid include: \"{text}\"")))
    }

    fn links(&self, view: View<'_>, key: &Key, resource: &Value) -> Vec<Key> {
        if self.source != "*" && self.source != key.kind {
            return Vec::new();
        }
        let chosen = parameters(&key.kind).filter(|found| found.kind == Kind::Reference);
        let chosen = chosen.filter(|found| self.link == "*" || found.name == self.link);
        let references = chosen.flat_map(|found| of(resource, found)).filter_map(reference);
        references
            .filter_map(|text| Key::parse(text, view.base))
            .filter(|key| self.target.is_none_or(|target| key.kind == target))
            .collect()
    }

    fn forth(&self, view: View<'_>, key: &Key) -> Vec<Key> {
        let Some(resource) = view.store.live(key) else { return Vec::new() };
        let mut links = self.links(view, key, resource);
        links.retain(|key| view.store.live(key).is_some());
        links
    }

    fn back(&self, view: View<'_>, key: &Key) -> Vec<Key> {
        let source = (self.source != "*").then_some(self.source);
        let candidates =
            view.store.all(source).filter(|(candidate, it)| self.links(view, candidate, it).contains(key));
        candidates.map(|(candidate, _)| candidate.clone()).collect()
    }
}

/// Applies `_elements` and `_summary` (FHIR R4 §3.1.1.5).
pub(super) fn shape(resource: &Value, request: &Request) -> Value {
    let elements = request.values("_elements");
    let keep: Vec<&str> = match request.value("_summary") {
        _ if !elements.is_empty() => elements.iter().map(String::as_str).collect(),
        Some("text") => vec!["text"],
        Some("true") => SUMMARY.to_vec(),
        Some("data") => return subset(resource, |name| name != "text"),
        _ => return resource.clone(),
    };
    subset(resource, |name| keep.contains(&name))
}

/// Roughly what the definitions mark as summary elements.
const SUMMARY: &[&str] = &[
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "address",
    "status",
    "category",
    "code",
    "subject",
    "patient",
    "encounter",
    "class",
    "type",
    "period",
    "effectiveDateTime",
    "valueQuantity",
    "date",
    "author",
    "title",
    "clinicalStatus",
    "verificationStatus",
    "intent",
    "medicationReference",
    "content",
    "url",
    "version",
];

fn subset(resource: &Value, keep: impl Fn(&str) -> bool) -> Value {
    let Some(map) = resource.as_object() else { return resource.clone() };
    let always = ["resourceType", "id", "meta"];
    let kept =
        map.iter().filter(|(name, _)| always.contains(&name.as_str()) || keep(name.trim_start_matches('_')));
    let mut out: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    let tag =
        json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"});
    if let Some(meta) = out.get_mut("meta").and_then(Value::as_object_mut)
        && let Some(tags) = meta.entry("tag").or_insert_with(|| json!([])).as_array_mut()
    {
        tags.push(tag);
    }
    Value::Object(out)
}

/// A history bundle of the given versions, newest first.
pub(super) fn history<'a>(
    base: &str,
    path: &str,
    versions: impl Iterator<Item = (&'a Key, &'a Version)>,
    pairs: &[(String, String)],
) -> Result<Value, Fault> {
    let since = pairs.iter().find(|(name, _)| name == "_since").map(|(_, value)| value.as_str());
    let moment = since
        .map(|text| super::moment::Moment::parse(text).ok_or_else(|| Fault::invalid("Invalid _since")))
        .transpose()?;
    let after = |version: &Version| {
        moment.is_none_or(|moment| version.when.as_millisecond() as f64 / 1000.0 >= moment.from)
    };
    let chosen: Vec<_> = versions.filter(|(_, version)| after(version)).collect();
    let count = pairs.iter().find(|(name, _)| name == "_count").and_then(|(_, value)| value.parse().ok());
    let entries: Vec<Value> = chosen
        .iter()
        .take(count.unwrap_or(PAGE_LIMIT))
        .map(|(key, version)| past(base, key, version))
        .collect();
    Ok(json!({
        "resourceType": "Bundle", "id": chance::uuid(), "type": "history", "total": chosen.len(),
        "link": [{"relation": "self", "url": format!("{base}/{path}")}], "entry": entries
    }))
}

fn past(base: &str, key: &Key, version: &Version) -> Value {
    let (method, url, status) = match version.deed {
        super::store::Deed::Create => ("POST", key.kind.clone(), "201 Created"),
        super::store::Deed::Delete => ("DELETE", key.reference(), "204 No Content"),
        super::store::Deed::Update => ("PUT", key.reference(), "200 OK"),
    };
    let mut entry = json!({"fullUrl": format!("{base}/{}", key.reference())});
    let rest = json!({
        "request": {"method": method, "url": url},
        "response": {"status": status, "etag": format!("W/\"{}\"", version.number), "lastModified": instant(version.when)}
    });
    if let (Some(entry), Value::Object(rest)) = (entry.as_object_mut(), rest) {
        if let Some(resource) = &version.resource {
            entry.insert("resource".to_owned(), Value::clone(resource));
        }
        entry.extend(rest);
    }
    entry
}
