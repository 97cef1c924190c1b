//! Search: which resources match a query (FHIR R4 §3.1.1).
//!
//! Repeated parameters are AND, commas are OR. Chains and `_has` are followed as deep as they are written.

use super::fault::Fault;
use super::parameters::{Kind, compartment, known_type, parameter};
use super::store::{Key, Store};
use super::values::{alternatives, at, meets, of, reference};
use serde_json::Value;

/// What a server does with a search parameter it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// Ignores it, as lenient servers do.
    Ignore,
    /// 400, as HAPI FHIR does.
    #[default]
    Refuse,
}

/// A search as it was asked: where, and the decoded parameters in order.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `Observation`, `Patient/x/Observation` or nothing: the path under the base, for the self link.
    pub(super) path: String,
    /// The types searched.
    pub(super) kinds: Vec<String>,
    /// The compartment searched in.
    pub(super) within: Option<Key>,
    /// All parameters.
    pub(super) pairs: Vec<(String, String)>,
    pub(super) unknown: Unknown,
}

impl Request {
    /// The last value of a parameter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, commas split.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let given = self.pairs.iter().filter(|(key, _)| key == name);
        given.flat_map(|(_, value)| alternatives(value)).filter(|value| !value.is_empty()).collect()
    }
}

/// Parameters that shape the answer and select nothing.
const SHAPING: &[&str] = &[
    "_type",
    "_sort",
    "_count",
    "_include",
    "_include:iterate",
    "_include:recurse",
    "_revinclude",
    "_revinclude:iterate",
    "_revinclude:recurse",
    "_summary",
    "_elements",
    "_total",
    "_format",
    "_pretty",
    "_contained",
    "_containedType",
    "_since",
];

/// The store as seen by one search.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) store: &'a Store,
    pub(super) base: &'a str,
}

/// Every match, sorted.
pub(super) fn matches(view: View<'_>, request: &Request) -> Result<Vec<Key>, Fault> {
    let mut selecting = Vec::new();
    for (name, value) in request.pairs.iter().filter(|(name, _)| !SHAPING.contains(&name.as_str())) {
        let known = request.kinds.iter().try_for_each(|kind| check(kind, name, value));
        match known {
            Ok(()) if value.is_empty() => {}
            Ok(()) => selecting.push((name.as_str(), value.as_str())),
            Err(_) if request.unknown == Unknown::Ignore => {}
            Err(fault) => return Err(fault),
        }
    }
    let mut found = Vec::new();
    for kind in &request.kinds {
        let candidates =
            view.store.all(Some(kind)).filter(|(key, resource)| inside(view, request, key, resource));
        let chosen =
            candidates.filter(|(_, it)| selecting.iter().all(|(name, value)| holds(view, it, name, value)));
        found.extend(chosen.map(|(key, _)| key.clone()));
    }
    sort(view, request, &mut found)?;
    Ok(found)
}

fn inside(view: View<'_>, request: &Request, key: &Key, resource: &Value) -> bool {
    let Some(within) = &request.within else { return true };
    let links = compartment(&within.kind, &key.kind);
    key == within || links.iter().any(|name| holds(view, resource, name, &within.reference()))
}

/// Whether a parameter means something for a type; the error says what does not.
fn check(kind: &str, name: &str, value: &str) -> Result<(), Fault> {
    if let Some(rest) = name.strip_prefix("_has:") {
        let mut parts = rest.splitn(3, ':');
        let (Some(source), Some(link), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::invalid(format!("Invalid _has parameter: {name}")));
        };
        reference_parameter(source, link)?;
        return check(source, rest, value);
    }
    if let Some((head, rest)) = name.split_once('.') {
        let (head, target) = head.split_once(':').map_or((head, None), |(head, target)| (head, Some(target)));
        let definition = reference_parameter(kind, head)?;
        return match target.or(definition) {
            Some(target) => check(target, rest, value),
            None => Ok(()),
        };
    }
    let (name, modifier) = name.split_once(':').unwrap_or((name, ""));
    if matches!(name, "_list" | "_text" | "_content") {
        return Ok(());
    }
    let known = parameter(kind, name);
    let known = known.ok_or_else(|| {
        Fault::invalid(format!("Unknown search parameter \"{name}\" for resource type \"{kind}\""))
    })?;
    let allowed = match known.kind {
        Kind::Token => ["missing", "not", "text", "of-type", "in", "not-in"].contains(&modifier),
        Kind::String => ["missing", "exact", "contains"].contains(&modifier),
        Kind::Reference => ["missing", "identifier"].contains(&modifier) || known_type(modifier),
        Kind::Uri => ["missing", "below", "above"].contains(&modifier),
        Kind::Date | Kind::Number | Kind::Quantity => modifier == "missing",
    };
    if !allowed && !modifier.is_empty() {
        return Err(Fault::invalid(format!(
            "Modifier \":{modifier}\" is not supported for parameter \"{name}\""
        )));
    }
    let dates = alternatives(value);
    let bad = dates.iter().find(|date| super::moment::Moment::parse(super::moment::prefix(date).1).is_none());
    match bad {
        Some(bad) if known.kind == Kind::Date && modifier.is_empty() => {
            Err(Fault::invalid(format!("Invalid date: \"{bad}\"")))
        }
        _ => Ok(()),
    }
}

fn reference_parameter(kind: &str, name: &str) -> Result<Option<&'static str>, Fault> {
    let known = parameter(kind, name).filter(|known| known.kind == Kind::Reference);
    let known =
        known.ok_or_else(|| Fault::invalid(format!("\"{name}\" is no reference parameter of \"{kind}\"")))?;
    Ok(known.target)
}

/// Whether a resource satisfies one parameter. What [`check`] refuses holds for nobody.
pub(super) fn holds(view: View<'_>, resource: &Value, name: &str, value: &str) -> bool {
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if let Some(rest) = name.strip_prefix("_has:") {
        return has(view, resource, rest, value);
    }
    if let Some((head, rest)) = name.split_once('.') {
        return chain(view, resource, (head, rest), value);
    }
    let (name, modifier) = name.split_once(':').unwrap_or((name, ""));
    match name {
        "_list" => return listed(view, resource, value),
        "_text" | "_content" => return resource.to_string().to_lowercase().contains(&value.to_lowercase()),
        _ => {}
    }
    let Some(definition) = parameter(kind, name) else { return false };
    let found = of(resource, definition);
    let any = |modifier: &str| {
        let asked = alternatives(value);
        found
            .iter()
            .any(|found| asked.iter().any(|asked| meets(definition.kind, modifier, found, asked, view.base)))
    };
    match modifier {
        "missing" => found.is_empty() == (value == "true"),
        "not" => !any(""),
        "in" => in_value_set(view, &found, value),
        "not-in" => !in_value_set(view, &found, value),
        other => any(other),
    }
}

fn chain(view: View<'_>, resource: &Value, (head, rest): (&str, &str), value: &str) -> bool {
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let (head, target) = head.split_once(':').map_or((head, None), |(head, target)| (head, Some(target)));
    let Some(definition) = parameter(kind, head) else { return false };
    let targets = of(resource, definition).into_iter().filter_map(reference);
    targets
        .filter_map(|text| Key::parse(text, view.base))
        .filter(|key| target.is_none_or(|target| key.kind == target))
        .filter_map(|key| view.store.live(&key))
        .any(|found| holds(view, found, rest, value))
}

fn has(view: View<'_>, resource: &Value, rest: &str, value: &str) -> bool {
    let mut parts = rest.splitn(3, ':');
    let (Some(source), Some(link), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Some(definition), Some(me)) = (parameter(source, link), Key::of(resource)) else { return false };
    view.store.all(Some(source)).any(|(_, candidate)| {
        let links = of(candidate, definition).into_iter().filter_map(reference);
        links.filter_map(|text| Key::parse(text, view.base)).any(|key| key == me)
            && holds(view, candidate, rest, value)
    })
}

fn listed(view: View<'_>, resource: &Value, ids: &str) -> bool {
    let Some(me) = Key::of(resource) else { return false };
    alternatives(ids).iter().filter_map(|id| view.store.live(&Key::new("List", id))).any(|list| {
        let items = at(list, "entry.item.reference").into_iter().filter_map(Value::as_str);
        items.filter_map(|text| Key::parse(text, view.base)).any(|key| key == me)
    })
}

/// Membership in a ValueSet that lists its codes; the set is named by URL or by `ValueSet/id`.
fn in_value_set(view: View<'_>, found: &[&Value], name: &str) -> bool {
    let named = |key: &Key, set: &Value| {
        key.reference() == name || set.get("url").and_then(Value::as_str) == Some(name)
    };
    let Some((_, set)) = view.store.all(Some("ValueSet")).find(|(key, set)| named(key, set)) else {
        return false;
    };
    at(set, "compose.include").into_iter().any(|include| {
        let system = include.get("system").and_then(Value::as_str).unwrap_or_default();
        let codes = at(include, "concept.code").into_iter().filter_map(Value::as_str);
        codes.into_iter().any(|code| {
            let token = format!("{system}|{code}");
            found.iter().any(|found| meets(Kind::Token, "", found, &token, view.base))
        })
    })
}

fn sort(view: View<'_>, request: &Request, found: &mut [Key]) -> Result<(), Fault> {
    // The last key first: later sorts are stable and keep what earlier ones did.
    for name in request.values("_sort").iter().rev() {
        let (bare, descending) = name.strip_prefix('-').map_or((name.as_str(), false), |bare| (bare, true));
        for kind in &request.kinds {
            check(kind, bare, "")?;
        }
        let rank = |key: &Key| view.store.live(key).and_then(|it| rank(it, &key.kind, bare));
        found.sort_by(|one, other| match (rank(one), rank(other)) {
            (Some(one), Some(other)) if descending => other.total_order(&one),
            (Some(one), Some(other)) => one.total_order(&other),
            (one, other) => other.is_some().cmp(&one.is_some()),
        });
    }
    Ok(())
}

enum Rank {
    Number(f64),
    Text(String),
}

impl Rank {
    fn total_order(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(_), Self::Text(_)) => std::cmp::Ordering::Less,
            (Self::Text(_), Self::Number(_)) => std::cmp::Ordering::Greater,
        }
    }
}

fn rank(resource: &Value, kind: &str, name: &str) -> Option<Rank> {
    let definition = parameter(kind, name)?;
    let first = of(resource, definition).into_iter().next()?;
    let text = |path: &str| at(first, path).into_iter().find_map(Value::as_str).map(str::to_lowercase);
    match definition.kind {
        Kind::Date => super::moment::Moment::of(first).map(|moment| Rank::Number(moment.from)),
        Kind::Number => first.as_f64().map(Rank::Number),
        Kind::Quantity => first.get("value").and_then(Value::as_f64).map(Rank::Number),
        Kind::Reference | Kind::String | Kind::Token | Kind::Uri => {
            let plain =
                first.as_str().map(str::to_lowercase).or_else(|| first.as_bool().map(|it| it.to_string()));
            let parts = ["family", "coding.code", "code", "value", "reference", "city"];
            plain.or_else(|| parts.iter().find_map(|part| text(part))).map(Rank::Text)
        }
    }
}
